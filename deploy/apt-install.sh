#!/bin/sh
# Installs the Debian packages named in a list when that is allowed; otherwise says in one line what is missing. Never fails.
set -u
list=$1
missing=""
for package in $(grep -v '^#' "$list"); do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
command -v apt-get >/dev/null 2>&1 || { echo "not installed here (no apt-get):$missing" >&2; exit 0; }
if [ "$(id -u)" = 0 ]; then root=""
elif sudo -n true 2>/dev/null; then root="sudo -n"
else echo "not installed (needs root or sudo):$missing" >&2; exit 0
fi
# a fresh machine has no package lists; a stale one may name versions that are gone
$root apt-get update -qq >/dev/null 2>&1
# servers are started by cellguard itself on free ports: keep the packages' own services from starting
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $root tee "$policy" >/dev/null && $root chmod 755 "$policy"
    trap '$root rm -f "$policy"' EXIT INT TERM
fi
# shellcheck disable=SC2086  # a list of words on purpose
$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 \
    || echo "could not be installed:$missing" >&2
exit 0
