"""PURE: the broker's ACL file: the rules of a role, copied for a name, taken out again."""

from __future__ import annotations

import re

_ROLE = re.compile(r"# role (\w+)")
_USER = "user "


def template_of(role: str, shipped: str) -> tuple[str, list[str]]:
    """The example user of a role in the shipped file, and the rules that follow it; raises KeyError without such a role."""
    for block in shipped.split("\n\n"):
        lines = block.strip().splitlines()
        found = _ROLE.match(lines[0]) if lines else None
        if found is not None and found[1] == role:
            return lines[1].removeprefix(_USER), lines[2:]
    raise KeyError(role)


def heading_of(shipped: str) -> str:
    """What the shipped file says of itself, without anybody's rules."""
    blocks = [block for block in shipped.strip().split("\n\n") if f"\n{_USER}" not in block]
    return "\n\n".join(blocks) + "\n"


def users(text: str) -> dict[str, str]:
    """Every named user of an ACL file with its role."""
    found: dict[str, str] = {}
    role = ""
    for line in text.splitlines():
        named = _ROLE.match(line)
        role = named[1] if named is not None else role
        if line.startswith(_USER):
            found[line.removeprefix(_USER)] = role
    return found


def with_user(text: str, role: str, user: str, shipped: str) -> str:
    """The file with `user` in `role`, and in no other."""
    example, rules = template_of(role, shipped)
    own = [rule.replace(f"/{example}/", f"/{user}/") for rule in rules]
    return without_user(text, user).rstrip("\n") + "\n\n" + "\n".join([f"# role {role}", _USER + user, *own]) + "\n"


def without_user(text: str, user: str) -> str:
    """The file without a user's block."""
    blocks = [block for block in text.strip().split("\n\n") if f"{_USER}{user}" not in block.splitlines()]
    return "\n\n".join(blocks) + "\n"
