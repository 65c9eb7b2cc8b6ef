"""Every state a power cut can leave of the spool and of the archive: all open, and nothing that was acknowledged is lost.

The writer runs under strace. After each of its system calls the disk is rebuilt in four variants of what had not been synced:
nothing of it arrived, all of it, the last write only half, and the second half of the writes without the first.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from collector.sinks.archive import ArchiveSink
from edge_agent.link.spool import PENDING, RELEASED, Spool

ROOT = Path(__file__).resolve().parents[2]
MEMORY = Path("/dev/shm")  # noqa: S108 (each state is judged once: a real disk would only make it slow)
CALLS = "openat,pwrite64,write,fdatasync,fsync,ftruncate,unlink"
LINE = re.compile(r"\d+ +(?P<call>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")
HEX = re.compile(r"\\x([0-9a-f]{2})")

SPOOL = """
import sys
from contextlib import closing
from pathlib import Path
from edge_agent.link.spool import Commit, Entry, RELEASED, Spool

def say(text):
    sys.stdout.buffer.write(text.encode())
    sys.stdout.flush()

with closing(Spool(Path(sys.argv[1]) / "spool.sqlite")) as spool:
    spool._db.execute("PRAGMA wal_autocheckpoint = 12")
    for turn in range(1, 7):
        entries = tuple(Entry("tele", 3 * turn - 2 + part, "m", 2, 1, 2, b"x" * 2000 * part) for part in range(3))
        spool.commit(Commit(entries, "s", 6 * turn))
        say(f"stored {3 * turn}|")
        if turn % 3 == 0:
            spool.settle("tele", [turn], RELEASED)
            say(f"released {turn}|")
"""

ARCHIVE = """
import sys
from contextlib import closing
from pathlib import Path
from collector.ingest import ingest
from collector.sinks.archive import ArchiveSink

with closing(ArchiveSink(Path(sys.argv[1]))) as sink:
    sink.open()
    sink._connection.execute("PRAGMA wal_autocheckpoint = 8")
    for turn in range(1, 7):
        head = '{"spool":"a1b2c3d4","lane":"tele","seq":%d,"t0":%d,"t":[0],"v":{"noise":[%s]}}'
        batch = [(head % (3 * turn - part, turn * 1000 + part, part)).encode() for part in range(3)]
        outcome = sink.write([ingest("cellguard/v1/lab/rig/tele/inverter", payload) for payload in batch])
        assert len(outcome.stored) == 3
        sys.stdout.buffer.write(f"stored {3 * turn}|".encode())
        sys.stdout.flush()
