"""What the alarms of the modules and of the pack mean, why they come and what to do."""

from __future__ import annotations

from edge_agent.guard.model import Level
from edge_agent.guard.safety.alarm_text import AlarmText

_CELL, _FAST = ("cell_voltage", "cell_voltage_fast"), ("temperature", "temperature_fast")

MODULE = (
    AlarmText(
        "module-NN.cell-NN.voltage_high",
        "A cell is above its limit.",
        "Charged too far, an unbalanced cell, or a broken sense wire (then its neighbour is low: `pack.contradiction`).",
        "Stop charging. Measure the cell by hand; let the module balance before the next charge.",
        _CELL,
    ),
    AlarmText(
        "module-NN.cell-NN.voltage_low",
        "A cell is below its limit.",
        "Discharged too far, a weak cell, or a broken sense wire.",
        "Stop discharging. Measure the cell; charge gently. Below 2.5 V do not use the module again without a check.",
        _CELL,
        side=0,
    ),
    AlarmText(
        "module-NN.cell-NN.extra",
        "A cell that the configuration says is not there has a voltage.",
        "`[pack] cells` is too small, or the sense board is wired to another module type.",
        "Count the cells; correct `[pack] cells`.",
        ("extra_cell",),
    ),
    AlarmText(
        "module-NN.voltage_high",
        "The module's terminals are above their limit.",
        "As for its cells, or the module's own voltage input is wrong (see `module-NN.cell_sum`).",
        "Stop charging; measure at the terminals.",
        ("module_voltage",),
    ),
    AlarmText(
        "module-NN.voltage_low",
        "The module's terminals are below their limit.",
        "As for its cells, or a loose power terminal under load.",
        "Stop discharging; measure at the terminals with and without load.",
        ("module_voltage",),
        side=0,
    ),
    AlarmText(
        "module-NN.temperature_high",
        "The BMU reports a temperature above its limit.",
        "Too much current for the cooling, a loose power terminal that heats, a blocked fan, or a hot room.",
        "Wait until it has cooled (pump and fan stay on). Look for a hot terminal before the next run.",
        _FAST,
    ),
    AlarmText(
        "module-NN.temperature_low",
        "The module is cold: it warns first, then charging is blocked, 20 K below that both directions.",
        "A cold room.",
        "Warm the room. Charging a cell below 0 °C damages it for good.",
        ("temperature_low",),
        side=0,
    ),
    AlarmText(
        "module-NN.temperature_rate",
        "The module warms fast: the mean of one minute against that of the minute before.",
        "High current, cooling that has stopped, or a cell that fails.",
        "Watch it. When it goes on at rest, open and leave the room.",
        ("temperature_rate",),
    ),
    AlarmText(
        "module-NN.temperature_spread",
        "The module's warmest and coldest spot are far apart.",
        "Uneven cooling, one hot terminal, or a sensor that came off.",
        "Compare the single temperatures; look at the hot spot.",
        ("temperature_spread",),
    ),
    AlarmText(
        "module-NN.cell_spread",
        "The module's highest and lowest cell are far apart.",
        "Unbalanced or aged cells.",
        "Balance at rest. If it returns quickly the weak cell limits the module.",
        ("cell_spread",),
    ),
    AlarmText(
        "module-NN.cell_sum",
        "The cells do not add up to the module's voltage.",
        "A wrong measurement: which one is not known, so none can be believed.",
        "Measure by hand; check sense wires and the BMU. Does `[pack] cells` fit?",
        ("cell_sum",),
    ),
    AlarmText(
        "module-NN.min_max",
        "Lowest or highest cell as the BMU reports it is not that of its own cells.",
        "A BMU that works with other cells than it sends, or a wrong DBC.",
        "Check the DBC (`cellguard dbc check`) and the BMU's firmware.",
        ("min_max",),
    ),
    AlarmText(
        "module-NN.duplicate",
        "The module answers twice in each cycle.",
        "Two BMUs with the same number on one bus.",
        "Give each BMU its own node id.",
        ("duplicate",),
    ),
    AlarmText(
        "module-NN.frozen",
        "Under load none of the module's values changes any more.",
        "The BMU sends, but does not measure.",
        "Restart the BMU. Its data before this alarm is not to be trusted either.",
        ("frozen",),
    ),
    AlarmText(
        "module-NN.extra",
        "A module answers that was not commissioned.",
        "A module was added, or a BMU's number was changed.",
        "If it belongs here: `cellguard local commission`. If not, take it off the bus.",
        ("extra_module",),
    ),
    AlarmText(
        "module-NN.thermistors_missing",
        "The module sends no `pdo6`: its single thermistors are not seen. Its minimum and maximum in `pdo1` are still judged.",
        "A BMU without thermistors, another firmware, or a DBC that names the message otherwise.",
        "Compare the DBC with `cellguard dbc`; the hottest place of the module may be one that `pdo1` does not know of.",
        ("thermistors_missing",),
    ),
    AlarmText(
        "module-NN.stale",
        "A commissioned module sends nothing that can be believed any more.",
        "Its supply, its CAN wiring, the adapter (then all modules are stale), or frames that are all ones or all zeros.",
        "`cellguard doctor` says which link is broken. Data back: READY. Not back within `[safety] hold_s`: open, latched.",
        level=Level.WARNING,
    ),
)

