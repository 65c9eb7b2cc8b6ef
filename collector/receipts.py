"""What a node is told about its messages: stored ranges and set-aside numbers, per spool and lane; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

import orjson

from collector.ingest import Identity
from shared import topics

RANGES_PER_RECEIPT = 200
QUARANTINED_PER_RECEIPT = 50
MAX_REASON = 200

Stream = tuple[str, str, str, str]
Item = TypeVar("Item")


class Receipt(NamedTuple):
    """One message to publish, QoS 1, never retained."""

    topic: str
    payload: bytes


def receipts(collector: str, stored: Iterable[Identity], refused: Iterable[tuple[Identity, str]]) -> list[Receipt]:
    """The receipts for everything stored (again or for the first time) and everything set aside with its reason."""
    ranges: dict[Stream, list[int]] = defaultdict(list)
    aside: dict[Stream, list[tuple[int, int, str]]] = defaultdict(list)
    for identity in stored:
        ranges[identity[:4]].append(identity.seq)
    for identity, reason in refused:
        aside[identity[:4]].append((identity.seq, identity.seq, reason[:MAX_REASON]))
    found = []
    for stream in sorted(ranges.keys() | aside.keys()):
        whole = coalesced(ranges[stream])
        found += [_receipt(collector, stream, part, []) for part in _parts(whole, RANGES_PER_RECEIPT)]
        found += [_receipt(collector, stream, [], part) for part in _parts(aside[stream], QUARANTINED_PER_RECEIPT)]
    return found


def coalesced(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Inclusive ranges that cover exactly the given numbers.

    >>> coalesced([3, 1, 2, 7, 7])
    [(1, 3), (7, 7)]
    """
    found: list[tuple[int, int]] = []
    for seq in sorted(set(numbers)):
        if found and found[-1][1] == seq - 1:
            found[-1] = (found[-1][0], seq)
        else:
            found.append((seq, seq))
    return found


def _parts(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _receipt(
    collector: str,
    stream: Stream,
    ranges: Sequence[tuple[int, int]],
    quarantined: Sequence[tuple[int, int, str]],
) -> Receipt:
    site, node, spool, lane = stream
    body = {"collector": collector, "spool": spool, "lane": lane, "ranges": ranges, "quarantined": quarantined}
    return Receipt(f"{topics.node_root(site, node)}/receipt", orjson.dumps(body))
