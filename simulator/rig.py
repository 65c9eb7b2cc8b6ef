"""The whole rig in virtual time: plant, BMUs, inverter and Arduino wired together, without any I/O."""

from __future__ import annotations

import random
from dataclasses import dataclass

from simulator.arduino_inputs import ArduinoInputs
from simulator.arduino_line import ArduinoLine
from simulator.arduino_v1 import BoardV1
from simulator.arduino_v2 import BoardV2
from simulator.battery import Battery
from simulator.can_bus import CanBus, Deliver, Frame
from simulator.can_nodes import BmuNodes
from simulator.faults import Faults
from simulator.inverter import Inverter
from simulator.inverter_sensors import InverterSensors
from simulator.plant import Plant
from simulator.profiles import Profile
from simulator.rtu import RtuSlave
from simulator.sensing import BmuSensors
from simulator.truth import Truth

UNIT = 2
BITRATE = 500_000
BOARDS: dict[str, type[BoardV1 | BoardV2]] = {"v1": BoardV1, "v2": BoardV2}
_RELAYS = {"relay1": 1, "relay2": 2, "relay3": 3}


@dataclass(frozen=True, slots=True)
class RigSize:
    """What kind of rig: its profile, its pack, its Arduino's protocol, and the seed of its noise."""

    profile: Profile
    modules: int = 8
    cells: int = 12
    arduino_protocol: str = "v2"
    seed: int | None = None


class Rig:
    """One owner of everything simulated. Call `advance(now)` before touching anything."""

    def __init__(self, size: RigSize, truth: Truth, deliver: Deliver, now: float) -> None:
        chance = random.Random(size.seed)
        profile = size.profile
        self.size = size
        self.now = now
        self.truth = truth
        self.faults = Faults(size.modules)
        self.battery = Battery(profile, size.modules, size.cells)
        self.plant = Plant(self.battery, truth, profile.link_bleed_tau_s, now)
        self.sensors = BmuSensors(self.battery, profile, random.Random(chance.random()))
        self.nodes = BmuNodes(self.plant, self.sensors, profile, self.faults, random.Random(chance.random()))
        self.bus = CanBus(BITRATE, deliver, self._hear)
        self.nodes.bus = self.bus
        inverter_sensors = InverterSensors(self.plant, profile, random.Random(chance.random()))
        self.inverter = Inverter(self.plant, inverter_sensors, self.faults)
        self.rtu = RtuSlave(UNIT, self.inverter.serve, self.faults, profile, random.Random(chance.random()))
        self.inputs = ArduinoInputs(profile)
        # the boot id must differ from run to run unless a seed asks for the same run
        self.board = BOARDS[size.arduino_protocol](self.inputs, self._set_output, random.Random(chance.random()), now)
        self.arduino = ArduinoLine(self.board, self.faults, random.Random(chance.random()), now)
        self.plant.record("arduino.boot", self.board.boot, "start")
        self._bind_faults()

    def advance(self, now: float) -> None:
        """Let plant and inverter go on to `now`; the comm timer acts at its own instant."""
        while self.now < now:
            due = self.inverter.timer_due
            until = min(now, due) if due > self.now else now
            self.plant.advance(until)
            self.inverter.tick(until)
            self.now = until

    def reset_arduino(self, by: str = "reset") -> None:
        """The board resets: all outputs off, a new boot id, mute for a while."""
        boot = self.board.reset(self.now, by)
        self.plant.record("arduino.boot", boot, by)

    def _hear(self, frame: Frame, now: float) -> None:
        self.nodes.hear(frame, now)

    def _set_output(self, name: str, on: bool, by: str) -> None:
        self.plant.advance(self.now)
        if name in _RELAYS:
            self.plant.set_relay(_RELAYS[name], on, by)
        else:
            self.plant.set_cooling(name, on, by)

    def _bind_faults(self) -> None:
        self.faults.on_change.update(
            {
                "relay.weld": self._weld,
                "precharge.fail": self._fail_precharge,
                "arduino.reset": self._reset_by_fault,
                "inverter.ignore_setpoint": self._obey_again,
            }
        )

    def _weld(self) -> None:
        welded = {fault["n"] for fault in self.faults.active("relay.weld")}
        for number, contact in self.plant.contacts.items():
            if contact.welded != (number in welded):
                self.plant.weld(number, number in welded)

    def _fail_precharge(self) -> None:
        self.plant.precharge_fails = self.faults.has("precharge.fail")

    def _reset_by_fault(self) -> None:
        """A reset is an instant, not a state: it needs no healing."""
        if self.faults.has("arduino.reset"):
            self.reset_arduino("fault")
            self.faults.heal("arduino.reset", {})

    def _obey_again(self) -> None:
        if not self.faults.has("inverter.ignore_setpoint"):
            self.inverter.obey("command")
