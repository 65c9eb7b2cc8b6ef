"""edge.toml: each wrong key, unit and value is named with its place; contradictions and dangers are refused."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from edge_agent.check import judge
from edge_agent.config import EdgeConfig, contradictions, fingerprint, load_edge
from shared.errors import EXIT_CONFIG, ConfigError
from shared.violations import SettingsError

EXAMPLE = Path(__file__).parents[2] / "deploy" / "edge.example.toml"

INVERTER = '[inverter]\nport = "/dev/x"\n'
ARDUINO = '[arduino]\nport = "/dev/y"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "edge.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_edge(written(folder, text))
    assert caught.value.exit_code == EXIT_CONFIG
    return caught.value


def test_the_example_is_the_default_but_for_ports_and_certificates() -> None:
    given = load_edge(EXAMPLE).model_dump(exclude={"mqtt", "inverter", "arduino", "schedule"})
    default = EdgeConfig().model_dump(exclude={"mqtt", "inverter", "arduino", "schedule"})
    assert given == default


def test_an_empty_file_is_the_default_rig_without_inverter_and_board(tmp_path: Path) -> None:
    config = load_edge(written(tmp_path, ""))
    assert (config.inverter, config.arduino, config.gpio) == (None, None, None)
    assert config.pack.series == 8


@pytest.mark.parametrize(
    ("text", "where", "given", "allowed"),
    [
        ('[node]\nsite = "a b"', "[node] site", "a b", "text like"),
        ("[node]\nname = 5", "[node] name", "5", "text in quotes"),
        ("[mqtt]\nport = 70000", "[mqtt] port", "70000", "at most 65535"),
        ('[mqtt]\nreceipts_from = "pc-1"', "[mqtt] receipts_from", "pc-1", "a list"),
        ("[mqtt]\ntls = { cert = 'x' }", "[mqtt.tls] ca", "", "required"),
        ("[pack]\nseries = 0", "[pack] series", "0", "at least 1"),
        ("[pack]\ncells = 12.5", "[pack] cells", "12.5", "a whole number"),
        ("[can]\nbitrate = 300000", "[can] bitrate", "300000", "500000"),
        ("[can]\nmodules = 'all'", "[can] modules", "all", "'auto'"),
        ("[can]\nsync_period_s = '0.2 s'", "[can] sync_period_s", "0.2 s", "a number"),
        ("[can]\nsync_period = 0.2", "[can] sync_period", "0.2", "did you mean sync_period_s"),
        ("[can]\ngroup = 'BMU(\\d'", "[can] group", "BMU", "regular expression"),
        ("[can]\ngroup = 'BMU.'", "[can] group", "BMU.", "named module"),
        ("[inverter]\nbaudrate = 19200", "[inverter] port", "", "required"),
        (INVERTER + "mode = 'voltage'", "[inverter] mode", "voltage", "'power'"),
        (INVERTER + "max_charge_a = 500", "[inverter] max_charge_a", "500", "at most 222"),
        (INVERTER + "max_charge_a = nan", "[inverter] max_charge_a", "NaN", "finite"),
        (INVERTER + "comm_timer_s = 33.3\nlease_s = 0", "[inverter] lease_s", "0", "at least 1"),
        (ARDUINO + "protocol = 'v3'", "[arduino] protocol", "v3", "'v2'"),
        (ARDUINO + "sensors = ['temp9']", "[arduino.sensors] 0", "temp9", "temp1"),
        (ARDUINO + "pins = { relay4 = 9 }", "[arduino.pins] relay4", "relay4", "relay1"),
        (ARDUINO + "deadman_s = 60", "[arduino] deadman_s", "60", "at most 3.5"),
        ("[gpio]\nrelay1 = 4", "[gpio] relay1", "4", "pump, fan, estop_in"),
        ("[signals]\npack_voltage = 'x'", "[signals] pack_voltage", "x", "sum(modules)"),
        ("[relays]\nmode = 'contactors'", "[relays] mode", "contactors", "'contactor'"),
        ("[limits.cell_voltag]\nn = 1", "[limits] cell_voltag", "cell_voltag", "'cell_voltage'"),
        ("[limits.cell_voltage]\nwarning = [1, 2, 3]", "[limits.cell_voltage] warning", "[1, 2, 3]", "2 items"),
        ("[limits.cell_voltage]\naction = 'ignore'", "[limits.cell_voltage] action", "ignore", "'record'"),
        ("[safety]\nhold_s = 60", "[safety] hold_s", "60", "at most 12"),
        ("[safety]\nrecover = 1", "[safety] recover", "1", "true or false"),
        ("[cooling]\non_c = 90", "[cooling] on_c", "90", "at most 60"),
        ("[commands]\nenergise = 'always'", "[commands] energise", "always", "'window'"),
        ("[schedule]\nautonomous = 'yes'", "[schedule] autonomous", "yes", "true or false"),
        ("[spool]\nmax_mb = 16\nreserved_mb = 64", "[spool]", "", "reserved_mb 64 below max_mb 16"),
        ("[record]\nbatch_s = 0", "[record] batch_s", "0", "at least 0.1"),
        ("[modbus]\nport = 1", "[modbus]", "", "known here: node"),
    ],
)
def test_a_wrong_value_is_named_with_its_place_and_what_is_allowed(
    tmp_path: Path, text: str, where: str, given: str, allowed: str
) -> None:
    said = str(refusal(tmp_path, text))
    assert where in said
    assert given in said
    assert allowed in said


def test_every_wrong_key_is_named_at_once(tmp_path: Path) -> None:
    wrong = "[node]\nsite = 1\n[pack]\ncells = 99\n[safety]\nwait_s = 9.0\n"
    error = refusal(tmp_path, wrong)
    assert isinstance(error, SettingsError)
    assert len(error.violations) == 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (ARDUINO + "protocol = 'v1'", "accept_no_deadman = true"),
        (INVERTER + "comm_timer_s = 2.6\n" + ARDUINO, "the inverter must be at zero before the relays open"),
        (INVERTER + "comm_timer_s = 2.5", "[safety] wait_s 2.5 above [inverter] comm_timer_s 2.5"),
        (INVERTER + "[relays]\nmode = 'switch'", "main_path = false"),
        ("[signals]\nlink_voltage = 'none'", '[relays] precharge = "inverter" or "timed"'),
        ("[can]\nmodules = 3", "[can] modules 3 equal to [pack] series 8"),
        (INVERTER + "min_voltage_v = 400", "min_voltage_v 400.0 below max_voltage_v 384.0"),
        ("[mqtt]\ntls = { ca = 'a', cert = 'b' }", "cert and key both"),
        ("[mqtt]\npassword_file = 'p'", "together with username"),
        ("[gpio]\npump = 18\nfan = 18", "each pin once"),
        (ARDUINO + "pins = { pump = 6, fan = 6 }", "each pin once"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_keys_and_numbers(tmp_path: Path, text: str, sentence: str) -> None:
    assert sentence in str(refusal(tmp_path, text))


def test_mistake_16_a_comm_timer_longer_than_the_dead_man_allows_is_refused(tmp_path: Path) -> None:
    assert "comm_timer_s 33.3" in str(refusal(tmp_path, INVERTER + "comm_timer_s = 33.3\n" + ARDUINO))


def test_all_contradictions_are_said_at_once(tmp_path: Path) -> None:
    said = str(refusal(tmp_path, "[can]\nmodules = 3\n[gpio]\npump = 18\nfan = 18"))
    assert "modules 3" in said
    assert "each pin once" in said


def test_the_defaults_contradict_nothing() -> None:
    assert contradictions(EdgeConfig()) == []


def test_the_old_sketch_is_taken_when_its_risk_is_accepted(tmp_path: Path) -> None:
    config = load_edge(written(tmp_path, ARDUINO + "protocol = 'v1'\naccept_no_deadman = true"))
    assert config.arduino is not None
    assert config.arduino.protocol == "v1"


def test_relative_paths_are_relative_to_the_file_also_the_folder_that_is_not_given(tmp_path: Path) -> None:
    config = load_edge(written(tmp_path, "[can]\ndbc = 'my.dbc'"))
    assert config.can.dbc == tmp_path / "my.dbc"
    assert config.schedule.folder == tmp_path / "schedules"


def test_an_overlay_goes_over_the_file_and_the_environment_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay = tmp_path / "over.toml"
    overlay.write_text("[pack]\nseries = 4\ncells = 10\n")
    monkeypatch.setenv("CELLGUARD_PACK__CELLS", "11")
    config = load_edge(written(tmp_path, "[pack]\nseries = 3"), [overlay])
    assert (config.pack.series, config.pack.cells) == (4, 11)


def test_any_setting_changes_the_fingerprint(tmp_path: Path) -> None:
    assert fingerprint(load_edge(written(tmp_path, "[pack]\nseries = 3"))) != fingerprint(EdgeConfig())


def test_absent_files_are_warnings_and_absent_devices_notes(tmp_path: Path) -> None:
    config = load_edge(written(tmp_path, INVERTER + "[mqtt]\nusername = 'u'\npassword_file = 'p'\n"))
    findings = judge(config, "edge.toml")
    assert any("password_file" in warning for warning in findings.warnings)
    assert any("[schedule] folder" in warning for warning in findings.warnings)
    assert any("[inverter] port" in note for note in findings.notes)


def test_an_absent_dbc_is_a_warning_and_a_wrong_one_an_error(tmp_path: Path) -> None:
    config = load_edge(written(tmp_path, "[can]\ndbc = 'my.dbc'"))
    assert any("[can] dbc" in warning for warning in judge(config, "edge.toml").warnings)
    (tmp_path / "my.dbc").write_text("BO_ nonsense")
    with pytest.raises(ConfigError, match=r"my\.dbc"):
        judge(config, "edge.toml")


def test_limits_that_cannot_be_used_are_all_named(tmp_path: Path) -> None:
    text = "[limits.cell_voltage]\nwarning = [2.8, 4.3]\n[limits.temperature]\nwarning = [1, 2]\n"
    with pytest.raises(SettingsError) as caught:
        judge(load_edge(written(tmp_path, text)), "edge.toml")
    assert "[limits.temperature] warning" in str(caught.value)


def test_the_example_file_is_toml_that_names_every_section() -> None:
    sections = set(tomllib.loads(EXAMPLE.read_text(encoding="utf-8")))
    optional = {"gpio", "limits"}
    assert sections | optional == set(EdgeConfig.model_fields)


def test_a_windows_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    path.write_bytes(b"\xef\xbb\xbf[pack]\r\nseries = 5\r\n")
    assert load_edge(path).pack.series == 5
