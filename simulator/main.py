"""`cellguard simulate`: check the options, open the rig's links, print where they are, and serve until told to stop."""

from __future__ import annotations

import gc
import signal
import sys
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from shared.errors import EXIT_DONE, ConfigError
from simulator.profiles import profile_named
from simulator.rig import BOARDS, RigSize
from simulator.simulation import Simulation

MOST_MODULES = 15
MOST_CELLS = 14


@dataclass(frozen=True, slots=True)
class Options:
    """What `cellguard simulate` can be told; `directory` and `control` default to a fresh folder that is removed."""

    modules: int = 8
    cells: int = 12
    profile: str = "ideal"
    can: str = "slcan"
    arduino_protocol: str = "v2"
    control: Path | None = None
    truth: Path | None = None
    seed: int | None = None
    directory: Path | None = None


def rig_size(options: Options) -> RigSize:
    """The options checked; ConfigError names the wrong one."""
    if not 1 <= options.modules <= MOST_MODULES:
        raise ConfigError("--modules", str(options.modules), f"1..{MOST_MODULES}")
    if not 1 <= options.cells <= MOST_CELLS:
        raise ConfigError("--cells", str(options.cells), f"1..{MOST_CELLS}")
    if options.arduino_protocol not in BOARDS:
        raise ConfigError("--arduino-protocol", options.arduino_protocol, " or ".join(BOARDS))
    profile = profile_named(options.profile)
    return RigSize(profile, options.modules, options.cells, options.arduino_protocol, options.seed)


def run(options: Options) -> int:
    """Simulate until SIGTERM or SIGINT; returns the exit code. ConfigError says which option is wrong."""
    size = rig_size(options)
    with ExitStack() as stack:
        simulation = open_simulation(size, options, stack)
        stack.callback(simulation.close)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda _number, _frame: simulation.stop())
        _settle_memory()
        sys.stdout.write(simulation.links + "\n")
        sys.stdout.flush()
        simulation.run()
    return EXIT_DONE


def _settle_memory() -> None:
    """Hardware does not stand still to tidy up: what lives for ever is not looked at again, the rest seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def open_simulation(size: RigSize, options: Options, stack: ExitStack) -> Simulation:
    """Open all links; a folder made for them is removed when the stack closes."""
    directory = options.directory
    if directory is None:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cellguard-simulator-")))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        directory = directory.absolute()
        return Simulation(size, options.can, directory, options.control or directory / "control", options.truth)
    except OSError as problem:
        raise ConfigError(
            str(problem.filename or directory), str(problem.strerror), "a place that can be written"
        ) from problem
