//! Signs and verifies reference profiles with Ed25519.
