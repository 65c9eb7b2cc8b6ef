#!/bin/sh
# The profile `demo`: a simulated rig and an agent on it. The container ends, and is started again, when either of them does.
set -eu
mkdir -p /var/lib/cellguard/state /var/lib/cellguard/schedules /run/rig /run/cellguard
# a day of 20 s each way
awk 'BEGIN { print "Interval [s],Current [A]"; while (i++ < 2160) print "20,35\n20,-35" }' >/var/lib/cellguard/schedules/demo.csv
send() { cellguard local send --config /pc/demo/edge.toml "$1" "$2" >/dev/null 2>&1; }
cellguard simulate --can unix --directory /run/rig --control /run/rig/control >/dev/null &
rig=$!
until [ -S /run/rig/control ]; do
    kill -0 "$rig" || exit 1
    sleep 0.2
done
cellguard edge run --config /pc/demo/edge.toml &
agent=$!
# stands for a person, once: after a trip it is for you to reset, connect and start again
{
    until send contactor '{"action":"close"}'; do sleep 2; done
    until send schedule '{"action":"start","file":"demo.csv"}'; do sleep 2; done
} &
trap 'kill "$agent" 2>/dev/null; wait "$agent"; kill "$rig" 2>/dev/null; exit 0' TERM INT
while kill -0 "$rig" 2>/dev/null && kill -0 "$agent" 2>/dev/null; do
    sleep 1 &
    wait $!
done
kill "$agent" "$rig" 2>/dev/null || true
exit 1
