"""How the process stands: its priority, its memory, its garbage collector. Set once at start, told in `state/health`."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import resource
import sys

FIFO_PRIORITY = 20
NICE = -10
SWITCH_S = 0.001
"""So long a thread may hold the interpreter while another waits; Python's own 5 ms are a quarter of the whole budget."""
_GC_THRESHOLD = (50_000, 20, 50)
_LOCK_CURRENT, _LOCK_FUTURE, _LOCK_ON_FAULT = 1, 2, 4

log = logging.getLogger(__name__)


def take_priority() -> str:
    """Before any thread is started, so that all of them have it: real-time where that is allowed, else above the others.

    All threads alike: one that holds the interpreter and is put off by another program would put off the loop too.
    """
    sys.setswitchinterval(SWITCH_S)
    if os.sched_getscheduler(0) == os.SCHED_FIFO:
        return f"fifo {os.sched_getparam(0).sched_priority}"
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))
    except OSError as error:
        why = error.strerror
    else:
        return f"fifo {FIFO_PRIORITY}"
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    except OSError:
        log.info("normal priority (%s): CPUSchedulingPolicy=fifo with LimitRTPRIO allows more", why)
        return "normal"
    return f"nice {NICE}"


def settle_memory() -> str:
    """What lives for ever is not looked at by the collector again, and is not swapped out where that is allowed."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLD)
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] != resource.RLIM_INFINITY:
        # with a finite limit a lock that succeeds now makes a later allocation fail
        log.info("memory is not locked: LimitMEMLOCK=infinity allows it")
        return "not locked: LimitMEMLOCK is finite"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_LOCK_CURRENT | _LOCK_FUTURE | _LOCK_ON_FAULT) == 0:
        log.info("memory is locked")
        return "locked"
    return f"not locked: {os.strerror(ctypes.get_errno())}"