PACK = (
    AlarmText(
        "pack.voltage_high",
        "The bus is above its limit while connected.",
        "Charged too far, or limits that do not fit `[pack]`.",
        "Stop charging; compare the inverter's reading with the sum of the modules.",
        ("bus_voltage",),
    ),
    AlarmText(
        "pack.voltage_low",
        "The bus is below its limit while connected.",
        "Discharged too far, or a contactor or fuse that has opened.",
        "Stop discharging; compare the inverter's reading with the sum of the modules.",
        ("bus_voltage",),
        side=0,
    ),
    AlarmText(
        "pack.module_sum",
        "The modules do not add up to what the inverter measures.",
        "A module that is bridged or missing, a fuse, or a wrong scale of the inverter's reading.",
        "Measure the bus by hand; check `[pack] series`.",
        ("module_sum",),
    ),
    AlarmText(
        "pack.over_current",
        "More current flows than `[inverter]` allows for that direction, in per cent of the limit.",
        "The inverter does not keep its limits, or the limits were lowered under load.",
        "Find out why the inverter did not keep them before the next run.",
        ("over_current",),
    ),
    AlarmText(
        "pack.over_power",
        "More power flows than `[inverter] max_power_kw`, in per cent.",
        "As for `pack.over_current`.",
        "As for `pack.over_current`.",
        ("over_power",),
    ),
    AlarmText(
        "pack.current_while_open",
        "Current flows although the contactors are ordered open.",
        "A welded contactor, or a second path past them.",
        "Open the circuit by hand (service disconnect). Do not connect again before the contactors are checked.",
        ("current_open",),
    ),
    AlarmText(
        "pack.currents_disagree",
        "Two trusted current measurements differ. `[signals] pack_current` takes one today: the rule waits for a second sensor.",
        "A sensor, its scale or its sign.",
        "Compare both with a clamp meter; take the wrong one out of `[signals] pack_current`.",
        ("current_agree",),
    ),
    AlarmText(
        "pack.current_against_command",
        "Current flows against everything that was ordered lately. The setpoint goes to 0; nothing is latched.",
        "Another master commands the inverter, or the sign of a reading is wrong.",
        "Take the other master off the line; check the sign with a small setpoint.",
        ("current_envelope",),
    ),
    AlarmText(
        "pack.contradiction",
        "One cell is too high and another too low: neither charging nor discharging is right.",
        "A broken sense wire between two neighbours, or a badly unbalanced pack.",
        "Measure both cells by hand.",
        ("contradiction",),
    ),
)
