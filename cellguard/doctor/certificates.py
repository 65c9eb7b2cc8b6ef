"""The check of the node's TLS files: how long its certificate and its authority still hold."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import time
from pathlib import Path

from cellguard.credentials import SOON_DAYS
from cellguard.doctor.finding import Finding, fault, note, ok, unchecked
from cellguard.doctor.patient import Patient

_DAY_S = 86_400
_PATIENCE_S = 10.0
_RENEW = {
    "cert": "`cellguard certs issue` on the PC, then put the new pair on the Pi",
    "ca": "a new authority: `cellguard certs init` with a new --dir on the PC, then new certificates for all",
}


def certificates(patient: Patient) -> Finding:
    """The first of both that ends."""
    tls = patient.settings.mqtt.tls
    if tls is None:
        return ok("no TLS is set up, so no certificate can end")
    named = {"cert": tls.cert, "ca": tls.ca}
    ends = {part: _end_s(path) for part, path in named.items() if path is not None}
    unread = [str(named[part]) for part, end_s in ends.items() if end_s is None]
    if unread:
        return unchecked(f"the end of {', '.join(unread)} cannot be read", "run doctor with sudo; is `openssl` there?")
    part, end_s = min(((part, end_s or 0.0) for part, end_s in ends.items()), key=lambda pair: pair[1])
    return judge_end(f"{named[part]}", (end_s - time.time()) / _DAY_S, _RENEW[part])


def judge_end(name: str, days: float, todo: str) -> Finding:
    """From the days that are left."""
    if days <= 0:
        return fault(f"{name} ended {-days:.0f} days ago, or this computer's clock is wrong", todo)
    if days < SOON_DAYS:
        return note(f"{name} ends in {days:.0f} days: then no broker lets this node in", todo)
    return ok(f"{name} holds for {days:.0f} days")


def _end_s(path: Path) -> float | None:
    """`notAfter` as Unix time; None when the file or OpenSSL's program does not tell."""
    program = shutil.which("openssl")
    if program is None:
        return None
    try:
        said = subprocess.run(
            [program, "x509", "-noout", "-enddate", "-in", path],
            capture_output=True, text=True, timeout=_PATIENCE_S, check=True,
        ).stdout  # fmt: skip
        return float(ssl.cert_time_to_seconds(said.strip().partition("=")[2]))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
