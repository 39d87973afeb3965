#!/usr/bin/env bash
# Installs what building and testing need and this machine lacks. It ends quickly when nothing is missing.
#
# It checks Debian packages (compiler, linker, headers, Prometheus, Alertmanager, Java, Maven, Chromium), Schemathesis, and the jars of the
# Apache Kafka version in tests/kafka/pom.xml, which it keeps in the cache outside the checkout. Packages are installed only when
# missing, so a prepared machine needs neither root nor a network.
#
# It also keeps third-party validators of exports (py-ocsf-models, stix2-validator, from PyPI) in a Python environment in that cache.
#
# Usage: scripts/setup.sh [--build-only]     --build-only skips what only the tests need
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${TRIPLINE_CACHE:-$HOME/.cache/tripline}
say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# Package, and a command or file that shows that it is installed, by whatever means.
build_needs=(
    "build-essential g++"
    "make make"
    "cmake cmake"                                        # librdkafka is built from the crate's own source
    "pkg-config pkg-config"
    "mold mold"                                          # the linker named in .cargo/config.toml
    "libssl-dev /usr/include/openssl/ssl.h"              # TLS to Kafka
    "zlib1g-dev /usr/include/zlib.h"
    "libzstd-dev /usr/include/zstd.h"
    "libcurl4-openssl-dev curl/curl.h"                   # librdkafka's build needs curl's headers even with curl disabled
)
test_needs=(
    "default-jre-headless java"                          # Apache Kafka 4 needs Java 17
    "maven mvn"
    "prometheus promtool"
    "prometheus-alertmanager prometheus-alertmanager"
    "zstd zstd"
    "procps /bin/kill"                                   # tests stop the processes that they started, by id
    "openssl openssl"                                    # makes keys for signing profiles
    "python3 python3"                                    # checks the documents' links, scores recorded traffic
    "postgresql /usr/lib/postgresql"                     # the tests start clusters of their own
    "util-linux setpriv"                                 # PostgreSQL refuses to run as root
    "chromium chromium"                                  # the console is tested in a real browser
    "chromium-driver chromedriver"
)

present() {
    case $1 in
        /*) [ -e "$1" ] ;;
        # Headers that Debian keeps in a folder named after the architecture.
        */*) [ -e "/usr/include/$1" ] || compgen -G "/usr/include/*/$1" >/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

install_packages() {
    local missing=("$@") sudo=()
    command -v apt-get >/dev/null \
        || fail "this machine lacks these Debian packages, and has no apt-get: ${missing[*]}; install the equivalent packages and run again"
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || fail "missing packages: ${missing[*]}; run as root: apt-get install ${missing[*]}"
        sudo=(sudo)
    fi
    say "installing Debian packages: ${missing[*]}"
    # The packages of Prometheus, Alertmanager and PostgreSQL start services. The tests start their own on free ports, so no additional
    # service may run afterwards. A policy that the administrator set is not changed.
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
        "${sudo[@]}" chmod 755 "$policy"
        # shellcheck disable=SC2064  # the values of now are meant
        trap "${sudo[*]} rm -f $policy" EXIT
    fi
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null
    # They must not start at the next boot either. Only packages that were just installed are affected.
    local package
    for package in "${missing[@]}"; do
        case $package in
            prometheus | prometheus-alertmanager | postgresql)
                [ ! -d /run/systemd/system ] || "${sudo[@]}" systemctl disable --quiet "$package" || true ;;
        esac
    done
}

command -v cargo >/dev/null || fail "no Rust toolchain; install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer (rustup.rs), then run again"

needs=("${build_needs[@]}")
[ "${1:-}" = --build-only ] || needs+=("${test_needs[@]}")
missing=()
for need in "${needs[@]}"; do
    read -r package probe <<<"$need"
    present "$probe" || missing+=("$package")
done
# A module, which has no command of its own.
[ "${1:-}" = --build-only ] || python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then install_packages "${missing[@]}"; fi
[ "${1:-}" != --build-only ] || exit 0

# Apache Kafka's jars. The folder gets its final name only when it is complete.
version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' tests/kafka/pom.xml)
lib=${TRIPLINE_KAFKA_LIB:-$cache/kafka-$version/lib}
if ! compgen -G "$lib/kafka_2.13-*.jar" >/dev/null; then
    say "fetching Apache Kafka $version with Maven into $lib"
    mkdir -p "$(dirname "$lib")"
    fresh=$(mktemp -d "$(dirname "$lib")/fetch.XXXXXX")
    mvn -q -B -f tests/kafka/pom.xml dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$fresh" </dev/null \
        || { rm -rf "$fresh"; fail "Maven could not fetch Apache Kafka $version; is a Maven repository reachable from here?"; }
    rm -rf "$lib"
    mv "$fresh" "$lib"
fi

# Validators of exports, of fixed versions (the wheel of stix2-validator 3.3.1 lacks its schemas), in a Python environment of their own. The file with the versions is written last.
validators=(py-ocsf-models==0.10.0 stix2-validator==3.2.0)
place=$cache/validators
if [ "$(cat "$place/versions" 2>/dev/null)" != "${validators[*]}" ]; then
    say "installing ${validators[*]} into $place"
    rm -rf "$place"
    python3 -m venv "$place" || fail "Python cannot make an environment; install python3-venv and run again"
    "$place/bin/python" -m pip install --quiet --disable-pip-version-check "${validators[@]}" \
        || { rm -rf "$place"; fail "pip could not install ${validators[*]}; is a package index reachable from here?"; }
    printf '%s\n' "${validators[*]}" >"$place/versions"
fi

# Schemathesis, which asks the API what its description does not allow. Scripts of a virtual environment hold its path, so it is made in place,
# and removed if it is not complete.
schemathesis=schemathesis-4.32.5
if [ ! -x "$cache/$schemathesis/bin/schemathesis" ]; then
    say "fetching $schemathesis with pip into $cache/$schemathesis"
    mkdir -p "$cache"
    rm -rf "$cache/$schemathesis"
    python3 -m venv "$cache/$schemathesis" \
        && "$cache/$schemathesis/bin/pip" install -q --disable-pip-version-check "schemathesis==${schemathesis#*-}" \
        || { rm -rf "${cache:?}/$schemathesis"; fail "pip could not fetch $schemathesis; is a Python package index reachable from here?"; }
fi
