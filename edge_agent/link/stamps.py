"""PURE: monotonic stamps inside guard's JSON bodies → the Unix stamps of the contract."""

from __future__ import annotations

from collections.abc import Mapping

_SUFFIX = "mono_us"


def in_wall_time(body: Mapping[str, object], offset_us: int) -> dict[str, object]:
    """A copy where `mono_us` has become `ts`, and `since_mono_us` `since`, both in Unix µs; nested objects and lists of them too."""
    stamped: dict[str, object] = {}
    for key, value in body.items():
        if key.endswith(_SUFFIX):
            name = key.removesuffix(_SUFFIX).removesuffix("_") or "ts"
            stamped[name] = value + offset_us if isinstance(value, int) else value
        elif isinstance(value, Mapping):
            stamped[key] = in_wall_time(value, offset_us)
        elif isinstance(value, list):
            stamped[key] = [in_wall_time(one, offset_us) if isinstance(one, Mapping) else one for one in value]
        else:
            stamped[key] = value
    return stamped
