"""Checks of the CAN adapter, as the kernel shows it, and of what the guard counts on the bus."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import orjson

from cellguard.doctor.finding import Finding, fault, note, ok, unchecked
from cellguard.doctor.patient import Patient
from cellguard.tolerant import Body, number, table, text

SOCKETCAN = "socketcan"
_NET = Path("/sys/class/net")
_IP_S = 5.0
_UP = "`sudo ip link set {0} up type can bitrate {1} restart-ms 100`, or deploy/networkd/80-can0.network for good"
_WIRES = "60 Ω between CAN_H and CAN_L with the power off? the same bit rate at every node? (docs/hardware/can.md)"
_STATES = {
    "ERROR-ACTIVE": "",
    "ERROR-WARNING": "many errors on the bus",
    "ERROR-PASSIVE": "so many errors that the controller only listens",
    "BUS-OFF": "the controller has left the bus",
}
ODD_COUNTS = {
    "error_frames": f"error frames come: {_WIRES}",
    "overflowed_frames": "frames were lost in the socket: is deploy/sysctl.d/cellguard.conf in place, is the Pi stalled?",
    "malformed_frames": "frames were cut off: another adapter, another cable",
    "second_senders": "two modules send with one number: set one of them to a free number",
    "send_failures": "SYNC could not be sent: does any other node acknowledge on this bus?",
    "skipped_syncs": "SYNCs were left out: what else keeps this Pi busy (`top`)?",
}
"""Counters that stand still on a healthy bus, and what to do when one does not."""


def link_of(channel: str) -> Body:
    """What `ip` tells of an interface, from iproute2's JSON; {} when there is no `ip` or no such interface."""
    program = shutil.which("ip") or shutil.which("ip", path="/usr/sbin:/sbin")
    if program is None:
        return {}
    command = [program, "-details", "-statistics", "-json", "link", "show", "dev", channel]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_IP_S, check=False)
        found = orjson.loads(done.stdout or b"[]")
    except (OSError, subprocess.TimeoutExpired, orjson.JSONDecodeError):
        return {}
    return found[0] if isinstance(found, list) and found and isinstance(found[0], dict) else {}


def adapter(patient: Patient) -> Finding:
    """Whether the adapter is there and up."""
    can = patient.settings.can
    if can.interface != SOCKETCAN:
        return _opened(patient)
    link = link_of(can.channel)
    if link:
        return judge_adapter(link, can.channel, can.bitrate)
    if (_NET / can.channel).exists():
        return unchecked(f"{can.channel} is there, but `ip` tells nothing", "sudo apt install iproute2")
    return fault(f"no CAN interface {can.channel}", "plug the adapter in; then `lsusb`, and `dmesg | grep -i can`")


def judge_adapter(link: Body, channel: str, bitrate: int) -> Finding:
    """From the interface's JSON."""
    if table(link, "linkinfo").get("info_kind") not in {"can", "vcan", "vxcan"}:
        return fault(f"{channel} is no CAN interface", "set [can] channel in edge.toml to the adapter's name")
    flags = link.get("flags")
    if not isinstance(flags, list) or "UP" not in flags:
        return fault(f"{channel} is down", _UP.format(channel, bitrate))
    return ok(f"{channel} is up, room to send {link.get('txqlen')} frames")


def bit_rate(patient: Patient) -> Finding:
    """Whether the adapter runs at the configured rate."""
    can = patient.settings.can
    if can.interface != SOCKETCAN:
        return unchecked(f"[can] interface {can.interface}: only SocketCAN shows its bit rate")
    return judge_bit_rate(link_of(can.channel), can.channel, can.bitrate)


def judge_bit_rate(link: Body, channel: str, wanted: int) -> Finding:
    """From the interface's JSON: adapters with a fixed set of rates give it in another place."""
    data = table(table(link, "linkinfo"), "info_data")
    rate = int(number(table(data, "bittiming"), "bitrate") or number(data, "bittiming_bitrate"))
    if not rate:
        return unchecked(f"{channel} has no bit rate yet", _UP.format(channel, wanted))
    if rate != wanted:
        return fault(
            f"{channel} runs at {rate} bit/s, edge.toml says {wanted}",
            "make BitRate= in 80-can0.network and [can] bitrate what the modules use, both alike",
        )
    if not number(data, "restart_ms"):
        return note(
            f"{rate} bit/s, but it stays away after bus-off",
            f"give it `restart-ms 100`: {_UP.format(channel, wanted)}",
        )
    return ok(f"{rate} bit/s, back from bus-off after {number(data, 'restart_ms'):.0f} ms")


def bus(patient: Patient) -> Finding:
    """The controller's own view of the bus."""
    can = patient.settings.can
    if can.interface != SOCKETCAN:
        return unchecked(f"[can] interface {can.interface}: only SocketCAN shows the controller's state")
    return judge_bus(link_of(can.channel), can.channel)


def judge_bus(link: Body, channel: str) -> Finding:
    """From the interface's JSON: state, error counters, how often it was bus-off."""
    info = table(link, "linkinfo")
    data, seen = table(info, "info_data"), table(info, "info_xstats")
    state = text(data, "state")
    if state not in _STATES:
        said = {"STOPPED": "is down", "": "says nothing of its state"}.get(state, f"says {state}")
        return unchecked(f"{channel} {said}", "see the line can-adapter")
    errors = table(data, "berr_counter")
    counted = f"errors now: sending {number(errors, 'tx'):.0f}, receiving {number(errors, 'rx'):.0f}" if errors else ""
    often = ", ".join(f"{name} {value}" for name, value in seen.items() if isinstance(value, int) and value)
    said = "; ".join(part for part in (f"{channel} {state}", _STATES[state], counted, often) if part)
    if state != "ERROR-ACTIVE":
        return fault(said, _WIRES)
    if number(seen, "bus_off") or number(seen, "error_passive"):
        return note(said, f"since it came up the bus was bad for a while: {_WIRES}")
    return ok(said)


def frames(patient: Patient) -> Finding:
    """What the guard counted on the bus while we listened."""
    risen = {name: count for name, count in patient.words.counted("can").items() if name in ODD_COUNTS}
    if risen:
        said = ", ".join(f"{name} +{count}" for name, count in sorted(risen.items()))
        worst = next(name for name in ODD_COUNTS if name in risen)
        return fault(f"in {patient.words.seconds:.0f} s: {said}", ODD_COUNTS[worst])
    return ok(f"nothing odd was counted in {patient.words.seconds:.0f} s")


def _opened(patient: Patient) -> Finding:
    """An adapter that is not the kernel's: what the guard says of it."""
    can, words = patient.settings.can, patient.guard
    if words is None or words.trouble:
        return unchecked(f"[can] interface {can.interface}: only the guard could tell, and it does not answer")
    said = words.device("can")
    if said.startswith(("absent", "lost")):
        return fault(f"can {said}", f"is the adapter plugged in? is {can.channel} right ([can] channel)?")
    return ok(f"the guard has opened it: {said}")
