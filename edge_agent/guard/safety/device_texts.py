"""What the alarms of inverter, board, contactors and the guard itself mean, why they come and what to do."""

from __future__ import annotations

from edge_agent.guard.model import Level
from edge_agent.guard.safety.alarm_text import AlarmText

INVERTER = (
    AlarmText(
        "inverter.fault",
        "The inverter reports a fault, or its communication fault does not clear.",
        "Its fault words 30272 to 30277 say which (`cellguard watch`).",
        "Look the bits up in the inverter's manual; clear the cause at the inverter, then reset the latch.",
        ("inverter_fault", "inverter_comm_fault"),
    ),
    AlarmText(
        "inverter.warning",
        "The inverter reports a warning.",
        "Its warning word 30278 says which.",
        "Look the bit up in the inverter's manual.",
        ("inverter_warning",),
    ),
    AlarmText(
        "inverter.trip",
        "The inverter went to zero by itself: its communication timer or an operator at its panel.",
        "Messages to it were late, or somebody stopped it.",
        "It is held at zero, then READY: nothing runs on by itself, so start again. If it returns, check the RS-485 line.",
        ("inverter_trip",),
    ),
    AlarmText(
        "inverter.readback",
        "The inverter does not read back what was written.",
        "It refuses or clamps a setpoint or mode, or another master writes too.",
        "Compare its own limits with `[inverter]`; take other masters off the line.",
        ("inverter_readback",),
    ),
    AlarmText(
        "inverter.write_refused",
        "The inverter refuses something that it is told.",
        "A register it does not have, a value outside its own limits, or it is in local operation.",
        "Read what `info` and the log say of it; compare its own limits with `[inverter]`.",
        level=Level.WARNING,
    ),
    AlarmText(
        "inverter.limit_clamped",
        "The inverter keeps a tighter limit than the one it was given; the rules judge by the configured one.",
        "Its own limits are set narrower.",
        "Set `[inverter]` to what it allows, or its limits to what is configured.",
        level=Level.WARNING,
    ),
    AlarmText(
        "inverter.stale",
        "The inverter does not answer.",
        "Its supply, the RS-485 line, the adapter, its unit number or baud rate.",
        "`cellguard doctor`. Without answers the setpoint is 0 and after `[safety] hold_s` the contactors open.",
        level=Level.WARNING,
    ),
)

BOARD = (
    *(
        AlarmText(
            f"arduino.temp{number}_high",
            f"Thermistor {number} is above its limit (median of five).",
            "Too much current for the cooling, or a thermistor that lies on something hot.",
            "As for `module-NN.temperature_high`.",
            ("thermistor",),
        )
        for number in (1, 2)
    ),
    *(
        AlarmText(
            f"arduino.{name}_sensor",
            f"The sensor {name} is fitted and gives nothing that can be believed.",
            "A broken or loose wire, or a short circuit.",
            "Check its plug. If it is not fitted take it out of `[arduino] sensors`.",
            ("sensor",),
        )
        for name in ("temp1", "temp2", "press")
    ),
    AlarmText(
        "arduino.press_high",
        "The pressure is above the limit of `[limits.pressure]` (there is none by default).",
        "The coolant loop is blocked, or too full.",
        "Check the loop.",
        ("pressure",),
    ),
    AlarmText(
        "arduino.press_low",
        "The pressure is below the limit of `[limits.pressure]` (there is none by default).",
        "A leak, or the pump does not run.",
        "Check the loop for leaks before anything else: coolant conducts.",
        ("pressure",),
        side=0,
    ),
    AlarmText(
        "arduino.ground_fault",
        "The ground-fault input is active.",
        "A conductor of the battery touches the frame, or moisture.",
        "Do not touch. Find the fault with an insulation tester with everything disconnected.",
        ("ground_fault",),
    ),
    AlarmText(
        "arduino.stale",
        "The board of the outputs says nothing, or nothing that can be believed.",
        "Its USB plug, its supply, another program on its port.",
        "`cellguard doctor`. Its own dead-man opens the relays after 3.5 s.",
        level=Level.WARNING,
    ),
    AlarmText(
        "arduino.lost",
        "The board was silent for 3 s while contactors were closed.",
        "As for `arduino.stale`.",
        "Its dead-man has opened the relays. Check plug and supply before the reset.",
        level=Level.CRITICAL,
    ),
    AlarmText(
        "arduino.reset",
        "The board has restarted while contactors were closed: its relays dropped, maybe under load.",
        "Its supply sags, somebody opened its port, or interference.",
        "Find the reason. Each opening under load wears the contactors.",
        level=Level.CRITICAL,
    ),
    AlarmText(
        "arduino.deadman",
        "The board's dead-man has opened the relays.",
        "The guard did not reach it for 3.5 s.",
        "Look at `guard.overrun`, the computer's load and the USB line.",
        level=Level.CRITICAL,
    ),
)

CIRCUIT = (
    AlarmText(
        "relays.unconfirmed",
        "The relays do not read back as ordered.",
        "The board does not obey, or a pin or driver is broken.",
        "Take it that the contactors may be closed. Check the board's pins by hand.",
        level=Level.CRITICAL,
    ),
    AlarmText(
        "relays.opened_under_load",
        "The contactors were opened although current may still have flowed.",
        "The inverter did not go to zero within `[safety] wait_s`, or did not say so.",
        "Check the contactors for wear and welding, then why the inverter did not obey.",
        level=Level.CRITICAL,
    ),
    AlarmText(
        "relays.weld_plus",
        "With the minus contactor alone closed the link rose: main plus or precharge does not open.",
        "Contactor 1 or 3 is welded.",
        "Disconnect by hand and replace it. Reset only through the local door.",
        level=Level.CRITICAL,
    ),
    AlarmText(
        "relays.weld_minus",
        "With the precharge relay alone closed the link rose: the minus contactor does not open.",
        "Contactor 2 is welded.",
        "Disconnect by hand and replace it. Reset only through the local door.",
        level=Level.CRITICAL,
    ),
    AlarmText(
        "relays.weld_main",
        "After opening the link did not fall.",
        "A main contactor is welded, or something else feeds the link.",
        "Disconnect by hand; check the contactors. Reset only through the local door.",
        level=Level.CRITICAL,
    ),
    AlarmText(
        "precharge.failed",
        "The link did not reach the pack's voltage, twice.",
        "The precharge resistor or its fuse, a load on the link, or a wrong link measurement.",
        "Check the resistor when it has cooled; take loads off the link.",
        level=Level.FAULT,
    ),
)

GUARD = (
    AlarmText(
        "estop",
        "Somebody has asked for an emergency stop, by command or by the input.",
        "A person, or a broken wire of the input (it is normally closed).",
        "Make sure that the reason is gone; release the button; reset the latch.",
        level=Level.DANGER,
    ),
    AlarmText(
        "guard.restarted",
        "The guard ended while contactors may have been closed, and has started again.",
        "A crash, a kill, a power cut.",
        "Look into its log (`journalctl -u cellguard-guard`); reset the latch.",
        level=Level.FAULT,
    ),
    AlarmText(
        "guard.overrun",
        "The guard was late: between two of its turns nothing was judged.",
        "An overloaded or throttled computer, or a process that was stopped.",
        "`state/health` shows its cycle. Look for load, swap and undervoltage.",
        ("overrun",),
    ),
    AlarmText(
        "guard.latch_file",
        "Latches cannot be written to disk. Nothing may close until they can.",
        "A full or broken disk, or wrong rights of `[node] state_dir`.",
        "Make room, or set the rights.",
        level=Level.WARNING,
    ),
)