"""


class Cut(NamedTuple):
    """The files as a power cut may leave them, and what had been acknowledged before it."""

    files: dict[str, bytes]
    acknowledged: list[str]


class File:
    """What is surely on the disk, and what was written since the last sync."""

    def __init__(self) -> None:
        self.durable = b""
        self.unsynced: list[tuple[int, bytes | None]] = []

    def variants(self) -> list[bytes]:
        """Nothing, all, the last one torn, the first half missing."""
        writes = self.unsynced
        torn = [*writes[:-1], *[(at, data if data is None else data[: len(data) // 2]) for at, data in writes[-1:]]]
        return [self.durable, *(applied(self.durable, some) for some in (writes, torn, writes[len(writes) // 2 :]))]


def applied(content: bytes, writes: list[tuple[int, bytes | None]]) -> bytes:
    found = bytearray(content)
    for at, data in writes:
        if data is None:
            del found[at:]
            found.extend(bytes(max(0, at - len(found))))
        else:
            found.extend(bytes(max(0, at - len(found))))
            found[at : at + len(data)] = data
    return bytes(found)


def unhex(text: str) -> bytes:
    return bytes.fromhex("".join(HEX.findall(text)))


def cuts(trace: Path, folder: Path) -> Iterator[Cut]:
    """The disk after each call that changed it."""
    files: dict[str, File] = {}
    said = b""
    for line in trace.read_text().splitlines():
        found = LINE.match(line)
        if found is None or int(found["result"]) < 0:
            continue
        call, first = found["call"], found["arguments"].split(", ")
        if call == "write" and first[0].startswith("1<"):
            said += unhex(first[1])
            continue
        path = Path(unhex(first[1] if call == "openat" else first[0]).decode())
        if path.parent != folder or path.name.endswith("-shm"):
            continue
        if not changed(files, path.name, call, first):
            continue
        for variant in range(4):
            states = {name: file.variants()[variant] for name, file in files.items()}
            yield Cut(states, [word for word in said.decode().split("|") if word])


def changed(files: dict[str, File], name: str, call: str, arguments: list[str]) -> bool:
    if call == "openat":
        fresh = name not in files and "O_CREAT" in arguments[2]
        if fresh:
            files[name] = File()
        return fresh
    file = files[name]
    if call == "unlink":
        del files[name]
    elif call in {"fsync", "fdatasync"}:
        file.durable, file.unsynced = applied(file.durable, file.unsynced), []
    elif call == "ftruncate":
        file.unsynced.append((int(arguments[1]), None))
    else:
        file.unsynced.append((int(arguments[3]), unhex(arguments[1])))
    return True


def enumerate_cuts(script: str, tmp_path: Path, judge: Callable[[Path, list[str]], None]) -> int:
    """Judge every distinct state; how many there were."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (apt install strace)")
    folder, trace = tmp_path / "written", tmp_path / "trace"
    folder.mkdir()
    (tmp_path / "writer.py").write_text(script)
    command = ["strace", "-f", "-y", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", "-o", str(trace), sys.executable]
    done = subprocess.run(
        [*command, str(tmp_path / "writer.py"), str(folder)], cwd=ROOT, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin"}, timeout=60,
    )  # fmt: skip
    if done.returncode != 0 and "ptrace" in done.stderr.lower():
        pytest.skip("this computer does not allow strace")
    assert done.returncode == 0, done.stderr
    seen: set[bytes] = set()
    for cut in cuts(trace, folder):
        digest = hashlib.sha256(repr((sorted(cut.files.items()), len(cut.acknowledged))).encode()).digest()
        if digest in seen:
            continue
        seen.add(digest)
        disk = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else tmp_path))
        for name, content in cut.files.items():
            (disk / name).write_bytes(content)
        try:
            judge(disk, cut.acknowledged)
        finally:
            shutil.rmtree(disk)
    return len(seen)


def last(acknowledged: list[str], word: str) -> int:
    return max((int(text.split()[1]) for text in acknowledged if text.startswith(word)), default=0)


def judge_spool(disk: Path, acknowledged: list[str]) -> None:
    stored, released = last(acknowledged, "stored"), last(acknowledged, "released")
    with closing(Spool(disk / "spool.sqlite")) as spool:
        assert spool.set_aside is None or not acknowledged
        assert spool.next_seq("tele") > stored
        states = dict(spool._db.execute("SELECT seq, state FROM messages"))
        assert all(states.get(seq) in {PENDING, RELEASED} for seq in range(1, stored + 1))
        assert all(states[turn] == RELEASED for turn in range(3, released + 1, 3))
        books = spool.books()
        assert books["produced"] == books["spooled"] + books["released"] + books["gaps"] + books["quarantined"]
        assert books["produced"] == 2 * len(states)


def judge_archive(disk: Path, acknowledged: list[str]) -> None:
    stored = last(acknowledged, "stored")
    with closing(ArchiveSink(disk)) as sink:
        sink.open()
        assert sink.counters()["files_set_aside"] == 0
        rows = sink.counters()["tele_rows"]
    with closing(sqlite3.connect(disk / "archive.sqlite")) as db:
        seqs = {row[0] for row in db.execute("SELECT seq FROM message")}
    assert seqs >= set(range(1, stored + 1))
    assert rows == len(seqs)
    assert not list(disk.glob("*.unreadable-*")) or not acknowledged


def test_no_power_cut_loses_what_the_spool_acknowledged(tmp_path: Path) -> None:
    assert enumerate_cuts(SPOOL, tmp_path, judge_spool) > 150


def test_no_power_cut_loses_what_the_archive_acknowledged(tmp_path: Path) -> None:
    assert enumerate_cuts(ARCHIVE, tmp_path, judge_archive) > 100


def test_the_enumeration_finds_a_spool_that_does_not_sync(tmp_path: Path) -> None:
    careless = SPOOL.replace("PRAGMA wal_autocheckpoint = 12", "PRAGMA synchronous = NORMAL")
    assert careless != SPOOL
    with pytest.raises((AssertionError, KeyError)):
        enumerate_cuts(careless, tmp_path, judge_spool)
