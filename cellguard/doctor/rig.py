"""Checks of the rig as the guard hears it: modules and what they say, the inverter, its current at rest."""

from __future__ import annotations

from statistics import fmean, stdev

from cellguard.doctor.finding import Finding, fault, note, ok, unchecked
from cellguard.doctor.patient import Patient, contactors_open, values
from cellguard.tolerant import listed, number, table, text
from shared.signals import INVERTER, module_number, module_source

REQUIRED_PARTS = ("pdo1", "pdo3", "pdo4")
SILENT_S = 2.0
FLOWS_A = 5.0
"""From this current on the values of a healthy module move."""
SAMPLES = 60
ENOUGH_SAMPLES = 30
BLUNT = 4.0
"""A noise setting so many times the measured one makes the rules needlessly blunt."""
_INVERTER = tuple(signal.name for signal in INVERTER)
_FAULT_WORDS = tuple(signal.name for signal in INVERTER if signal.name.startswith("fault_"))
_RS485 = "RS-485 adapter, A and B swapped, baud rate, unit number, auxiliary power (docs/hardware/rs485.md)"


def guard(patient: Patient) -> Finding:
    """Whether the guard answers at its own door, and what it lacks."""
    words = patient.words
    if words.trouble:
        return fault(words.trouble, "`systemctl status cellguard-guard`, `journalctl -u cellguard-guard -p warning`")
    states = table(words.last, "states")
    lacks = listed(table(states, "degraded"), "why")
    state = text(table(states, "state/safety"), "state")
    if lacks:
        return fault(f"{state}, but degraded: {lacks}", "see the lines below; each link is opened again by itself")
    cycle = table(table(words.last, "health"), "cycle_ms")
    return ok(f"{state}, a turn takes {cycle.get('p99', '?')} ms (p99), longest {cycle.get('worst', '?')} ms")


def module_data(patient: Patient) -> Finding:
    """Whether every module sends what is required, and how often it says something new."""
    sources = _modules(patient)
    if not sources:
        return fault("no module was ever heard", "CAN adapter, bit rate, termination, power of the modules")
    lacking = [f"{source} ({', '.join(parts)})" for source in sources if (parts := _silent_parts(patient, source))]
    if lacking:
        return fault(
            f"nothing from {', '.join(lacking)}", "power, CAN plug and stub of these modules; the others go on"
        )
    shares = {source: _share_of_changes(patient, source) for source in sources}
    said = f"{len(sources)} modules, {min(shares.values()):.0%} to {max(shares.values()):.0%} of their frames say something new"
    stuck = [source for source, share in shares.items() if not share]
    current = _current_a(patient)
    if not stuck:
        return ok(said)
    who = ", ".join(stuck) if len(stuck) < len(sources) else f"any of {len(sources)} modules"
    if current > FLOWS_A:
        return fault(
            f"at {current:.0f} A nothing changes in {who}", "power them off and on again: their values are frozen"
        )
    return unchecked(
        f"all of them answer, nothing changes in {who}, and at rest it need not", "look again while current flows"
    )


def inverter(patient: Patient) -> Finding:
    """Whether the inverter answers, and who it is by its values: it has no register with a name."""
    settings, words = patient.settings.inverter, patient.words
    if settings is None:
        return unchecked("no [inverter] in edge.toml")
    poll = table(words.heard("inverter"), "poll")
    said = words.device("inverter")
    if said.startswith(("absent", "lost")):
        return fault(f"inverter {said}", "plug the RS-485 adapter in, or set [inverter] port (`ls /dev/serial/by-id`)")
    if not poll or number(poll, "age_s") > SILENT_S:
        return fault(f"unit {settings.unit} does not answer on {settings.port}", _RS485)
    now = values(words, "inverter", "poll", _INVERTER)
    faults = [name for name in _FAULT_WORDS if now.get(name)]
    who = ", ".join(f"{label} {now[name]:.0f} {unit}" for label, name, unit in _WHO if name in now)
    if faults:
        return fault(
            f"{who}; fault bits in {', '.join(faults)}", "see `cellguard alarms` and the inverter's own display"
        )
    missed = words.counted("inverter").get("missed_answers", 0)
    if missed:
        return note(f"{who}; {missed} answers missed in {words.seconds:.0f} s", _RS485)
    missing = int(number(words.counters("inverter"), "missing_registers"))
    absent = f"; {missing} registers do not exist on it" if missing else ""
    return ok(f"unit {settings.unit} at {settings.baudrate} Bd: {who}{absent}")


_WHO = (
    ("pack", "battery_voltage", "V"),
    ("link", "dc_bus_voltage", "V"),
    ("phase", "phase_a_voltage", "V"),
    ("heat sink", "heat_sink_temperature", "°C"),
)


def current_noise(patient: Patient) -> Finding:
    """The inverter's current with open contactors: its offset and noise against what the rules are told."""
    if patient.settings.inverter is None:
        return unchecked("no [inverter] in edge.toml")
    set_a = patient.settings.signals.current_noise_a
    currents = patient.words.currents_a
    if len(currents) < ENOUGH_SAMPLES:
        if contactors_open(patient.words.last):
            return unchecked(f"only {len(currents)} of {SAMPLES} samples came", "see the line inverter-line")
        return unchecked("zero can only be measured with open contactors", "open them, then run doctor again")
    return judge_noise(fmean(currents), stdev(currents), set_a, len(currents))


def judge_noise(offset_a: float, sigma_a: float, set_a: float, count: int) -> Finding:
    """The relays open at |I| < max(2 A, 4σ): offset and noise must leave room below that."""
    said = f"at 0 A: offset {offset_a:+.2f} A, noise {sigma_a:.2f} A ({count} samples), set to {set_a:g} A"
    if sigma_a > 1.1 * set_a:
        return fault(said, f"set [signals] current_noise_a = {sigma_a * 1.1:.1f} in edge.toml, or shield the sensor")
    if abs(offset_a) > 0.5 * max(2.0, 4.0 * set_a):
        return fault(said, "have the inverter's current sensor zeroed: such an offset looks like a current")
    if set_a > max(0.5, BLUNT * sigma_a):
        said += "; with a smaller setting the rules would see smaller currents"
    return ok(said)


def _current_a(patient: Patient) -> float:
    """How much current flows, 0 when the inverter has not said so just now."""
    if number(table(patient.words.heard("inverter"), "poll"), "age_s") > SILENT_S:
        return 0.0
    return abs(float(values(patient.words, "inverter", "poll", _INVERTER).get("current", 0.0)))


def _modules(patient: Patient) -> list[str]:
    """Those that were heard, and those that must be there."""
    heard = {source for source in table(patient.words.last, "seen") if module_number(source) is not None}
    configured = patient.settings.can.modules
    named = range(1, configured + 1) if isinstance(configured, int) else ()
    return sorted(heard | {module_source(number) for number in named})


def _silent_parts(patient: Patient, source: str) -> list[str]:
    heard = patient.words.heard(source)
    return [part for part in REQUIRED_PARTS if part not in heard or number(table(heard, part), "age_s") > SILENT_S]


def _share_of_changes(patient: Patient, source: str) -> float:
    words = patient.words
    parts = list(words.heard(source))
    readings = sum(words.risen(source, part, "readings") for part in parts)
    return sum(words.risen(source, part, "changes") for part in parts) / readings if readings else 0.0
