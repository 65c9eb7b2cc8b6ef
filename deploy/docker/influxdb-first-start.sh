#!/bin/bash
# Run once by the image of InfluxDB after it has made organisation and bucket: a database of the bucket's name for InfluxQL,
# a token that can only write for the collector, one that can only read for Grafana.
set -euo pipefail
umask 077
pc=${CELLGUARD_PC:-/pc}
bucket=$DOCKER_INFLUXDB_INIT_BUCKET_ID

token() {  # NAME RIGHT FILE
    influx auth create --org "$DOCKER_INFLUXDB_INIT_ORG" --description "$1" "$2" "$bucket" --json \
        | sed -n 's/.*"token": *"\([^"]*\)".*/\1/p' >"$3"
    [ -s "$3" ] || { echo "cellguard: InfluxDB gave no token for $1" >&2; exit 1; }
}

influx v1 dbrp create --db "$DOCKER_INFLUXDB_INIT_BUCKET" --rp autogen --bucket-id "$bucket" --default >/dev/null
token collector --write-bucket "$pc/write-token/token"
token grafana --read-bucket "$pc/read-token/influx-read-token"
