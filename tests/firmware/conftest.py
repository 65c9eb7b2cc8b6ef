"""Real sketches on simavr's ATmega328P: `uno` steps a board in virtual time, `live_uno` runs one on a pty for a `host`."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from edge_agent.guard.codecs.arduino import Status, framed, parse_status
from edge_agent.guard.devices.arduino import ArduinoV1, ArduinoV2
from edge_agent.guard.devices.runner import Runner
from edge_agent.guard.model import Output, OutputOrder, Reading
from edge_agent.guard.ports import Arrival

FIRMWARE = Path(__file__).parents[2] / "firmware"
BUILD = FIRMWARE / "build"
NEEDED = {
    "gcc-avr": "/usr/bin/avr-gcc",
    "avr-libc": "/usr/lib/avr/include/avr/io.h",
    "arduino-core-avr": "/usr/share/arduino/hardware/arduino/avr/cores/arduino/Arduino.h",
    "libsimavr-dev": "/usr/include/simavr/sim_avr.h",
    "libelf-dev": "/usr/include/libelf.h",
    "g++": "/usr/bin/g++",
    "make": "/usr/bin/make",
}
OUTPUT_PINS = {"pump": 6, "fan": 7, "relay1": 5, "relay2": 3, "relay3": 4}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without the tools all tests that need them become one skipped test that says so."""
    missing = [package for package, file in NEEDED.items() if not Path(file).exists()]
    needy = [item for item in items if "parts" in getattr(item, "fixturenames", ())]
    if not missing or not needy:
        return
    reason = f"FIRMWARE NOT TESTED: {len(needy)} tests left out, Debian packages missing: {' '.join(missing)}"
    needy[0].add_marker(pytest.mark.skip(reason=reason))
    left_out = set(needy[1:])
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=needy[1:])


