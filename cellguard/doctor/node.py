"""Checks of what the node says over the broker: its words, its modules, what is stored, its clock."""

from __future__ import annotations

import time
from collections.abc import Callable

from cellguard.doctor.finding import Finding, fault, note, ok
from cellguard.doctor.patient import Patient
from cellguard.tolerant import listed, number, table, text

FRESH_S = 2.5
CLOCK_APART_S = 5.0


def broker(patient: Patient) -> Finding:
    """Whether anybody answers at the broker's address."""
    if patient.trouble:
        return fault(
            patient.trouble,
            "put right what it says; is the broker running? `systemctl status mosquitto`, or `cellguard demo`",
        )
    return ok(f"{patient.broker} answers")


def node(patient: Patient) -> Finding:
    """What the node says of itself."""
    status = patient.view.status
    state = text(status, "state")
    if not status:
        return fault("no node has been heard", "start `cellguard edge run` on the Pi; is it allowed at this broker?")
    if state == "offline":
        return fault("the node is offline", "look at `systemctl status cellguard-link` on the Pi, and its network")
    if state == "degraded":
        todo = "see the lines below; each link is opened again by itself"
        return fault(f"the node is degraded: {listed(status, 'why')}", todo)
    return ok("the node is online")


def heartbeat(patient: Patient) -> Finding:
    """Energising commands echo a heartbeat less than 3 s old."""
    age = patient.view.age_s("hb", patient.now)
    if age is None or age > FRESH_S:
        return fault("no heartbeat", "energising commands are refused without it; look at link's log on the Pi")
    return ok(f"heartbeat {age:.1f} s ago")


def modules(patient: Patient) -> Finding:
    """Whether every known module's values arrive."""
    expected = patient.view.modules()
    silent = [source for source in expected if not _is_fresh(patient, source)]
    if not expected:
        return fault("no module is known", "CAN adapter, bit rate, termination; `cellguard local commission`")
    if silent:
        return fault(f"silent: {', '.join(silent)}", "power and CAN plug of these modules; `cellguard alarms`")
    return ok(f"{len(expected)} modules answer")


def source(name: str, todo: str) -> Callable[[Patient], Finding]:
    """The check that a source's values arrive."""

    def judge(patient: Patient) -> Finding:
        if _is_fresh(patient, name):
            return ok(f"{name} talks")
        if name not in patient.view.states:
            return note(f"{name} never heard: not fitted?", todo)
        return fault(f"{name} is silent", todo)

    return judge


def storage(patient: Patient) -> Finding:
    """Whether somebody stores and says so."""
    health = patient.view.state("health")
    spooled = health.get("spooled", table(health, "books").get("spooled", "?"))
    if not patient.view.receipts:
        return fault(
            f"nothing was stored while listening, {spooled} records wait in the spool",
            "is the collector running and named in [mqtt] receipts_from? can it write its store?",
        )
    return ok(f"receipts arrive, {spooled} records wait in the spool")


def safety(patient: Patient) -> Finding:
    """Latches and alarms."""
    body = patient.view.state("safety")
    if text(body, "state") == "LATCHED":
        todo = "remove the cause, then `cellguard send safety reset_latch ID`"
        return fault(f"latched: {listed(body, 'latches')}", todo)
    alarms = len(patient.view.current_alarms())
    if alarms:
        return note(f"{body.get('state')}, {alarms} alarms", "see `cellguard alarms`")
    return ok(f"{body.get('state')}, no alarms")


def clock(patient: Patient) -> Finding:
    """The node's clock against the one of this computer."""
    status = patient.view.status
    age = patient.view.age_s("status", patient.now)
    if age is not None:  # a kept message says nothing of the time it came
        came = time.time() - (time.monotonic() - patient.now) - age
        apart = abs(came - number(status, "ts") / 1e6)
        if apart > CLOCK_APART_S:
            return fault(f"the node's clock is {apart:.0f} s from this one", "set up NTP (systemd-timesyncd) on both")
    if status.get("clock") != "synced":
        return note(f"the node's clock is {status.get('clock')}", "set up NTP on the Pi (systemd-timesyncd)")
    return ok("clock synchronised")


def _is_fresh(patient: Patient, source: str) -> bool:
    age = patient.view.age_s(f"state/{source}", patient.now)
    return age is not None and age < FRESH_S
