//! The page and the card of a drill of changes.
