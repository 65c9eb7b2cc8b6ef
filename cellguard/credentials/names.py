"""PURE: the roles, and how a name on the command line becomes the broker's user name (a certificate's CN)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from shared.errors import ConfigError
from shared.topics import ROOT

LONGEST = 64
"""Characters that a certificate's CN may have (X.509)."""
_LEVEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_RESERVED = frozenset({"collector"})
"""As a node's name it would be a collector's place in the topic tree."""


class Role(NamedTuple):
    """How a role's names look, and how many levels they have."""

    levels: int
    prefix: str
    allowed: str


_PERSON = Role(1, "", "a name of letters, digits and _ . -")
ROLES: Mapping[str, Role] = MappingProxyType({
    "agent": Role(2, f"{ROOT}/", "SITE/NODE as in edge.toml, letters, digits and _ . - in each"),
    "collector": Role(1, "", "the name in collector.toml, letters, digits and _ . -"),
    "operator": _PERSON,
    "viewer": _PERSON,
})  # fmt: skip
MACHINES = ("agent", "collector")
"""Roles that get certificates: one program each, its user name is its client id."""


def user_name(role: str, name: str) -> str:
    """What the broker knows this one by; raises ConfigError on a name the role cannot have."""
    rule = ROLES[role]
    levels = name.split("/")
    wrong = len(levels) != rule.levels or not all(map(_LEVEL.match, levels)) or levels[-1] in _RESERVED
    user = rule.prefix + name
    if wrong or len(user) > LONGEST:
        shortest = LONGEST - len(rule.prefix)
        raise ConfigError(
            f"the name of {_a(role)}", repr(name), f"{rule.allowed}, at most {shortest} characters in all"
        )
    return user


def plain_name(user: str) -> str:
    """The name as people write it: the reverse of `user_name`."""
    return user.removeprefix(f"{ROOT}/")


def is_agent(user: str) -> bool:
    """Whether the ACL's patterns are about this user."""
    return user.startswith(f"{ROOT}/")


def _a(role: str) -> str:
    return f"an {role}" if role[0] in "ao" else f"a {role}"
