"""The MQTT topic tree: one function per shape, so that no program spells a topic itself."""

from __future__ import annotations

import re
from typing import NamedTuple

from shared.errors import WireError

ROOT = "cellguard/v1"
NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}\Z")
"""What a site, node, source, alarm id or any other tag value may look like."""


class Topic(NamedTuple):
    """A parsed topic below a node: `kind` is the first level (`tele`, `event`, `alarm`, `cmd`, …), `rest` what follows it."""

    site: str
    node: str
    kind: str
    rest: str


def node_root(site: str, node: str) -> str:
    """`cellguard/v1/{site}/{node}`, without a slash at the end."""
    return f"{ROOT}/{site}/{node}"


def collector_root(site: str, name: str) -> str:
    """`cellguard/v1/{site}/collector/{name}`: a collector's own status and health."""
    return f"{ROOT}/{site}/collector/{name}"


def parse(topic: str) -> Topic:
    """Split a full topic; raises WireError naming the level that is wrong."""
    levels = topic.split("/")
    if len(levels) < 5 or levels[:2] != ["cellguard", "v1"]:
        raise WireError(f"topic {topic[:120]!r}: expected {ROOT}/SITE/NODE/KIND…")
    for level in levels[2:]:
        if not NAME.match(level):
            raise WireError(f"topic {topic[:120]!r}: level {level[:80]!r} is not of [A-Za-z0-9_.:-]{{1,64}}")
    return Topic(levels[2], levels[3], levels[4], "/".join(levels[5:]))
