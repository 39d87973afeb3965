#!/usr/bin/env bash
# Checks licences, bans and sources of the dependencies with cargo-deny (deny.toml). Advisories are not
# checked: their database is not reachable from every machine that runs this. Run `cargo deny check advisories` where it is reachable.
#
# cargo-deny is installed once into the cache. That takes minutes, so `make test` does not need it.
set -euo pipefail
cd "$(dirname "$0")/.."

# A fixed version, so a new release of cargo-deny does not change the result.
version=0.20.2
tools=${TRIPLINE_CACHE:-$HOME/.cache/tripline}/tools/cargo-deny-$version
if [ ! -x "$tools/bin/cargo-deny" ]; then
    echo "installing cargo-deny $version into $tools (once; some minutes)"
    target=$(mktemp -d)
    trap 'rm -rf "$target"' EXIT
    # Without optimisation and debug symbols: it runs for a second, and compiling takes minutes.
    CARGO_TARGET_DIR=$target CARGO_PROFILE_DEV_DEBUG=0 RUSTFLAGS='' \
        cargo install --quiet --locked --debug --version "$version" --root "$tools" cargo-deny
fi
# It checks the dependencies of every platform; a build has fetched those of one.
cargo fetch --quiet --locked
"$tools/bin/cargo-deny" --offline --all-features check --hide-inclusion-graph bans licenses sources
