"""One emulated machine on a stock kernel with two CAN controllers on one bus, that runs this checkout and obeys a serial port."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kernel import Kernel, initial_files
from proof import Failed, Proof, last_lines, program

HERE = Path(__file__).parent
MODULES = ("overlay", "9p", "9pnet_virtio", "virtio_pci", "virtio_net", "can_raw", "slcan", "kvaser_pci")
BROKER = "10.0.2.100"
"""The host's broker, as the guest sees it, on port 1883."""
CAN_SLOTS = (5, 6)
BOOT_S, ANSWER_S = 60.0, 30.0


class Machine:
    """A running guest; `do` runs one shell line in it."""

    def __init__(
        self, serial: socket.socket, adapter: socket.socket, process: subprocess.Popen[bytes], console: Path
    ) -> None:
        self.adapter = adapter
        """Our end of the guest's third serial port, where an slcan adapter may be played."""
        self._serial = serial
        self._process = process
        self._console = console
        self._lines = serial.makefile("r", encoding="utf-8", errors="replace", newline="\n")
        self._number = 0

    def await_boot(self) -> None:
        """Wait until it obeys."""
        self._serial.settimeout(BOOT_S)
        if self._line() != "ready":
            raise Failed(f"the guest did not boot: {last_lines(self._console.read_text(errors='replace'))}")

    def do(self, line: str, *, seconds: float = ANSWER_S) -> str:
        """What `line` prints in the guest; fails the stage when its exit code is not 0."""
        code, said = self.attempt(line, seconds=seconds)
        if code:
            raise Failed(f"in the guest: {line}\n  exit {code}: {said}")
        return said

    def attempt(self, line: str, *, seconds: float = ANSWER_S) -> tuple[int, str]:
        """Exit code and output of `line`."""
        self._number += 1
        self._serial.settimeout(seconds)
        self._serial.sendall(f"{self._number} {line}\n".encode())
        said: list[str] = []
        while not (got := self._line()).startswith("= "):
            said.append(got.removeprefix("| "))
        number, code = got[2:].split()
        if int(number) != self._number:
            raise Failed(f"the guest answered {number} to {self._number}")
        return int(code), "\n".join(said)

    def end(self) -> None:
        """Power off, by force when it does not obey."""
        try:
            self._serial.sendall(b"0 power off\n")
            self._process.wait(5.0)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._lines.close()
        self._serial.close()
        self.adapter.close()

    def _line(self) -> str:
        try:
            line = self._lines.readline()
        except TimeoutError as error:
            raise Failed(f"the guest is mute: {last_lines(self._console.read_text(errors='replace'))}") from error
        if not line:
            raise Failed(f"the guest has ended: {last_lines(self._console.read_text(errors='replace'))}")
        return line.rstrip("\r\n")


@contextmanager
def running(kernel: Kernel, folder: Path, broker_port: int, proof: Proof, wakes_at: str = "") -> Iterator[Machine]:
    """Boot a guest whose root is the host's, read-only under a tmpfs; it is powered off at the end.

    With `wakes_at` it has no real-time clock that its kernel knows, as a Raspberry Pi 4, and believes to start at that time.
    """
    files = {"init": HERE / "guest" / "init", "obey": HERE / "guest" / "obey"}
    start = folder / "initial.gz"
    start.write_bytes(initial_files(kernel, MODULES, files))
    console = folder / "console.log"
    hands, adapter = socket.socketpair(), socket.socketpair()
    ports = [hands[1].fileno(), adapter[1].fileno()]
    command = [program("qemu-system-x86_64"), *_hardware(ports), *_software(kernel, start, broker_port, wakes_at)]
    with console.open("wb") as log, hands[1], adapter[1]:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=ports)
    machine = Machine(hands[0], adapter[0], process, console)
    try:
        machine.await_boot()
        proof.say(f"the guest runs {machine.do('uname -sr')}")
        yield machine
    finally:
        machine.end()


def _hardware(ports: list[int]) -> list[str]:
    machine = ["-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "max", "-smp", "2", "-m", "1024"]
    quiet = ["-nodefaults", "-nographic", "-no-reboot", "-monitor", "none"]
    serial = ["-serial", "stdio"]
    for number, port in enumerate(ports):
        serial += ["-chardev", f"socket,id=port{number},fd={port}", "-serial", f"chardev:port{number}"]
    bus = ["-object", "can-bus,id=bus"]
    for slot in CAN_SLOTS:
        bus += ["-device", f"kvaser_pci,canbus=bus,addr={slot}"]
    return [*machine, *quiet, *serial, *bus]


def _software(kernel: Kernel, start: Path, broker_port: int, wakes_at: str) -> list[str]:
    words = "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on tsc=reliable no_timer_check"
    root = "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"
    door = f"user,id=net,restrict=on,guestfwd=tcp:{BROKER}:1883-cmd:{program('socat')} - TCP:127.0.0.1:{broker_port}"
    clock = ["-rtc", f"base={wakes_at}"] if wakes_at else []
    words += " initcall_blacklist=cmos_init" if wakes_at else ""
    boot = ["-kernel", str(kernel.image), "-initrd", str(start), "-append", words, *clock]
    shared = ["-fsdev", root, "-device", "virtio-9p-pci,fsdev=host,mount_tag=host"]
    return [*boot, *shared, "-netdev", door, "-device", "virtio-net-pci,netdev=net,romfile="]
