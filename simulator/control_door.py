"""What the control socket is asked and what it answers: JSON requests as lines; bad input costs itself only."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from shared.errors import Refused
from simulator.names import Names
from simulator.rig import Rig
from simulator.trace import Trace

Answer = dict[str, Any]


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


class Door:
    """Requests as objects, answers as objects."""

    def __init__(self, rig: Rig, names: Names, trace: Trace) -> None:
        self._rig = rig
        self._names = names
        self._trace = trace
        self._verbs: dict[str, Callable[[dict[str, Any]], Answer]] = {
            "set": self._set,
            "release": self._release,
            "get": self._get,
            "fault": self._fault,
            "heal": self._heal,
            "truth": self._truth,
            "trace": self._traced,
            "names": self._list,
            "faults": self._list_faults,
        }

    def answer(self, line: bytes) -> bytes:
        """The answer to one line, with its line feed; never raises."""
        try:
            reply = self._answer(line)
        except Refused as refused:
            reply = {"error": str(refused)}
        return json.dumps(reply).encode() + b"\n"

    def _answer(self, line: bytes) -> Answer:
        try:
            request = json.loads(line, parse_constant=_no_constant)
        except (ValueError, RecursionError) as problem:
            raise Refused(f"not one JSON object on a line: {problem}") from None
        if not isinstance(request, dict):
            raise Refused(f"a request is a JSON object, not {type(request).__name__}")
        verbs = [verb for verb in self._verbs if verb in request]
        if len(verbs) != 1:
            raise Refused(f"a request has exactly one of {', '.join(self._verbs)}")
        return self._verbs[verbs[0]](request)

    def _set(self, request: dict[str, Any]) -> Answer:
        values = request["set"]
        if not isinstance(values, dict):
            raise Refused('set takes an object {"NAME": VALUE}')
        self._only(request, {"set"})
        self._names.set(values)
        return {"ok": True}

    def _release(self, request: dict[str, Any]) -> Answer:
        self._only(request, {"release"})
        self._names.release(self._strings(request, "release"))
        return {"ok": True}

    def _get(self, request: dict[str, Any]) -> Answer:
        self._only(request, {"get"})
        return {"get": self._names.read(self._strings(request, "get"))}

    def _fault(self, request: dict[str, Any]) -> Answer:
        self._rig.faults.inject(self._string(request, "fault"), _without(request, "fault"))
        return {"ok": True}

    def _heal(self, request: dict[str, Any]) -> Answer:
        self._rig.faults.heal(self._string(request, "heal"), _without(request, "heal"))
        return {"ok": True}

    def _truth(self, request: dict[str, Any]) -> Answer:
        return {"truth": self._rig.truth.since(self._since(request, "truth"))}

    def _traced(self, request: dict[str, Any]) -> Answer:
        """`{"trace":"serial"}` or `{"trace":"can"}`."""
        kinds = {"serial": self._trace.since, "can": self._trace.frames_since}
        kind = request["trace"]
        if not isinstance(kind, str) or kind not in kinds:
            raise Refused(f"trace takes {' or '.join(kinds)}, not {kind!r:.60}")
        return {"trace": kinds[kind](self._since(request, "trace"))}

    def _list(self, request: dict[str, Any]) -> Answer:
        self._only(request, {"names"})
        return {"names": self._names.listed(), "settable": self._names.settable()}

    def _list_faults(self, request: dict[str, Any]) -> Answer:
        self._only(request, {"faults"})
        faults = self._rig.faults
        return {
            "faults": {
                name: {"fields": list(spec.fields), "active": faults.active(name)}
                for name, spec in faults.table.items()
            }
        }

    def _since(self, request: dict[str, Any], verb: str) -> float:
        self._only(request, {verb, "since"})
        since = request.get("since", 0.0)
        if isinstance(since, bool) or not isinstance(since, int | float) or not math.isfinite(since):
            raise Refused(f"since takes CLOCK_MONOTONIC seconds, not {since!r:.60}")
        return since

    def _only(self, request: dict[str, Any], allowed: set[str]) -> None:
        extra = set(request) - allowed
        if extra:
            raise Refused(f"unknown key {min(extra)!r:.60}; allowed: {', '.join(sorted(allowed))}")

    def _string(self, request: dict[str, Any], verb: str) -> str:
        value = request[verb]
        if not isinstance(value, str):
            raise Refused(f"{verb} takes the name of a fault, not {value!r:.60}")
        return value

    def _strings(self, request: dict[str, Any], verb: str) -> list[str]:
        value = request[verb]
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise Refused(f'{verb} takes a list of names ["NAME"], not {value!r:.60}')
        return value


def _without(request: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in request.items() if name != key}
