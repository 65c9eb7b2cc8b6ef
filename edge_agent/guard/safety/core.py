"""The safety core of one guard: rule engine, pure supervisor and alarm book, joined turn by turn. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edge_agent.guard.model import RELAYS, InverterOrder, Level, Output, OutputOrder, State
from edge_agent.guard.safety.alarms import Alarm, AlarmBook, Condition
from edge_agent.guard.safety.ending import EndWatch
from edge_agent.guard.safety.engine import Engine, Situation
from edge_agent.guard.safety.facts import Facts
from edge_agent.guard.safety.interface import Actions, Durable, DurableWrite, Inputs, Settings
from edge_agent.guard.safety.report import Body, Picture, Reporter, everything
from edge_agent.guard.safety.sequences import MAIN, OPEN_AT_ONCE
from edge_agent.guard.safety.state import Supervisor
from edge_agent.guard.safety.supervisor import initial, step
from edge_agent.guard.safety.telling import Teller
from edge_agent.guard.safety.turn import Decision, StepInputs
from edge_agent.guard.safety.watching import overrun_limits_s

TOKEN_S = 0.2


class Core:
    """Implements `interface.SafetyCore`; one owner, the loop's thread."""

    def __init__(self, settings: Settings, durable: Durable, now: float) -> None:
        self._settings = settings
        self._engine = Engine(settings, now)
        self._ends = EndWatch(settings)
        self._state = initial(settings, durable, now)
        self._book = AlarmBook()
        self._facts = Facts()
        self._reporter = Reporter()
        self._worst = Level.OK
        self._alarmed: object = None
        self._ticket = 0
        self._teller = Teller()

    @property
    def state(self) -> Supervisor:
        """The supervisor's state, for those who explain."""
        return self._state

    def adopt(self, state: Supervisor) -> None:
        """Go on from another state: a replay begins in the middle and follows what was recorded."""
        self._state = state

    def turn(self, inputs: Inputs, now: float) -> Actions:
        """One evaluation: arrivals to the rules, facts to `step`, decisions to orders and bodies."""
        engine = self._engine
        for arrival in inputs.arrivals:
            engine.feed(arrival)
        engine.tick(self._situation(), now)
        self._facts = facts = engine.facts()
        told = StepInputs(
            facts, tuple(inputs.commands), inputs.broker, inputs.written, inputs.write_failed, inputs.estop_input,
            self._book.ids, self._ends.met(self._state, inputs.arrivals, engine.freshness, now),
        )  # fmt: skip
        self._state, decision = step(self._settings, self._state, told, now)
        alarms = self._alarms(inputs, decision, now)
        if decision.reload is not None:
            self._settings, self._engine = decision.reload, Engine(decision.reload, now, engine)
            self._ends = EndWatch(decision.reload)
        mono_us = round(now * 1e6)
        told_of = self._teller.bodies(decision.events, self._state, facts, engine.actives)
        events = [{**event, "mono_us": mono_us} for event in told_of]
        return Actions(
            outputs=self._output_order(now),
            inverter=self._inverter_order(now),
            answers=decision.answers,
            events=(*events, *({"kind": "alarm", **alarm.body(now)} for alarm in alarms)),
            states=self._changed(alarms, now),
            durable=self._durable(),
        )

    def snapshot(self, now: float) -> Mapping[str, Mapping[str, object]]:
        """All states, for a link that has just connected."""
        mono_us = round(now * 1e6)
        return {
            **{topic: {**body, "mono_us": mono_us} for topic, body in everything(self._picture(now)).items()},
            **self._book.bodies(now),
        }

    def _situation(self) -> Situation:
        state = self._state
        relays = state.outputs.mask & RELAYS
        phase = state.phase
        resting = phase.state in {State.STANDBY, State.LATCHED} or (
            phase.state is State.STOPPING and phase.step == OPEN_AT_ONCE and phase.origin is not State.BOOT
        )
        closed = relays & MAIN == MAIN if self._settings.profile == "contactor" else not resting
        return Situation(
            closed=closed,
            opened=resting and not relays and self._settings.profile == "contactor",
            roster=state.vault.record.roster,
            mode=state.drive.mode,
            setpoint=state.drive.setpoint,
        )

    def _output_order(self, now: float) -> OutputOrder | None:
        if self._settings.profile == "monitor":
            return None
        feed = self._state.phase.state is not State.BOOT
        return OutputOrder(self._state.outputs.mask if feed else Output.NONE, now + TOKEN_S, feed)

    def _inverter_order(self, now: float) -> InverterOrder | None:
        if self._settings.inverter is None or self._settings.profile == "monitor":
            return None
        drive = self._state.drive
        return InverterOrder(drive.mode, drive.setpoint, now + TOKEN_S, drive.epoch)

    def _durable(self) -> DurableWrite | None:
        vault = self._state.vault
        if vault.ticket == self._ticket:
            return None
        self._ticket = vault.ticket
        return DurableWrite(vault.ticket, vault.record)

    def _alarms(self, inputs: Inputs, decision: Decision, now: float) -> list[Alarm]:
        """The alarm book is only opened when something it depends on has changed."""
        said = tuple(self._engine.freshness.alarmed(now))
        late = now < self._state.watch.late_until
        remarks = self._engine.remarked(now)
        key = (self._engine.actives, said, late, remarks, inputs.estop_input, inputs.write_failed, self._state.latches)
        changed = []
        if key != self._alarmed:
            self._alarmed = key
            changed = self._book.update(self._present(said, inputs, now), self._state.latches, now)
            self._worst = self._book.worst()
        acknowledged = [self._book.acknowledge(alarm_id, actor) for alarm_id, actor in decision.acks]
        return [*changed, *(alarm for alarm in acknowledged if alarm is not None and alarm not in changed)]

    def _present(self, said: tuple[str, ...], inputs: Inputs, now: float) -> Iterator[Condition]:
        for active in self._engine.actives:
            yield Condition(
                active.id, active.level, active.value, active.limit, active.unit, active.effects, active.evidence
            )
        for source in said:
            limit_s = self._engine.freshness.limit_s(source)
            yield Condition(f"{source}.stale", Level.WARNING, None, limit_s, "s", ("inverter_zero",))
        for name in self._engine.remarked(now):
            yield Condition(name, Level.WARNING)
        if now < self._state.watch.late_until:
            yield Condition("guard.overrun", Level.WARNING, None, overrun_limits_s(self._settings)[0], "s")
        if inputs.estop_input:
            yield Condition("estop", Level.DANGER, effects=("inverter_zero", "relays_open"))
        if inputs.write_failed:
            yield Condition("guard.latch_file", Level.WARNING)

    def _picture(self, now: float) -> Picture:
        return Picture(self._settings, self._state, self._facts, self._worst, self._engine.freshness, now)

    def _changed(self, alarms: list[Alarm], now: float) -> dict[str, Body]:
        mono_us = round(now * 1e6)
        found: dict[str, Body] = {f"alarm/{alarm.id}": alarm.body(now) for alarm in alarms}
        for topic, body in self._reporter.changed(self._picture(now)).items():
            found[topic] = {**body, "mono_us": mono_us}
        return found
