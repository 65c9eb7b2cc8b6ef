#!/bin/sh
# Installs cellguard on a Raspberry Pi (or any Debian 12 and newer) without a network, from the folder `make wheelhouse` made.
# Copy that folder to the Pi, then: sudo sh install.sh. Running it again changes nothing; with a newer folder it upgrades.
set -eu
fail() { echo "install: $1" >&2; exit 1; }
here=$(cd "$(dirname "$0")" && pwd)
cd "$here"
[ $# -eq 0 ] || { sed -n 2,3p "$0" | cut -c3- >&2; exit 2; }
[ "$(id -u)" = 0 ] || fail "needs root: sudo sh $0"
[ -f "$here/SHA256SUMS" ] || fail "no wheels in $here: run \`make wheelhouse\` on a computer with a network and copy build/pi to this one"
command -v python3 >/dev/null || fail "needs python3 (apt install python3)"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "needs Python 3.11 or newer: $(python3 -V) was found"
sha256sum --check --quiet --strict SHA256SUMS || fail "a file of $here is damaged or missing: copy the folder again"

# the header's pins are reached through Debian's lgpio, which a venv only sees when it is told to
packages=""
python3 -c 'import lgpio; lgpio.gpiochip_open' 2>/dev/null && packages="--system-site-packages"

# one folder a release: the running one is not touched until `edge install` moves the link, and stays to go back to
release=/opt/cellguard/releases/$( (python3 -V; echo "$packages"; cat "$here/SHA256SUMS") | sha256sum | cut -c1-12)
if [ ! -f "$release/complete" ]; then
    rm -rf "$release"
    mkdir -p "$(dirname "$release")"
    # shellcheck disable=SC2086  # none or one word
    python3 -m venv --without-pip $packages "$release" || fail "python3 -m venv failed"
    pip() { PYTHONPATH="$(echo "$here"/wheels/pip-*.whl)" "$release/bin/python3" -m pip --quiet --disable-pip-version-check "$@"; }
    pip install --no-index --find-links "$here/wheels" --ignore-installed --require-hashes --requirement "$here/edge.txt" ||
        fail "the wheels in $here do not fit $(python3 -V) on $(uname -m): make wheelhouse for it"
    pip install --no-index --no-deps --ignore-installed "$here"/wheels/cellguard-*.whl || fail "cellguard's own wheel cannot be installed"
    touch "$release/complete"
    echo "made $release"
fi
exec "$release/bin/cellguard" edge install
