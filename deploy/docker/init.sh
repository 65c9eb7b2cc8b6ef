#!/bin/sh
# The one-shot service `init`: on the first start every key, password and setting is made into the volumes; later nothing changes.
# With arguments it runs those instead: docker compose run --rm init cellguard certs list --dir /pc/keys
set -eu
umask 077
pc=${CELLGUARD_PC:-/pc}
here=$(cd "$(dirname "$0")" && pwd)
keys=$pc/keys
site=${CELLGUARD_SITE:-lab}
node=${CELLGUARD_NODE:-rig-1}
hosts="mosquitto localhost 127.0.0.1 ${CELLGUARD_HOSTS:-192.168.137.1}"

secret() {  # a file with a fresh secret, unless it is there
    [ -s "$1" ] || python3 -c 'import secrets; print(secrets.token_urlsafe(32))' >"$1"
}

share() {  # each service gets its own part of the keys and no other; the authority's key stays in the volume `keys`
    cp "$keys"/broker/* "$pc/broker/"
    cp "$keys"/clients/pc-1/* "$here/collector.toml" "$pc/collector/"
    cp "$keys"/clients/lab/demo/* "$here/edge.toml" "$pc/demo/"
}

if [ $# -gt 0 ]; then
    "$@"
    share
    exit 0
fi

if [ "$(cat "$keys/hosts" 2>/dev/null || true)" != "$hosts" ]; then
    set -f
    # shellcheck disable=SC2046,SC2086  # a list of words on purpose
    cellguard certs init --dir "$keys" $(printf -- '--host %s ' $hosts)
    set +f
    echo "$hosts" >"$keys/hosts"
fi
[ -d "$keys/clients/pc-1" ] || cellguard certs issue collector pc-1 --dir "$keys" >/dev/null
for one in "$site/$node" lab/demo; do
    [ -d "$keys/clients/$one" ] || cellguard certs issue agent "$one" --dir "$keys" >/dev/null
done
[ -d "$keys/clients/operator" ] || cellguard broker password operator --role operator --dir "$keys" >/dev/null
[ -d "$keys/clients/viewer" ] || cellguard broker password viewer --role viewer --dir "$keys" >/dev/null
secret "$pc/influxdb/admin-password"
secret "$pc/influxdb/admin-token"
secret "$pc/grafana/admin-password"

share

cat <<END
Ready. What is where:
  the Pi    docker cp cellguard-init:/pc/keys/clients/$site/$node ./certs   → /etc/cellguard/certs on the Pi
            edge.toml there: [node] site = "$site"  name = "$node"  [mqtt] host = this computer's address, port 8883
            tls = { ca = "certs/ca.crt", cert = "certs/$node.crt", key = "certs/$node.key" }, receipts_from = ["pc-1"]
  people    docker cp cellguard-init:/pc/keys/clients/operator ./operator   → port 8884 (also: viewer)
  Grafana   http://localhost:3000, user admin, password:
            docker compose run --rm --no-deps init cat /pc/grafana/admin-password
  the broker's certificate is for: $hosts   (others: CELLGUARD_HOSTS="…" in .env, then up again)
END
