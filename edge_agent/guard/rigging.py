"""Which devices a rig has: from the configuration to device threads, actuators and the inputs beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_agent.config import Arduino, Can, EdgeConfig, Gpio, Inverter
from edge_agent.guard.board_permit import Give
from edge_agent.guard.codecs.inverter_writes import InverterLimits
from edge_agent.guard.core_settings import Bus
from edge_agent.guard.devices import arduino as arduino_devices
from edge_agent.guard.devices.can_bus import CanBus
from edge_agent.guard.devices.gpio import Gpio as GpioPins
from edge_agent.guard.devices.inverter import Inverter as InverterLine
from edge_agent.guard.devices.runner import Runner
from edge_agent.guard.ports import Device, Inbox, InverterActuator, OutputActuator

Board = arduino_devices.ArduinoV1 | arduino_devices.ArduinoV2


@dataclass(slots=True)
class Rigging:
    """The devices of one rig. `fitted`: the recorded sources beside the modules, in the order of the rows."""

    devices: list[Device] = field(default_factory=list)
    outputs: list[OutputActuator] = field(default_factory=list)
    inverter: InverterActuator | None = None
    fitted: list[str] = field(default_factory=list)
    permit_board: Give | None = None
    runners: list[Runner] = field(default_factory=list)

    def start(self, inbox: Inbox) -> Sequence[Runner]:
        """Start one supervised thread for each device."""
        self.runners = [Runner(device, inbox) for device in self.devices]
        for runner in self.runners:
            runner.start()
        return self.runners

    def stop(self) -> None:
        """End every thread; each closes its device."""
        for runner in self.runners:
            runner.stop()


def rig(config: EdgeConfig, bus: Bus) -> Rigging:
    """Every device that is configured; none is opened yet."""
    made = Rigging()
    made.devices.append(_can(config.can, bus, config.pack.cells))
    if config.inverter is not None:
        line = _inverter(config.inverter)
        made.devices.append(line)
        made.inverter = line
        made.fitted.append("inverter")
    if config.arduino is not None:
        board = _board(config.arduino)
        made.devices.append(board)
        made.permit_board = board.permit_open
        made.fitted.append("arduino")
        if config.relays.mode != "monitor":
            made.outputs.append(board)
    if config.gpio is not None:
        pins = _pins(config.gpio)
        made.devices.append(pins)
        if config.relays.mode != "monitor":
            made.outputs.append(pins)
    return made


def _can(given: Can, bus: Bus, cells: int) -> CanBus:
    return CanBus(
        bus.groups,
        cells,
        interface=given.interface,
        channel=given.channel,
        bitrate=given.bitrate,
        sync_period_s=given.sync_period_s,
    )


def _inverter(given: Inverter) -> InverterLine:
    limits = InverterLimits(
        max_voltage_v=given.max_voltage_v,
        min_voltage_v=given.min_voltage_v,
        max_charge_a=given.max_charge_a,
        max_discharge_a=given.max_discharge_a,
        max_power_kw=given.max_power_kw,
        comm_timer_s=given.comm_timer_s,
    )
    return InverterLine(
        given.port,
        baudrate=given.baudrate,
        unit=given.unit,
        poll_period_s=given.poll_period_s,
        limits=limits,
        dc_current_scale=given.dc_current_scale,
    )


def _board(given: Arduino) -> Board:
    if given.protocol == "v1":
        return arduino_devices.ArduinoV1(given.port, given.sensors, pins=dict(given.pins.items()))
    return arduino_devices.ArduinoV2(given.port, given.sensors)


def _pins(given: Gpio) -> GpioPins:
    return GpioPins(pump=given.pump, fan=given.fan, estop_in=given.estop_in)
