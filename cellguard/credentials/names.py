"""PURE: the roles, and what their names may look like: a name is the broker's user name and a certificate's CN."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from shared.errors import ConfigError

LONGEST = 64
"""Characters that a certificate's CN may have (X.509)."""
_LEVEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_RESERVED = frozenset({"collector"})
"""As a node's name it would be a collector's place in the topic tree."""


class Role(NamedTuple):
    """How many levels a role's names have, and what that means."""

    levels: int
    allowed: str


_PERSON = Role(1, "a name of letters, digits and _ . -")
ROLES: Mapping[str, Role] = MappingProxyType({
    "agent": Role(2, "SITE/NODE as in edge.toml, letters, digits and _ . - in each"),
    "collector": Role(1, "the name in collector.toml, letters, digits and _ . -"),
    "operator": _PERSON,
    "viewer": _PERSON,
})  # fmt: skip


def checked(role: str, name: str) -> str:
    """The name; raises ConfigError on one the role cannot have."""
    rule, levels = ROLES[role], name.split("/")
    wrong = len(levels) != rule.levels or not all(map(_LEVEL.match, levels)) or levels[-1] in _RESERVED
    if wrong or len(name) > LONGEST:
        raise ConfigError(f"the name of {_a(role)}", repr(name), f"{rule.allowed}, at most {LONGEST} characters in all")
    return name


def _a(role: str) -> str:
    return f"an {role}" if role[0] in "ao" else f"a {role}"
