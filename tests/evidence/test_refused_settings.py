"""Each contradiction of the settings is named with its key and number by `cellguard edge check`, which ends with 78."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellguard.main import main

RIG = '[inverter]\nport = "/dev/x"\n[arduino]\nport = "/dev/y"\n'
VIOLATIONS = {
    "dead-man: timer against board": ("[inverter]\nport = 'x'\ncomm_timer_s = 2.6\n[arduino]\nport = 'y'\n[safety]\nwait_s = 2.9\n",
                                      ["[inverter] comm_timer_s 2.6", "2.5"]),
    "dead-man: wait against timer": ("[inverter]\nport = 'x'\ncomm_timer_s = 2.4\n[safety]\nwait_s = 2.3\n",
                                     ["[safety] wait_s 2.3", "comm_timer_s 2.4"]),
    "wait at its lower end": ("[safety]\nwait_s = 2.0\n", ["[safety] wait_s", "2.0"]),
    "hold beyond the budget": ("[safety]\nhold_s = 13\n", ["[safety] hold_s", "13"]),
    "another dead-man than the sketch's": ("[arduino]\nport = 'y'\ndeadman_s = 5\n", ["[arduino] deadman_s", "5"]),
    "contactors on v1": ("[arduino]\nport = 'y'\nprotocol = 'v1'\n", ["[arduino] protocol", "accept_no_deadman"]),
    "measured precharge without a link voltage": ("[signals]\nlink_voltage = 'none'\n", ["[relays] precharge", "link_voltage"]),
    "main path through a switch": (RIG + "[relays]\nmode = 'switch'\n", ["[relays] main_path = false"]),
    "a contactor on the header": ("[gpio]\nrelay1 = 4\n", ["[gpio]", "relay1", "dead-man"]),
    "roster against pack": ("[can]\nmodules = 7\n", ["[can] modules 7", "[pack] series 8"]),
    "danger inside warning": ("[limits.temperature]\ndanger = 39.0\n", ["[limits.temperature] danger 39.0", "warning 40.0"]),
    "low danger above warning": ("[limits.cell_voltage]\ndanger = [2.9, 4.2]\n", ["[limits.cell_voltage] danger 2.9", "2.8"]),
    "fast inside slow": ("[limits.cell_voltage_fast]\ndanger = [2.75, 4.25]\n", ["[limits.cell_voltage_fast] danger 2.75", "2.7"]),
    "below the resolution": ("[limits.cell_sum]\nwarning = 0.001\n", ["[limits.cell_sum] warning 0.001", "0.01"]),
    "hysteresis below the resolution": ("[limits.cell_voltage]\nhysteresis = 0.001\n", ["[limits.cell_voltage] hysteresis 0.001"]),
    "never clears": ("[limits.temperature]\nhysteresis = 0.0\n", ["[limits.temperature] hysteresis 0.0"]),
    "no room between the sides": ("[limits.cell_voltage]\nhysteresis = 0.9\n", ["[limits.cell_voltage]", "1.8"]),
    "too many samples for the budget": ("[limits.cell_voltage]\nn = 20\n", ["[limits.cell_voltage] n 20", "3.0 s"]),
    "too slow a bus for the budget": ("[can]\nsync_period_s = 1.0\n", ["[can] sync_period_s 1.0", "3.0 s"]),
    "too slow a poll for the budget": (RIG.replace("[arduino]", "poll_period_s = 1.5\n[arduino]"), ["[inverter] poll_period_s 1.5"]),
    "a pair where a number belongs": ("[limits.temperature]\ndanger = [1.0, 50.0]\n", ["[limits.temperature] danger [1.0, 50.0]"]),
    "a number where a pair belongs": ("[limits.cell_voltage]\nwarning = 4.1\n", ["[limits.cell_voltage] warning 4.1"]),
    "a threshold for a bit": ("[limits.ground_fault]\ndanger = 1.0\n", ["[limits.ground_fault] danger 1.0"]),
    "a rule that does not exist": ("[limits.cell_volts]\nn = 3\n", ["cell_volts"]),
    "more cells than the DBC has": ("[pack]\ncells = 15\n", ["[pack] cells", "15"]),
}  # fmt: skip


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_ends_with_78_and_names_key_and_number(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, says = VIOLATIONS[name]
    path = tmp_path / "edge.toml"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["cellguard", "edge", "check", "--config", str(path)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 78
    assert [text for text in says if text not in said] == [], said
    assert "Traceback" not in said
