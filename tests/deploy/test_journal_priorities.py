"""Lines for the systemd journal carry their priority; lines for anything else do not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

PROGRAM = """
import logging
from shared.logs import setup
setup()
logging.info("one")
logging.warning("two")
logging.error("three")
logging.critical("four")
"""


def said(journal_stream: str, stderr: socket.socket) -> None:
    environ = {**os.environ, "JOURNAL_STREAM": journal_stream}
    subprocess.run([sys.executable, "-c", PROGRAM], env=environ, stderr=stderr.fileno(), check=True, timeout=30)
    stderr.close()


def name_of(stream: socket.socket) -> str:
    status = os.fstat(stream.fileno())
    return f"{status.st_dev}:{status.st_ino}"


def test_each_line_begins_with_its_priority_when_stderr_is_the_journal() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        said(name_of(theirs), theirs)
        lines = ours.makefile("rb").read().decode().splitlines()
    assert [line[:3] for line in lines] == ["<6>", "<4>", "<3>", "<2>"]
    assert lines[1].startswith("<4>time=")


def test_no_line_carries_a_priority_when_stderr_was_redirected() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        said(name_of(ours), theirs)
        lines = ours.makefile("rb").read().decode().splitlines()
    assert [line[:5] for line in lines] == ["time="] * 4
