"""Stage `socketcan`: the agent on a stock kernel's can0, the BMUs on can1 of the same bus, through the broker to the archive."""

from __future__ import annotations

import select
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import judge
import kernel
from guest_machine import BROKER, running
from guest_rig import START_S, UP, Rig
from proof import Proof, fresh_folder

MODULES = 3
SETTINGS = f"""\
[node]
state_dir = "/run/stage/state"
runtime_dir = "/run/stage/run"
[mqtt]
host = "{BROKER}"
port = 1883
[pack]
series = {MODULES}
[can]
modules = {MODULES}
[relays]
mode = "monitor"
"""
DRIVER = "/sys/bus/pci/drivers/kvaser_pci"
ADAPTER = "0000:00:05.0"
LOSS_S, BACK_S = 12.0, 20.0
FLOOD = 9000
"""More frames than the guard's 2 MiB of buffer hold."""


def run(checkout: Path, cache: Path, proof: Proof) -> None:
    """Boot the guest, prove each point, and compare with what the archive holds."""
    stock = kernel.fetch(cache, proof)
    folder = fresh_folder(cache, "socketcan")
    (folder / "edge.toml").write_text(SETTINGS)
    with judge.judging(folder, proof) as (judged, port):
        with running(stock, folder, port, proof) as machine:
            rig = Rig(checkout, machine, judged, proof)
            marks = [_telemetry(rig), _link_down(rig), _unplugged(rig), _overload(rig)]
            _bus_off(rig)
            rig.signal("link", "TERM")
            proof.wait(lambda: judged.body("status").get("state") == "offline", 10.0, "link to say goodbye")
        _archive(rig, marks)


def _telemetry(rig: Rig) -> int:
    rig.connect()
    began = rig.now_us()
    rig.simulate(MODULES)
    rig.agent("guard")
    rig.agent("link")
    rig.await_records(MODULES, began, START_S, "the start")
    details = rig.machine.do("ip -d link show can0")
    rig.proof.require("bitrate 500000" in details and "ERROR-ACTIVE" in details, details)
    rig.proof.require(
        "memory is locked" in rig.machine.do("cat /run/stage/guard.log"), "the guard's memory is not locked"
    )
    rig.proof.proved(f"telemetry of {MODULES} modules over can0 at 500 kbit/s, between two controllers on one bus")
    return began


def _link_down(rig: Rig) -> int:
    rig.machine.do("ip link set can0 down")
    rig.await_word("interface is down", LOSS_S)
    rig.machine.do("ip link set can0 up")
    back = rig.now_us()
    rig.await_records(MODULES, back, BACK_S, "the link came up again")
    rig.proof.proved("ip link down is named within seconds, and the reader comes back after ip link up")
    return back


def _unplugged(rig: Rig) -> int:
    rig.machine.do(f"echo {ADAPTER} > {DRIVER}/unbind")
    rig.await_word("no such CAN interface", LOSS_S)
    rig.machine.do(f"echo {ADAPTER} > {DRIVER}/bind")
    rig.machine.do(UP.format("can0"))
    back = rig.now_us()
    rig.await_records(MODULES, back, BACK_S, "the adapter was there again")
    rig.proof.proved(
        "an adapter that is pulled is named, and the reader comes back when it is plugged in and configured"
    )
    return back


def _overload(rig: Rig) -> int:
    flood = shlex.join([sys.executable, str(rig.checkout / "tests" / "stages" / "guest" / "flood.py")])
    rig.machine.do(f"{flood} can1 0x7ff 3000")
    seen = rig.await_count("error_frames", 1)
    rig.proof.proved(f"a controller that is overrun says so in error frames, and they are counted ({seen})")
    rig.machine.do("sysctl -w net.core.netdev_max_backlog=10")
    rig.machine.do(f"{flood} can0 0x7fe {FLOOD}")
    dropped = rig.await_count("dropped_frames", 1)
    rig.proof.proved(f"{dropped} frames that the kernel had no room for are counted")
    rig.machine.do(f"sysctl -p {shlex.quote(str(rig.checkout / 'deploy' / 'sysctl.d' / 'cellguard.conf'))}")
    rig.signal("guard", "STOP")
    rig.machine.do(f"{flood} can0 0x7fe {FLOOD}")
    rig.signal("guard", "CONT")
    lost = rig.await_count("overflowed_frames", 1)
    rig.signal("guard", "0")
    back = rig.now_us()
    rig.await_records(MODULES, back, BACK_S, "the overload")
    rig.proof.proved(f"{lost} frames that the socket had no room for are counted, and the same guard goes on")
    return back


def _bus_off(rig: Rig) -> None:
    """The same guard on an adapter of the kernel's slcan, whose far end is played here."""
    rig.signal("guard", "TERM")
    rig.machine.do("ldattach -8 -n -1 -s 115200 17 /dev/ttyS2")
    rig.machine.do("for i in 1 2 3 4 5 6 7 8 9; do [ -e /sys/class/net/can2 ] && break; sleep 0.2; done")
    rig.machine.do("ip link set can2 up type can bitrate 500000")
    rig.agent("guard", "CELLGUARD_CAN__CHANNEL=can2")
    rig.await_word("socketcan can2", START_S)
    adapter = rig.machine.adapter
    said = adapter.recv(4096) if select.select([adapter], [], [], 5.0)[0] else b""
    rig.proof.require(b"S6\rO\r" in said, f"the adapter was not opened at 500 kbit/s: {said!r}")
    began = rig.now_us()
    adapter.sendall(b"e1a\r")
    noticed = rig.await_count("error_frames", 1, began)
    adapter.sendall(b"sb000255\r")
    rig.await_count("error_frames", noticed + 1, began)
    rig.proof.require("BUS-OFF" in rig.machine.do("ip -d link show can2"), "the kernel does not say BUS-OFF")
    rig.proof.proved("error frames and bus-off of an adapter are seen and counted")


def _archive(rig: Rig, marks: Sequence[int]) -> None:
    for number in range(1, MODULES + 1):
        times = rig.judge.stored(f"module-{number:02d}")
        for mark in marks:
            rig.proof.require(any(mark < one for one in times), f"module {number}: nothing stored after {mark}")
    rig.proof.proved(f"the host's archive holds every module's rows of each part, none twice ({len(times)} a module)")
