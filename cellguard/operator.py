"""A person's hand on one node: find it, prove freshness with its heartbeat, send a command, wait for the answers."""

from __future__ import annotations

import getpass
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from cellguard.listener import Listener
from cellguard.view import TOPICS, View
from shared.errors import EXIT_NO_ANSWER, EXIT_USAGE, CellguardError, WireError
from shared.messages import COMMANDS, command_class
from shared.mqtt import Message
from shared.topics import ROOT, Topic, node_root, parse

HEARTBEAT_S, FRESH_S = 4.0, 1.0


class NoAnswer(CellguardError):
    """The broker works, but whom we asked said nothing in time."""

    exit_code = EXIT_NO_ANSWER


class Ambiguous(CellguardError):
    """The question fits several nodes, or none that exists."""

    exit_code = EXIT_USAGE


class Node(NamedTuple):
    """Whom a command is meant for."""

    site: str
    name: str

    def __str__(self) -> str:
        return f"{self.site}/{self.name}"


class Answer(NamedTuple):
    """One `ack` (CONTRACT §4); `body` is all of it."""

    status: str
    body: Mapping[str, Any]

    def sentence(self) -> str:
        """The answer for a person: what became of the command, why, and what was measured."""
        body = self.body
        said = [self.status if body.get("code") is None else f"{self.status}: {body['code']}"]
        if body.get("reason"):
            said.append(str(body["reason"]))
        if body.get("blocked_by"):
            said.append("blocked by " + ", ".join(body["blocked_by"]))
        if body.get("readback"):
            said.append("read back " + " ".join(f"{name}={_shown(value)}" for name, value in body["readback"].items()))
        if body.get("state"):
            said.append(f"state {body['state']}")
        if body.get("took_ms") is not None:
            said.append(f"{body['took_ms']} ms")
        return " · ".join(said)


def subscriptions(site: str | None, node: str | None) -> list[str]:
    """What to listen to for one node, or for all while it is not known which."""
    root = f"{ROOT}/{site or '+'}/{node or '+'}"
    return [f"{root}/{topic}" for topic in TOPICS]


def find_node(kept: Sequence[Message], site: str | None, node: str | None) -> Node:
    """The one node that speaks in `kept`; raises Ambiguous naming all that do, NoAnswer when none does."""
    if site and node:
        return Node(site, node)
    found = sorted({Node(topic.site, topic.node) for topic in map(_topic, kept) if topic is not None})
    if not found:
        raise NoAnswer(f"no node has ever been online at this broker{_filter(site, node)}")
    if len(found) > 1:
        raise Ambiguous(f"several nodes: {', '.join(map(str, found))}; choose with --site and --node")
    return found[0]


def _topic(message: Message) -> Topic | None:
    try:
        return parse(message.topic)
    except WireError:
        return None


def default_actor() -> str:
    """The name of the person at this computer."""
    try:
        return getpass.getuser()[:64] or "operator"
    except (ImportError, KeyError, OSError):  # no such user in a container, no users at all on Windows
        return "operator"


class Operator:
    """Sends commands to one node and follows what it says.

    Constructing it reads what the broker has kept and finds the node; `listener` must be subscribed to `subscriptions`.
    Raises as `find_node` does.
    """

    def __init__(self, listener: Listener, site: str | None, node: str | None, actor: str) -> None:
        kept = listener.kept()
        self.node = find_node(kept, site, node)
        self.view = View()
        self._listener = listener
        self._actor = actor
        self._root = node_root(self.node.site, self.node.name)
        for message in kept:
            self._show(message)

    def watch(self, seconds: float, until: Callable[[View], bool] = lambda _view: False) -> bool:
        """Take in what arrives until `until` holds; False when it does not within `seconds`."""
        if until(self.view):
            return True
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._take(left)
            if until(self.view):
                return True
        return False

    def ask(
        self,
        target: str,
        body: Mapping[str, object],
        *,
        timeout_s: float,
        tell: Callable[[Answer], None] = lambda _answer: None,
    ) -> Answer:
        """Send one command and return its last answer: done, failed, rejected or expired. `tell` gets every answer.

        Raises Ambiguous for a command that is none, NoAnswer, Unavailable.
        """
        answer = self._ask_once(target, self._payload(target, body), timeout_s, tell)
        if answer.body.get("code") == "E_NOT_FRESH" and answer.body.get("hb"):
            renewed = {**self._payload(target, body), "hb": answer.body["hb"]}
            answer = self._ask_once(target, renewed, timeout_s, tell)
        return answer

    def _ask_once(
        self, target: str, payload: Mapping[str, object], timeout_s: float, tell: Callable[[Answer], None]
    ) -> Answer:
        accepted = ""
        self._listener.publish(f"{self._root}/cmd/{target}", orjson.dumps(payload))
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            body = self._take(left)
            if body.get("id") != payload["id"] or "status" not in body:
                continue
            answer = Answer(str(body["status"]), body)
            tell(answer)
            if answer.status != "accepted":
                return answer
            accepted = "accepted, but "
        state = self.view.status.get("state", "unknown")
        raise NoAnswer(f"{accepted}no answer from {self.node} within {timeout_s:g} s (its status: {state})")

    def _payload(self, target: str, body: Mapping[str, object]) -> dict[str, object]:
        if target not in COMMANDS:
            raise Ambiguous(f"target {target}: allowed: {', '.join(COMMANDS)}")
        try:
            command = COMMANDS[target].model_validate_json(orjson.dumps(body))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise Ambiguous(f"{target} {place}: given {first['input']!r}; {first['msg']}") from error
        payload = {"id": uuid.uuid4().hex, "actor": self._actor, **body}
        if command_class(target, command) == "E":
            payload["hb"] = self._fresh_heartbeat()
        return payload

    def _fresh_heartbeat(self) -> str:
        """A heartbeat heard within the last second; an older one could be too old when it gets back."""
        if not self.watch(HEARTBEAT_S, _has_fresh_heartbeat):
            state = self.view.status.get("state", "unknown")
            raise NoAnswer(
                f"no heartbeat from {self.node} within {HEARTBEAT_S:g} s (its status: {state}); nothing was sent"
            )
        return self.view.heartbeat

    def _take(self, timeout_s: float) -> Mapping[str, Any]:
        """The body of an answer that arrived, {} for anything else or nothing."""
        message = self._listener.next(timeout_s)
        if message is None:
            return {}
        body = self._show(message)
        return body if message.topic == f"{self._root}/ack" else {}

    def _show(self, message: Message) -> Mapping[str, Any]:
        mine = message.topic.startswith(f"{self._root}/")
        return self.view.take(message, time.monotonic()) if mine else {}


def _has_fresh_heartbeat(view: View) -> bool:
    age = view.age_s("hb", time.monotonic())
    return age is not None and age < FRESH_S


def _shown(value: object) -> str:
    return {"True": "on", "False": "off", "None": "unknown"}.get(str(value), str(value))


def _filter(site: str | None, node: str | None) -> str:
    wanted = "".join(f" {name} {value}" for name, value in (("--site", site), ("--node", node)) if value)
    return f" (asked for{wanted})" if wanted else ""
