"""The rule engine: arrivals in, facts out. It counts samples and ages; what follows from them is `supervisor.step`'s."""

from __future__ import annotations

from typing import NamedTuple

from edge_agent.guard.model import Level, Mode, NoData, Opened, Reading
from edge_agent.guard.safety.board_judge import BoardJudge
from edge_agent.guard.safety.facts import Facts, Raised, Sample
from edge_agent.guard.safety.freshness import Freshness
from edge_agent.guard.safety.interface import Arrival, Settings
from edge_agent.guard.safety.inverter_judge import InverterJudge, Ordered
from edge_agent.guard.safety.module_judge import Layout, ModuleJudge
from edge_agent.guard.safety.modules import ELECTRIC, Rows
from edge_agent.guard.safety.rules import Gate, build
from edge_agent.guard.safety.trackers import Active, Alarm, Condition, Register, conditions
from shared.signals import module_number, module_source

SLOW_TICK_S = 1.0
AGE_TICK_S = 0.02
STANDSTILL_CURRENT_A = 5.0
COOL_BELOW_K = 3.0
REMARK_SHOWN_S = 10.0
REMARKS = {"writes": "inverter.write_refused", "limits": "inverter.limit_clamped"}
"""Parts under which the inverter's driver says what went wrong with its writing → id of the warning."""
CELL_SIDES = (".voltage_high", ".voltage_low")


class Situation(NamedTuple):
    """What the supervisor tells the engine before a turn: which gates hold, which modules count, what is ordered."""

    closed: bool
    opened: bool
    roster: tuple[int, ...] | None
    mode: Mode
    setpoint: float


