"""Our Modbus client against slaves of other makers over a bad wire: no wrong value, no write that was confirmed and not made.

Every input register of the slaves changes with every request, so the right answer to a request is right for no other one.
The long run: `CELLGUARD_WIRE_TRANSACTIONS=50000 pytest tests/wire -k raw -s --timeout 0`, which prints its figures.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from edge_agent.guard.devices.rtu import ExceptionReply, NoAnswer, Patience, Rtu
from shared.errors import DeviceError

TRANSACTIONS = int(os.environ.get("CELLGUARD_WIRE_TRANSACTIONS", "500"))
UNIT, BAUDRATE = 2, 115_200
REPLY_S = 0.04
HURRIED = Patience(reply_s=REPLY_S, silent_s=0.008, drain_s=0.05)
BLOCKS = (range(30256, 30258), range(30262, 30280), range(30285, 30286))
HOLDINGS = range(41024, 41033)
ILLEGAL = ((30256, 4), (30258, 1), (30262, 30), (30280, 1), (41030, 9))
REFUSED = 0x7000
Make = Callable[..., Any]


class Judge:
    """Random transactions on the client, each compared with what truly happened at the slave."""

    def __init__(self, wire: Any, rtu: Rtu, seed: int = 1) -> None:
        self.wire, self.rtu = wire, rtu
        self.chance = random.Random(seed)
        self.counted: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._value = 0

    def turn(self) -> None:
        what = self.chance.choices([self.read, self.read_holding, self.write, self.illegal], [8, 3, 4, 1])[0]
        try:
            what()
            self.counted["answered"] += 1
        except NoAnswer:
            self.counted["unanswered"] += 1
        except DeviceError:
            self.counted["port lost"] += 1
            self._reopen()

    def read(self) -> None:
        block = self.chance.choice(BLOCKS)
        first = self.chance.choice(block)
        count = self.chance.randint(1, block.stop - first)
        words = self.rtu.read(first, count)
        served = self.wire.last.number
        self._compare(words, tuple(one * 40503 + served * 31 & 0xFFFF for one in range(first, first + count)))

    def read_holding(self) -> None:
        first = self.chance.choice(HOLDINGS)
        words = self.rtu.read(first, self.chance.randint(1, HOLDINGS.stop - first))
        self._compare(words, self.wire.last.words if self.wire.last.number else ())

    def write(self) -> None:
        self._value = self._value % (REFUSED - 1) + 1
        value = self._value if self.chance.random() < 0.9 else REFUSED + self._value % 0x1000
        address = self.chance.choice(HOLDINGS)
        try:
            self.rtu.write(address, value)
        except ExceptionReply as refused:
            # an old refusal that is sent again may refuse the next write: that is the safe side
            self.counted["refused writes" if value >= REFUSED else "wrongly refused writes"] += 1
            self._must(refused.code == 4, f"{address} = {value} refused: {refused}")
            return
        self.counted["confirmed writes"] += 1
        last = self.wire.last
        self._must(
            last.accepted and last.head == (6, address, value), f"{address} = {value} confirmed, was {last.head}"
        )

    def illegal(self) -> None:
        with pytest.raises(ExceptionReply) as refused:
            self.rtu.read(*self.chance.choice(ILLEGAL))
        self._must(refused.value.code == 2, str(refused.value))

    def _compare(self, words: tuple[int, ...], right: tuple[int, ...]) -> None:
        self.counted["values"] += len(words)
        self._must(words == right and self.wire.last.number > 0, f"read {words}, right is {right}")

    def _must(self, holds: bool, text: str) -> None:
        if not holds:
            self.wrong.append(f"after {len(self.wire.log)} requests: {text}")

    def _reopen(self) -> None:
        self.rtu.close()
        deadline = time.monotonic() + 5.0
        while True:
            try:
                self.rtu.open()
            except DeviceError:
                assert time.monotonic() < deadline, "the adapter did not come back"
            else:
                return


def test_raw_transactions_over_a_bad_wire_give_no_wrong_value_and_confirm_no_write_wrongly(wired: Make) -> None:
    wire = wired(slow_s=REPLY_S, rate=0.12, pulled=0.001)
    rtu = Rtu(wire.port, BAUDRATE, UNIT, HURRIED)
    rtu.open()
    judge = Judge(wire, rtu)
    for _ in range(TRANSACTIONS):
        judge.turn()
    rtu.close()
    print(dict(judge.counted), dict(wire.counted), dict(rtu.counted))  # noqa: T201 - the figures of the long run
    assert judge.wrong == []
    assert judge.counted["answered"] > 0.6 * TRANSACTIONS
    assert judge.counted["confirmed writes"] > 0.1 * TRANSACTIONS
    assert judge.counted["refused writes"] > 0
    assert set(wire.counted) >= {"lost", "too late", "cut off", "falsified", "twice at once", "request lost"}
