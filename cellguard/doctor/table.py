"""The doctor's table: one row a check. A new check is a function and a row here, and a line in docs/hardware/checks.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from cellguard.doctor import board, can, certificates, computer, header, node, rig, timer
from cellguard.doctor.finding import Finding, unchecked
from cellguard.doctor.patient import Patient

Needs = Literal["nothing", "node", "pi", "guard"]
"""What a check looks at: only what is here, the node's words over the broker, this Pi's settings, or also its guard's words."""


class Check(NamedTuple):
    """One row: its name, its question, and what it needs to be asked."""

    name: str
    judge: Callable[[Patient], Finding]
    needs: Needs


CHECKS: tuple[Check, ...] = (
    Check("broker", node.broker, "nothing"),
    Check("node", node.node, "nothing"),
    Check("heartbeat", node.heartbeat, "node"),
    Check("modules", node.modules, "node"),
    Check(
        "inverter",
        node.source("inverter", "RS-485 adapter, unit number, its power; `[inverter] port` in edge.toml"),
        "node",
    ),
    Check(
        "arduino",
        node.source("arduino", "USB plug, sketch version; `[arduino] port` and protocol in edge.toml"),
        "node",
    ),
    Check("storage", node.storage, "node"),
    Check("safety", node.safety, "node"),
    Check("clock", node.clock, "node"),
    Check("guard", rig.guard, "pi"),
    Check("can-adapter", can.adapter, "pi"),
    Check("can-bitrate", can.bit_rate, "pi"),
    Check("can-bus", can.bus, "pi"),
    Check("can-frames", can.frames, "guard"),
    Check("module-data", rig.module_data, "guard"),
    Check("inverter-line", rig.inverter, "guard"),
    Check("comm-timer", timer.comm_timer, "pi"),
    Check("current-noise", rig.current_noise, "guard"),
    Check("arduino-firmware", board.firmware, "pi"),
    Check("reset-capacitor", board.reset_capacitor, "pi"),
    Check("gpio", header.gpio, "pi"),
    Check("own-clock", computer.own_clock, "pi"),
    Check("disk", computer.disk, "nothing"),
    Check("card-wear", computer.card_wear, "pi"),
    Check("spool", computer.spool, "pi"),
    Check("files", computer.files, "pi"),
    Check("certificates", certificates.certificates, "pi"),
    Check("python", computer.python, "nothing"),
)


def examine(patient: Patient) -> list[tuple[str, Finding]]:
    """Every check of the table that this computer is the place for; what cannot be looked at says so."""
    on_the_pi = patient.config is not None
    return [
        (check.name, _hindrance(check, patient) or check.judge(patient))
        for check in CHECKS
        if on_the_pi or check.needs in {"nothing", "node"}
    ]


def _hindrance(check: Check, patient: Patient) -> Finding | None:
    """Why a check cannot be made now."""
    if check.name in {"broker", "node"} or check.needs == "node":
        if patient.deaf and check.name != "broker":
            return unchecked(patient.deaf)
        if patient.trouble and check.name != "broker":
            return unchecked("the broker does not answer")
        if check.needs == "node" and not patient.view.status:
            return unchecked("no node has been heard")
    if check.needs == "guard" and patient.words.trouble:
        return unchecked("the guard does not answer")
    return None
