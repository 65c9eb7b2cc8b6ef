"""Become another program that dies with its parent: `python tether.py PARENT_PID PROGRAM ARGUMENT…` (Linux).

The program replaces this one, so its process id is the real one and nothing is wrapped around it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Tie this process to `parent` and execute `command` in its place; leaves at once when the parent is gone already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 (a fixed list from the demo, no shell)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
