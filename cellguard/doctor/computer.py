"""Checks of the computer itself: clock, disk and its wear, the spool's room, files and rights, Python and its packages."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import sys
from pathlib import Path

from cellguard.doctor.finding import Finding, fault, note, ok, unchecked
from cellguard.doctor.patient import Patient

DISK_LEAST_MB = 500
SPOOL_NEARLY_FULL = 0.8
PYTHON_LEAST = (3, 11)
WORN_OUT = 9
"""From this step of ten on (80..90 % of its life) a card should be replaced."""
SCHEDULES = "[schedule] folder"
_MB = 1_000_000
_PACKAGES = {"can": ("cantools", "can"), "inverter": ("pymodbus",), "arduino": ("serial",), "gpio": ("gpiozero",)}
"""Section of edge.toml → what its driver imports."""


def own_clock(_patient: Patient) -> Finding:
    """Whether something disciplines this computer's clock."""
    from edge_agent.link.clock import read_kernel

    if read_kernel().synced:
        return ok("this computer's clock is synchronised")
    return note(
        "nothing keeps this computer's clock right",
        "`sudo timedatectl set-ntp true`, or chrony with a server it can reach; rules do not depend on it, time stamps do",
    )


def disk(patient: Patient) -> Finding:
    """Whether the folders can be written and have room."""
    for name, folder in patient.folders.items():
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            return fault(
                f"{name} {folder} cannot be written",
                "make it, and give it to the user cellguard runs as (or run doctor with sudo)",
            )
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            return fault(f"{name} {folder} is mounted read-only", "a worn-out card does that: replace it; else remount")
        free_mb = shutil.disk_usage(folder).free // _MB
        if free_mb < DISK_LEAST_MB and not _in_memory(folder):
            return fault(f"{name} {folder}: {free_mb} MB left", f"make room: at least {DISK_LEAST_MB} MB")
    free = {name: shutil.disk_usage(folder).free // _MB for name, folder in patient.folders.items()}
    return ok(", ".join(f"{name} {free_mb} MB free" for name, free_mb in free.items()))


def card_wear(patient: Patient) -> Finding:
    """How much of the life of the card or disk under the state folder is used, where it counts that."""
    device = _block_device(patient.settings.node.state_dir)
    counted = device / "device" / "life_time" if device is not None else None
    if counted is None or not counted.exists():
        name = device.name if device is not None else "the disk"
        return unchecked(
            f"{name} has no wear counter that the kernel shows", "for a USB or NVMe disk: `sudo smartctl -a`"
        )
    return judge_wear(counted.read_text(encoding="ascii", errors="replace"))


def judge_wear(life_time: str) -> Finding:
    """From an eMMC's `life_time`: two estimates in steps of a tenth, 0x0B = beyond its life, 0x00 = not said."""
    steps = [int(word, 16) for word in life_time.split()]
    worst = max(steps, default=0)
    if not worst:
        return unchecked("the card does not say how worn it is")
    if worst >= WORN_OUT:
        return fault(f"the card has used {(worst - 1) * 10} % of its life or more", "copy it to a new one now")
    return ok(f"the card has used less than {worst * 10} % of its life")


def spool(patient: Patient) -> Finding:
    """How full the spool is, and whether its cap fits on the disk."""
    settings = patient.settings
    folders = [settings.node.state_dir / part for part in ("", "link")]
    found = [file for folder in folders if folder.is_dir() for file in folder.glob("spool*")]
    used_mb = sum(file.stat().st_size for file in found if file.is_file()) / _MB
    cap_mb = settings.spool.max_mb
    if not found:
        return unchecked(f"no spool in {settings.node.state_dir} yet, or it may not be read", "run doctor with sudo")
    free_mb = shutil.disk_usage(found[0].parent).free / _MB
    said = f"{used_mb:.0f} of {cap_mb} MB"
    if cap_mb - used_mb > free_mb:
        return fault(
            f"{said}, but only {free_mb:.0f} MB are left on the disk",
            f"make room, or set [spool] max_mb to at most {used_mb + free_mb * 0.8:.0f}",
        )
    if used_mb > SPOOL_NEARLY_FULL * cap_mb:
        return note(
            said, "released records are kept until the room is needed; if `spooled` grows, look at the collector"
        )
    return ok(said)


def files(patient: Patient) -> Finding:
    """Whether what the settings name exists, and nobody else can write settings and state or read secrets."""
    from edge_agent.check import judge
    from shared.errors import ConfigError

    settings = patient.settings
    try:
        missing = [warning for warning in judge(settings, "edge.toml").warnings if "not judged" not in warning]
    except ConfigError as error:
        return fault(str(error).splitlines()[0], "`cellguard edge check` names everything that is wrong")
    if any(not one.startswith(SCHEDULES) for one in missing):
        return fault("; ".join(missing), "put these files there, or correct their keys in edge.toml")
    tls = settings.mqtt.tls
    secrets = (settings.mqtt.password_file, tls.key if tls is not None else None)
    open_secrets = [str(path) for path in secrets if path is not None and _mode(path) & stat.S_IROTH]
    if open_secrets:
        return fault(f"everybody can read {', '.join(open_secrets)}", "chmod 640, owner root, group cellguard")
    folders = (settings.node.state_dir, settings.node.runtime_dir)
    writable = [str(path) for path in folders if _mode(path) & stat.S_IWOTH]
    if writable:
        return fault(f"everybody can write {', '.join(writable)}", "chmod o-w: who writes there can operate the rig")
    if missing:
        return note(missing[0], "make it where schedules are to be run, or set [schedule] folder")
    return ok("everything the settings name is there, and closed to strangers")


def python(patient: Patient) -> Finding:
    """Whether this Python and its packages carry the drivers of this rig."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON_LEAST:
        return fault(f"Python {version}", "at least 3.11 is needed")
    given = patient.settings.model_dump() if patient.config is not None else {}
    wanted = [package for section, names in _PACKAGES.items() if given.get(section) for package in names]
    missing = [package for package in wanted if importlib.util.find_spec(package) is None]
    if missing:
        return fault(
            f"Python {version} lacks {', '.join(missing)}", "`pip install --require-hashes -r requirements/edge.txt`"
        )
    return ok(f"Python {version}" + (f" with {', '.join(wanted)}" if wanted else ""))


def _mode(path: Path) -> int:
    """Permission bits, 0 when it may not be looked at."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _in_memory(folder: Path) -> bool:
    """Whether it lies on a tmpfs, where a few MB are enough for sockets."""
    return _mounted_as(folder) == "tmpfs"


def _mounted_as(folder: Path) -> str:
    best, kind = "", ""
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
        _, point, found, *_ = line.split(" ")
        if folder.resolve().is_relative_to(point) and len(point) >= len(best):
            best, kind = point, found
    return kind


def _block_device(folder: Path) -> Path | None:
    """The whole disk that holds a folder, in sysfs; None where there is none, as on a network or an overlay."""
    try:
        number = folder.stat().st_dev
    except OSError:
        return None
    link = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    if not link.exists():
        return None
    device = link.resolve()
    return device.parent if (device / "partition").exists() else device
