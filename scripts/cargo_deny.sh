#!/usr/bin/env bash
# Checks licences, bans and sources of the dependencies with cargo-deny (deny.toml). No advisories: their database is not
# reachable from every machine that runs this; `cargo deny check advisories` does it where it is.
#
# cargo-deny is installed once into the cache. That costs minutes, which is why `make test` does without it.
set -euo pipefail
cd "$(dirname "$0")/.."

# Pinned, so that a new release of the checker does not change what passes.
version=0.20.2
tools=${TRIPLINE_CACHE:-$HOME/.cache/tripline}/tools/cargo-deny-$version
if [ ! -x "$tools/bin/cargo-deny" ]; then
    echo "installing cargo-deny $version into $tools (once; some minutes)"
    target=$(mktemp -d)
    trap 'rm -rf "$target"' EXIT
    # Unoptimised and without debug symbols: it runs for a second and is compiled for minutes.
    CARGO_TARGET_DIR=$target CARGO_PROFILE_DEV_DEBUG=0 RUSTFLAGS='' \
        cargo install --quiet --locked --debug --version "$version" --root "$tools" cargo-deny
fi
# It looks at the dependencies of every platform; a build has fetched those of one.
cargo fetch --quiet --locked
"$tools/bin/cargo-deny" --offline --all-features check --hide-inclusion-graph bans licenses sources
