"""The doctor's table: one row a check, what it found, and what to do. A new check is a function and a line in `CHECKS`."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from cellguard.tolerant import listed, number, table, text
from cellguard.view import View

Verdict = Literal["ok", "note", "fault"]
FRESH_S = 2.5
CLOCK_APART_S = 5.0
DISK_LEAST_MB = 500


class Finding(NamedTuple):
    """What one check found; `todo` says what to do when it is no `ok`."""

    verdict: Verdict
    said: str
    todo: str = ""


class Patient(NamedTuple):
    """What the checks look at: the broker's answer, the node's words after some seconds of listening, local folders."""

    broker: str
    trouble: str
    view: View
    now: float
    folders: Mapping[str, Path]


class Check(NamedTuple):
    """One row: its name, its question, and whether it needs the node's words."""

    name: str
    judge: Callable[[Patient], Finding]
    needs_node: bool = True


def examine(patient: Patient) -> list[tuple[str, Finding]]:
    """Every check of the table; what cannot be asked while the broker or node is silent is left out."""
    heard = bool(patient.view.status)
    return [(check.name, check.judge(patient)) for check in CHECKS if heard or not check.needs_node]


def _broker(patient: Patient) -> Finding:
    if patient.trouble:
        return Finding("fault", patient.trouble, "start the broker: `systemctl status mosquitto`, or `cellguard demo`")
    return Finding("ok", f"{patient.broker} answers")


def _node(patient: Patient) -> Finding:
    status = patient.view.status
    state = text(status, "state")
    if not status:
        return Finding(
            "fault", "no node has been heard", "start `cellguard edge run` on the Pi; is it allowed at this broker?"
        )
    if state == "offline":
        return Finding(
            "fault", "the node is offline", "look at `systemctl status cellguard-link` on the Pi, and its network"
        )
    if state == "degraded":
        return Finding(
            "fault",
            f"the node is degraded: {listed(status, 'why')}",
            "see the lines below; each link is opened again by itself",
        )
    return Finding("ok", "the node is online")


def _heartbeat(patient: Patient) -> Finding:
    age = patient.view.age_s("hb", patient.now)
    if age is None or age > FRESH_S:
        return Finding(
            "fault", "no heartbeat", "energising commands are refused without it; look at link's log on the Pi"
        )
    return Finding("ok", f"heartbeat {age:.1f} s ago")


def _modules(patient: Patient) -> Finding:
    expected = patient.view.modules()
    silent = [source for source in expected if not _is_fresh(patient, source)]
    if not expected:
        return Finding(
            "fault", "no module is known", "CAN adapter, bit rate, termination; `cellguard local commission`"
        )
    if silent:
        return Finding(
            "fault", f"silent: {', '.join(silent)}", "power and CAN plug of these modules; `cellguard alarms`"
        )
    return Finding("ok", f"{len(expected)} modules answer")


def _source(source: str, todo: str) -> Callable[[Patient], Finding]:
    def judge(patient: Patient) -> Finding:
        if _is_fresh(patient, source):
            return Finding("ok", f"{source} talks")
        if source not in patient.view.states:
            return Finding("note", f"{source} never heard: not fitted?", todo)
        return Finding("fault", f"{source} is silent", todo)

    return judge


def _storage(patient: Patient) -> Finding:
    health = patient.view.state("health")
    spooled = health.get("spooled", table(health, "books").get("spooled", "?"))
    if not patient.view.receipts:
        return Finding(
            "fault",
            f"nothing was stored while listening, {spooled} records wait in the spool",
            "is the collector running and named in [mqtt] receipts_from? can it write its store?",
        )
    return Finding("ok", f"receipts arrive, {spooled} records wait in the spool")


def _safety(patient: Patient) -> Finding:
    safety = patient.view.state("safety")
    if text(safety, "state") == "LATCHED":
        return Finding(
            "fault",
            f"latched: {listed(safety, 'latches')}",
            "remove the cause, then `cellguard send safety reset_latch ID`",
        )
    alarms = len(patient.view.current_alarms())
    if alarms:
        return Finding("note", f"{safety.get('state')}, {alarms} alarms", "see `cellguard alarms`")
    return Finding("ok", f"{safety.get('state')}, no alarms")


def _clock(patient: Patient) -> Finding:
    status = patient.view.status
    apart = abs(time.time() - number(status, "ts") / 1e6)
    live = patient.view.age_s("status", patient.now) is not None
    if live and apart > CLOCK_APART_S:
        return Finding(
            "fault", f"the node's clock is {apart:.0f} s from this one", "set up NTP (systemd-timesyncd) on both"
        )
    if status.get("clock") != "synced":
        return Finding("note", f"the node's clock is {status.get('clock')}", "set up NTP on the Pi (systemd-timesyncd)")
    return Finding("ok", "clock synchronised")


def _disk(patient: Patient) -> Finding:
    for name, folder in patient.folders.items():
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            return Finding(
                "fault", f"{name} {folder} cannot be written", "make it, and give it to the user cellguard runs as"
            )
        free_mb = shutil.disk_usage(folder).free // 1_000_000
        if free_mb < DISK_LEAST_MB:
            return Finding("fault", f"{name} {folder}: {free_mb} MB left", f"make room: at least {DISK_LEAST_MB} MB")
    said = ", ".join(
        f"{name} {shutil.disk_usage(folder).free // 1_000_000} MB free" for name, folder in patient.folders.items()
    )
    return Finding("ok", said)


def _is_fresh(patient: Patient, source: str) -> bool:
    age = patient.view.age_s(f"state/{source}", patient.now)
    return age is not None and age < FRESH_S


CHECKS: tuple[Check, ...] = (
    Check("broker", _broker, needs_node=False),
    Check("node", _node, needs_node=False),
    Check("heartbeat", _heartbeat),
    Check("modules", _modules),
    Check("inverter", _source("inverter", "RS-485 adapter, unit number, its power; `[inverter] port` in edge.toml")),
    Check("arduino", _source("arduino", "USB plug, sketch version; `[arduino] port` and protocol in edge.toml")),
    Check("storage", _storage),
    Check("safety", _safety),
    Check("clock", _clock),
    Check("disk", _disk, needs_node=False),
)
