#!/bin/sh
# The profile `demo`: a simulated rig and an agent on it. The container ends, and is started again, when either of them does.
set -eu
mkdir -p /var/lib/cellguard/state /run/rig /run/cellguard
cellguard simulate --can unix --directory /run/rig --control /run/rig/control >/dev/null &
rig=$!
until [ -S /run/rig/control ]; do
    kill -0 "$rig" || exit 1
    sleep 0.2
done
cellguard edge run --config /pc/demo/edge.toml &
agent=$!
trap 'kill "$agent" 2>/dev/null; wait "$agent"; kill "$rig" 2>/dev/null; exit 0' TERM INT
while kill -0 "$rig" 2>/dev/null && kill -0 "$agent" 2>/dev/null; do
    sleep 1 &
    wait $!
done
kill "$agent" "$rig" 2>/dev/null || true
exit 1
