"""Tries that need the rig to themselves: only while no guard runs, none was killed with closed contactors, nobody holds the port."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cellguard.doctor import board, timer
from cellguard.doctor.finding import Finding, fault, unchecked
from cellguard.doctor.patient import Patient

if TYPE_CHECKING:
    from edge_agent.config import Arduino, Inverter

GUARD_RUNS = "a guard runs and has the port"
STOP_IT = "`sudo systemctl stop cellguard-guard`, then again"
BOARD = ("arduino-firmware", "reset-capacitor")

Tell = Callable[[str], None]


def tries(patient: Patient, tell: Tell, *, measure_timer: bool) -> Mapping[str, Finding]:
    """What can only be found out without a guard; where that may not be tried, why not. `tell` hears what goes on."""
    settings = patient.settings
    names = [name for name in BOARD if settings.arduino is not None]
    names += [timer.NAME] if measure_timer and settings.inverter is not None else []
    with _alone(settings.node.runtime_dir) as another:
        hindrance = another or _left_closed(patient)
        if hindrance is not None:
            return dict.fromkeys(names, hindrance)
        found: dict[str, Finding] = {}
        if settings.arduino is not None:
            found |= _board(settings.arduino, tell)
        if timer.NAME in names and settings.inverter is not None:
            found[timer.NAME] = _timer(settings.inverter, timer.state_folders(patient), tell)
        return found


def _board(settings: Arduino, tell: Tell) -> Mapping[str, Finding]:
    if taken := board.holders(settings.port):
        return dict.fromkeys(BOARD, unchecked(f"{settings.port} is held by {', '.join(taken)}", "end it, then again"))
    tell("opening the Arduino's port twice")
    return board.try_board(settings)


def _timer(settings: Inverter, folders: list[Path], tell: Tell) -> Finding:
    from edge_agent.comm_timer import store
    from shared.errors import CellguardError

    if taken := board.holders(settings.port):
        return unchecked(f"{settings.port} is held by {', '.join(taken)}", "end it, then again")
    if not folders:
        return unchecked(
            "there is no state folder to keep the result in", "set [node] state_dir, or start the guard once"
        )
    try:
        measured = timer.measure(settings, lambda said: tell(f"the inverter's timer with {said}"))
        store(folders[0], measured)
    except CellguardError as error:
        return fault(f"could not be measured: {error}", "see the line inverter-line with a guard running")
    except OSError as error:
        return fault(f"{measured.refreshed_by}, but it could not be kept: {error}", "run doctor with sudo")
    return timer.judge(measured, settings.comm_timer_s)


@contextmanager
def _alone(runtime_dir: Path) -> Iterator[Finding | None]:
    """Hold the guard's own lock, so that none starts meanwhile; yields why not when that is not possible."""
    from edge_agent.guard.main import LOCK_NAME

    try:
        runtime_dir.mkdir(parents=True, exist_ok=True)
        handle = os.open(runtime_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        yield unchecked(
            f"{runtime_dir}: {error.strerror}, so it is not known whether a guard runs", "run doctor with sudo"
        )
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield unchecked(GUARD_RUNS, STOP_IT)
    else:
        yield None
    finally:
        os.close(handle)


def _left_closed(patient: Patient) -> Finding | None:
    """A guard that was killed while connected may have left relays closed: opening the port could break load."""
    from edge_agent.guard.durable import FILE_NAME, decode

    for folder in timer.state_folders(patient):
        try:
            if decode((folder / FILE_NAME).read_bytes()).armed:
                return unchecked(
                    "the last guard ended with closed contactors", "start the guard, stop it in order, then again"
                )
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            return unchecked(f"{folder / FILE_NAME}: {error}; contactors may be closed", "run doctor with sudo")
    return None