class Engine:
    """Feed arrivals, `tick` once a turn, then ask for `facts` and `actives`."""

    def __init__(self, settings: Settings, now: float, before: Engine | None = None) -> None:
        """`before`: the engine whose settings these replace; what the devices said of themselves goes on, judgements begin anew."""
        self._settings = settings
        self._register = Register()
        self._rows = Rows(settings, build(settings), self._register)
        self._layout = Layout(settings)
        self._modules: dict[str, ModuleJudge] = {}
        self._numbers: dict[str, int] = {}
        self._extra: dict[str, list[Condition]] = {}
        self._blind: dict[str, list[Condition]] = {}
        self._frozen: dict[str, tuple[list[Condition], float]] = {}
        self._contradiction = conditions(
            Alarm("pack.contradiction", effects=ELECTRIC), self._rows.rules["contradiction"], 1
        )
        self.inverter = InverterJudge(self._rows)
        self.board = BoardJudge(self._rows)
        self.freshness = Freshness(settings, now)
        self._cycle = -1
        self._roster: tuple[int, ...] | None = None
        self._aged_at = self._slow_at = now
        self._gates = (False, False)
        self._seen_version = -1
        self._contrary = False
        self._pack_v: float | None = None
        self._heat = 2
        self.actives: tuple[Active, ...] = ()
        self.remarks: dict[str, float] = {}
        self._raised = Facts()
        if before is not None:
            self.board.facts = before.board.facts
            self.inverter.facts, self.inverter.t_good = before.inverter.facts, before.inverter.t_good
            self.freshness.go_on_from(before.freshness)

    def feed(self, arrival: Arrival) -> None:
        """Take one arrival."""
        if type(arrival) is Reading:
            module = self._modules.get(arrival.source)
            if module is not None:
                module.feed(arrival, self._cycle)
            else:
                self._feed_other(arrival)
        elif isinstance(arrival, NoData):
            self._no_data(arrival)
        else:
            assert isinstance(arrival, Opened)
            self.freshness.opened(arrival)
            if arrival.source == "inverter":
                self.inverter.opened()

    def _feed_other(self, reading: Reading) -> None:
        if reading.source == "can":
            self._cycle += 1
        elif reading.source == "inverter":
            self.inverter.feed(reading, self._pack_v)
        elif reading.source == "arduino":
            self.board.feed(reading)
        elif module_number(reading.source) is not None:
            self._module(reading.source).feed(reading, self._cycle)

    def _module(self, source: str) -> ModuleJudge:
        module = self._modules.get(source)
        if module is None:
            number = module_number(source)
            assert number is not None
            module = self._modules[source] = ModuleJudge(source, self._rows, self._layout)
            self._numbers[source] = number
            alarm = Alarm(f"{source}.extra", effects=ELECTRIC)
            self._extra[source] = conditions(alarm, self._rows.rules["extra_module"], 1)
            lacking = Alarm(f"{source}.thermistors_missing")
            self._blind[source] = conditions(lacking, self._rows.rules["thermistors_missing"], 1)
            self._frozen[source] = (
                conditions(Alarm(f"{source}.frozen", effects=ELECTRIC), self._rows.rules["frozen"], 1),
                0.0,
            )
        return module

    def _no_data(self, missing: NoData) -> None:
        if missing.reason == "duplicate" and missing.source in self._modules:
            self._modules[missing.source].note_duplicate()
        elif not missing.part:
            self.freshness.missing(missing)
        elif missing.source == "inverter" and missing.part in REMARKS:
            self.remarks[REMARKS[missing.part]] = missing.t_mono + REMARK_SHOWN_S

    def tick(self, situation: Situation, now: float) -> None:
        """Once a turn: gates, ages, and the rules that look at time instead of samples."""
        gates = (situation.closed, situation.opened)
        if gates != self._gates:
            self._gates = gates
            holding = {Gate.ALWAYS}
            for gate, holds in ((Gate.CLOSED, situation.closed), (Gate.OPEN, situation.opened)):
                if holds:
                    holding.add(gate)
                else:
                    self._register.drop_gate(gate)
                    self.inverter.forget(gate)
            self.inverter.gates = frozenset(holding)
        self._set_roster(situation.roster)
        self._note_order(situation, now)
        if now - self._aged_at >= AGE_TICK_S:
            self._aged_at = now
            self._age(now)
        if now - self._slow_at >= SLOW_TICK_S:
            self._slow(now - self._slow_at, now)
            self._slow_at = now

    def _set_roster(self, roster: tuple[int, ...] | None) -> None:
        if roster == self._roster:
            return
        self._roster = roster
        for number in roster or ():
            self._module(module_source(number))

    def _note_order(self, situation: Situation, now: float) -> None:
        amps = situation.setpoint
        if situation.mode is Mode.POWER:
            amps = situation.setpoint * 1000.0 / (self._pack_v or 1.0)
        self.inverter.envelope.note(Ordered(now, situation.mode, situation.setpoint, amps))

    def required(self) -> list[str]:
        """The modules whose silence matters: the commissioned ones, else whoever has ever answered."""
        return [module_source(n) for n in self._roster] if self._roster is not None else sorted(self._modules)

    def _age(self, now: float) -> None:
        freshness, required = self.freshness, self.required()
        for source in required:
            freshness.judge(source, self._modules[source].oldest_good(), now)
        if self._settings.inverter is not None:
            freshness.judge("inverter", self.inverter.t_good, now)
        if self._settings.arduino is not None:
            freshness.judge("arduino", self.board.facts.t, now)
        freshness.keep(required)
        voltages = [self._modules[source].voltage_v() for source in required if source not in freshness.unknown]
        known = [v for v in voltages if v is not None]
        self._pack_v = sum(known) if known and len(known) == len(required) else None
        self._heat = self._judge_heat(required)
        if self._contrary or not all(condition.idle for condition in self._contradiction):
            self._sample(self._contradiction, float(self._contrary), now)

    def _judge_heat(self, required: list[str]) -> int:
        if not required or any(s in self.freshness.unknown for s in required):
            return 2
        if self._settings.arduino is not None and ("arduino" in self.freshness.unknown or self.board.heat_unknown()):
            return 2
        hottest = max([self.board.hottest_c(), *(self._modules[source].hottest_c() for source in required)])
        if hottest >= self._settings.cooling_on_c:
            return 2
        return 1 if hottest > self._settings.cooling_on_c - COOL_BELOW_K else 0

    def _slow(self, elapsed_s: float, now: float) -> None:
        current = self.inverter.current
        loaded = self._gates[0] and current is not None and abs(current.value) > STANDSTILL_CURRENT_A
        for source, module in self._modules.items():
            module.close_rate_window(now)
            found, stood_s = self._frozen[source]
            stood_s = stood_s + elapsed_s if loaded and module.standstill else (stood_s if module.standstill else 0.0)
            module.standstill = True
            self._frozen[source] = (found, stood_s)
            if self._gates[0]:
                self._sample(found, stood_s, now)
            if now - module.t_any.get("pdo1", float("-inf")) < SLOW_TICK_S:
                extra = self._roster is not None and self._numbers[source] not in self._roster
                self._sample(self._extra[source], float(extra), now)
                lacking = module.lacks_temperatures(now, self.freshness.limit_s(source))
                self._sample(self._blind[source], float(lacking), now)

    def _sample(self, found: list[Condition], value: float, now: float) -> None:
        for condition in found:
            if condition.sample(value, now):
                self._register.update(condition, round(value, 3))

    def facts(self) -> Facts:
        """Everything `step` needs to know of the world."""
        if self._register.version != self._seen_version:
            self._summarise()
        freshness = self.freshness
        unknown = freshness.unknown
        gone = "inverter" in unknown
        return self._raised._replace(
            unknown=freshness.unknown_ids(),
            heat=self._heat,
            present=tuple(n for s, n in self._numbers.items() if s in freshness.fresh),
            current=self._recent_current(),
            link=None if gone or self._settings.link_voltage == "none" else self.inverter.link,
            pack_v=self._pack_v if self._settings.pack_voltage == "sum(modules)" else self._inverter_pack_v(gone),
            inverter=self.inverter.facts,
            board=self.board.facts,
        )

    def _recent_current(self) -> Sample | None:
        """Also while the inverter is not steady again: opening needs new samples, not a second of them."""
        current = self.inverter.current
        old = current is None or self._aged_at - current.t > self.freshness.limit_s("inverter")
        return None if old else current

    def _inverter_pack_v(self, gone: bool) -> float | None:
        return None if gone else self.inverter.battery_v

    def remarked(self, now: float) -> tuple[str, ...]:
        """Warnings about the inverter's writing that are recent enough to be shown."""
        return tuple(name for name, until in self.remarks.items() if now < until) if self.remarks else ()

    def _summarise(self) -> None:
        """What the active conditions ask for; only worked out anew when one changed."""
        actives = self._register.actives()
        high, low = ([a for a in actives if ".cell-" in a.id and a.id.endswith(side)] for side in CELL_SIDES)
        self._contrary = bool(high and low)
        self._seen_version = self._register.version
        self.actives = actives
        voltages = {a.id.rpartition("_")[2] for a in actives if ".voltage_" in a.id}
        self._raised = Facts(
            trips=tuple(Raised(a.id, a.level) for a in actives if a.level >= Level.DANGER),
            zero=tuple(a.id for a in actives if a.zero),
            charge=tuple(a.id for a in actives if "charge" in a.blocks),
            discharge=tuple(a.id for a in actives if "discharge" in a.blocks),
            drift=("high" in voltages) - ("low" in voltages),
        )