class Board:
    """The simulated Uno and all it has shown so far: `pins` now, `changes` (µs, pin, state), `resets` (MCUSR, µs)."""

    def __init__(self, sketch: str, *options: str) -> None:
        self.process = subprocess.Popen(
            [BUILD / "uno", BUILD / f"{sketch}.elf", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._to, self._from = self.process.stdin, self.process.stdout
        self._rest = b""
        self.path = ""
        self.port_open = False
        self.now_us = 0
        self.pins: dict[int, str] = {}
        self.changes: list[tuple[int, int, str]] = []
        self.resets: list[tuple[str, int]] = []
        self.sent: list[tuple[int, bytes]] = []
        self.remarks: list[str] = []
        self._meanings: dict[str, Callable[[list[str]], None]] = {
            "pty": lambda words: setattr(self, "path", words[0]),
            "port": lambda words: setattr(self, "port_open", words[0] == "1"),
            "pin": self._pin_changed,
            "reset": lambda words: self.resets.append((words[0], int(words[1]))),
            "out": lambda words: self.sent.append((int(words[1]), bytes.fromhex(words[0]))),
            "ran": lambda words: setattr(self, "now_us", int(words[0])),
        }

    def tell(self, *lines: str) -> None:
        """Commands for the board, see firmware/harness/uno.c."""
        self._to.write("".join(f"{line}\n" for line in lines).encode("ascii"))

    def send(self, data: bytes) -> None:
        """Bytes into the board's UART, at its own baud rate."""
        self.tell(f"send {data.hex()}")

    def command(self, session: str, seq: int, mask: int) -> None:
        """A v2 command."""
        self.send(framed(f"C,{session},{seq},{mask:02X}".encode("ascii")))

    def adc(self, channel: int, counts: int) -> None:
        """The voltage that the ADC shows as `counts`."""
        self.tell(f"adc {channel} {-(-counts * 5000 // 1023)}")

    def run(self, ms: int) -> list[Status]:
        """Let virtual time pass; the status lines sent meanwhile."""
        before, known = len(self.sent), self.now_us
        self.tell(f"run {ms}")
        while self.now_us == known:
            self.listen()
        return [parse_status(data.rstrip(b"\n")) for _, data in self.sent[before:] if data.startswith(b"#S")]

    def last(self, ms: int) -> Status:
        """Let virtual time pass; the last status line sent meanwhile."""
        return self.run(ms)[-1]

    def listen(self) -> None:
        """Take in what the board shows; waits until there is something."""
        data = os.read(self._from.fileno(), 1 << 16)
        assert data, f"the simulated board ended: {self.remarks}"
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            word, *words = line.decode("ascii", "replace").split(" ")
            self._meanings.get(word, lambda words, word=word: self.remarks.append(f"{word} {words}"))(words)

    def high(self) -> set[str]:
        """Names of the outputs that are on."""
        return {name for name, pin in OUTPUT_PINS.items() if self.pins.get(pin) == "1"}

    def _pin_changed(self, words: list[str]) -> None:
        pin, state, at_us = int(words[0]), words[1], int(words[2])
        self.pins[pin] = state
        self.changes.append((at_us, pin, state))

    def close(self) -> None:
        self.process.kill()
        self.process.wait(5)
        self._to.close()
        self._from.close()


class LiveBoard(Board):
    """A board on a pty in real time; `path` is the port."""

    def __init__(self, sketch: str, *options: str) -> None:
        super().__init__(sketch, "--live", *options)
        while not self.path:
            self.listen()
        os.set_blocking(self._from.fileno(), False)

    def wait_closed(self) -> None:
        """Until the board has seen that the host closed the port."""
        os.set_blocking(self._from.fileno(), True)
        while self.port_open:
            self.listen()
        os.set_blocking(self._from.fileno(), False)

    def look(self) -> None:
        """Take in what there is, without waiting."""
        try:
            while True:
                self.listen()
        except BlockingIOError:
            return


class Host:
    """The guard's own driver on its supervised thread, with this as its inbox; `latest` readings by part."""

    def __init__(self, device: ArduinoV1 | ArduinoV2) -> None:
        self.device = device
        self.arrivals: list[tuple[float, Arrival]] = []
        self.latest: dict[str, Reading] = {}
        self._news = threading.Condition()
        self._runner = Runner(device, self)
        device.permit_open()
        self._runner.start()

    def put(self, arrivals: Sequence[Arrival]) -> None:
        """The runner's inbox."""
        with self._news:
            for arrival in arrivals:
                self.arrivals.append((time.monotonic(), arrival))
                if isinstance(arrival, Reading):
                    self.latest[arrival.part] = arrival
            self._news.notify_all()

    def order(self, mask: int, valid_s: float = 60.0) -> float:
        """Order the outputs; when that was."""
        now = time.monotonic()
        self.device.order_outputs(OutputOrder(Output(mask), now + valid_s))
        return now

    def wait(self, condition: Callable[[], object], seconds: float, what: str) -> float:
        """Until the condition holds at an arrival; when that was."""
        with self._news:
            if not self._news.wait_for(condition, seconds):
                pytest.fail(f"waited {seconds:g} s for {what}; counters {self._runner.counters()}", pytrace=False)
        return time.monotonic()

    def pins(self) -> int | None:
        """The output pins that the board last read back."""
        line = self.latest.get("line")
        return None if line is None or line.raw[5] is None else int(line.raw[5])

    def counters(self) -> dict[str, int]:
        return self._runner.counters()

    def stop(self) -> None:
        self._runner.stop()
        assert not self._runner.alive


@pytest.fixture
def host() -> Iterator[Callable[[ArduinoV1 | ArduinoV2], Host]]:
    """Starts drivers; all of them end with the test."""
    made: list[Host] = []

    def start(device: ArduinoV1 | ArduinoV2) -> Host:
        made.append(Host(device))
        return made[-1]

    yield start
    for one in made:
        one.stop()


@pytest.fixture(scope="session")
def parts() -> Path:
    """The build folder with the sketches, their test builds, the simulated board and the pure code as a library."""
    built = subprocess.run(
        ["make", "-C", FIRMWARE, "test-parts"], capture_output=True, text=True, check=False, timeout=100
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return BUILD


@pytest.fixture
def uno(parts: Path) -> Iterator[Callable[..., Board]]:
    """Makes boards that stand still until `run`; all of them end with the test."""
    yield from _boards(parts, Board)


@pytest.fixture
def live_uno(parts: Path) -> Iterator[Callable[..., LiveBoard]]:
    """Makes boards on ptys in real time; all of them end with the test."""
    yield from _boards(parts, LiveBoard)


def _boards(parts: Path, kind: type[Board]) -> Iterator[Callable[..., Board]]:
    assert (parts / "uno").exists()
    made: list[Board] = []

    def make(sketch: str = "cellguard", *options: str) -> Board:
        made.append(kind(sketch, *options))
        return made[-1]

    yield make
    for board in made:
        board.close()
