"""PURE: the paperwork of commands: retained? too large? well-formed? new? too many? fresh? armed? Then guard decides."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from edge_agent.link.parse_command import identifier_of, parse_command, parse_estop
from shared.errors import WireError
from shared.messages import MAX_COMMAND_BYTES, Command, CommandClass, command_class

FRESH_S = 3.0
RATE = 20
"""Commands of class A and E per second."""
REMEMBERED = 20_000


class Arrived(NamedTuple):
    """One message below `cmd/`."""

    target: str
    payload: bytes
    retained: bool
    reply_to: str | None = None
    correlation: bytes | None = None


class World(NamedTuple):
    """What the checks depend on: is guard there, where may energising commands come from, is the window open."""

    guard_connected: bool
    energise: str
    armed: bool | None


class Order(NamedTuple):
    """A command that guard shall decide. `given` is False for an id that we had to make up."""

    identifier: str
    target: str
    kind: CommandClass
    actor: str
    body: dict[str, object]
    given: bool


class Refusal(NamedTuple):
    """A command that stops here, and why."""

    identifier: str
    target: str
    actor: str
    code: str
    reason: str
    first: Mapping[str, object] | None = None
    remember: bool = False


@dataclass(frozen=True, slots=True)
class _Case:
    """One command on its way through the checks."""

    identifier: str
    target: str
    command: Command
    kind: CommandClass


class CommandDesk:
    """Remembers ids, heartbeats and the rate. One thread owns it; `now` is monotonic seconds."""

    def __init__(self, session: str, new_id: Callable[[], str]) -> None:
        self._session = session
        self._new_id = new_id
        self._beats: deque[tuple[int, float]] = deque(maxlen=16)
        self._recent: deque[float] = deque(maxlen=RATE)
        self._answers: OrderedDict[str, Mapping[str, object]] = OrderedDict()

    def beat(self, counter: int, now: float) -> str:
        """A heartbeat is being published: its text, to be echoed by energising commands."""
        self._beats.append((counter, now))
        return self.heartbeat

    @property
    def heartbeat(self) -> str:
        """The newest heartbeat."""
        return f"{self._session}:{self._beats[-1][0] if self._beats else 0}"

    def remember(self, identifier: str, answer: Mapping[str, object]) -> None:
        """This id has been answered: it will not be taken again."""
        if identifier not in self._answers:
            self._answers[identifier] = answer
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)

    def judge(self, arrived: Arrived, world: World, now: float) -> Order | Refusal:
        """Check in the order of the contract; the first that fails is the answer."""
        is_estop = arrived.target == "estop"
        early = self._unreadable(arrived, is_estop=is_estop)
        if early is not None:
            return early
        try:
            command = parse_estop(arrived.payload) if is_estop else parse_command(arrived.target, arrived.payload)
        except WireError as error:
            return self._refuse(arrived, "E_SYNTAX", _printable(str(error)))
        case = _Case(command.id or self._new_id(), arrived.target, command, command_class(arrived.target, command))
        actor = command.actor or "mqtt"
        for check in (self._duplicate, self._rate, self._not_fresh, self._not_armed, self._no_guard):
            refused = check(case, world, now)
            if refused is not None:
                code, reason = refused
                first = self._answers.get(case.identifier) if code == "E_DUPLICATE" else None
                burnt = code == "E_NO_GUARD" and command.id is not None
                return Refusal(case.identifier, case.target, actor, code, reason, first, burnt)
        body = command.model_dump(exclude={"id", "actor", "hb"}, exclude_none=True)
        return Order(case.identifier, case.target, case.kind, actor, body, command.id is not None)

    def _unreadable(self, arrived: Arrived, *, is_estop: bool) -> Refusal | None:
        if arrived.retained:
            return self._refuse(arrived, "E_RETAINED", "kept by the broker from before; publish without retain")
        size = len(arrived.payload)
        if size > MAX_COMMAND_BYTES and not is_estop:
            return self._refuse(arrived, "E_SIZE", f"{size} bytes; allowed {MAX_COMMAND_BYTES}")
        return None

    def _refuse(self, arrived: Arrived, code: str, reason: str) -> Refusal:
        readable = len(arrived.payload) <= MAX_COMMAND_BYTES
        known = identifier_of(arrived.payload) if readable else None
        return Refusal(known or self._new_id(), arrived.target[:64], "mqtt", code, reason)

    # ---- the checks: (code, reason) or None --------------------------------------------------------------------------

    def _duplicate(self, case: _Case, _world: World, _now: float) -> tuple[str, str] | None:
        if case.kind == "S" or case.identifier not in self._answers:
            return None
        return "E_DUPLICATE", f"id {case.identifier!r} was answered before; use a new id"

    def _rate(self, case: _Case, _world: World, now: float) -> tuple[str, str] | None:
        if case.kind == "S":
            return None
        if len(self._recent) == RATE and now - self._recent[0] < 1.0:
            return "E_RATE", f"more than {RATE} commands per second"
        self._recent.append(now)
        return None

    def _not_fresh(self, case: _Case, _world: World, now: float) -> tuple[str, str] | None:
        if case.kind != "E":
            return None
        given = case.command.hb
        if given is None:
            return (
                "E_NOT_FRESH",
                'energising needs "hb": echo a heartbeat younger than 3 s (the current one is in this answer)',
            )
        session, _, counter = given.partition(":")
        if session != self._session:
            return "E_NOT_FRESH", f"hb {given} is of another session"
        at = next((at for number, at in self._beats if number == int(counter)), None)
        if at is None or now - at >= FRESH_S:
            return "E_NOT_FRESH", f"hb {given} is not of the last {FRESH_S:.0f} s"
        return None

    def _not_armed(self, case: _Case, world: World, _now: float) -> tuple[str, str] | None:
        if case.kind != "E" or world.energise == "remote":
            return None
        if world.energise == "local":
            return "E_NOT_ARMED", 'energising commands are taken at the local door only ([commands] energise = "local")'
        if world.armed is False:
            return "E_NOT_ARMED", "the window is closed: run `cellguard local arm` on the rig first"
        return None  # not known: guard decides

    def _no_guard(self, _case: _Case, world: World, _now: float) -> tuple[str, str] | None:
        if world.guard_connected:
            return None
        return (
            "E_NO_GUARD",
            "guard is not connected: nothing can be switched from here; use the hard-wired emergency stop",
        )


def _printable(text: str) -> str:
    """Without lone surrogates, which JSON can smuggle in and UTF-8 cannot carry out."""
    return text.encode("utf-8", "replace").decode("utf-8")
