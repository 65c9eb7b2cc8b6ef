"""`docs/reference/topics.md`: every topic, command, answer code and signal, from the models and tables that judge them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from cellguard.manual.settings import allowed
from edge_agent.guard.safety.interlocks import REASONS
from shared.messages import COMMANDS, MAX_COMMAND_BYTES, Ack, Command, CommandClass, Receipt, Wire, command_class
from shared.signals import ARDUINO, INVERTER, MODULE_MEANINGS, Signal
from shared.topics import collector_root, node_root


class Topic(NamedTuple):
    """One topic below its root: who publishes, how, and what for."""

    name: str
    by: str
    how: str
    payload: str


NODE = (
    Topic("status", "link", "QoS 1, retained, every 10 s, last will",
          "`state` online, degraded or offline, `session`, `ts`, `since`, `clock` synced, unsynced or stepped, `why`"),
    Topic("hb", "link", "QoS 0, every second", "plain text `session:counter`; commands echo it"),
    Topic("info", "link", "QoS 1, retained", "`version`, `config`, `dbc`, `devices`, `modules`, `not_fail_safe`, `ts`"),
    Topic("catalog", "link", "QoS 1, retained", "of each kind of source its signals: `unit`, `resolution`, `range`, `meaning`"),
    Topic("state/{source}", "link", "QoS 0, retained, at most 2 a second",
          "newest values of `module-01` … `module-15`, `inverter`, `arduino`; `bad` says why one is missing"),
    Topic("state/safety", "link", "QoS 1, retained, on change", "`state`, `level`, `latches`, `blocked`, `profile`, `energise`, `ts`"),
    Topic("state/outputs", "link", "QoS 1, retained, on change", "of each output `commanded`, `readback`, `by`"),
    Topic("state/schedule", "link", "QoS 1, retained, on change",
          "`state`, `file`, `step`, `steps`, `round`, `rounds`, `elapsed_s`, `setpoint`, `unit`, `ts`"),
    Topic("state/health", "link", "QoS 1, retained, every 2 s", "books, queue, drops, cycle and latency, clock, temperatures of the Pi"),
    Topic("tele/{source}", "link", "QoS 1",
          "the record: `spool`, `lane`, `seq`, `boot`, `clock`, `t0`, `t` µs after it, `v` a list a signal, `bad`"),
    Topic("alarm/{id}", "link", "QoS 1, retained",
          "`alarm`, `level`, `state` active, latched or cleared, `acked`, `value`, `limit`, `unit`, `since`, `ts`, `actions`"),
    Topic(
        "event/{kind}", "link", "QoS 1",
        "`spool`, `lane`, `seq`, `ts`, `kind` alarm, command, state, output, schedule, gap, session or trip",
    ),
    Topic("receipt", "collector", "QoS 1", "which message numbers are stored and may leave the spool; below"),
    Topic("cmd/{target}", "people, programs", "never retained", "a command; below"),
    Topic("ack", "link", "QoS 1", "the answers to commands; below"),
)  # fmt: skip
"""Below `cellguard/v1/{site}/{node}/`."""

COLLECTOR = (
    Topic("status", "collector", "QoS 1, retained, last will", "`state` online or offline, `ts`"),
    Topic("health", "collector", "QoS 1, retained", "counters of what it received, stored, refused"),
)
"""Below `cellguard/v1/{site}/collector/{name}/`."""

LINK_CODES = {
    "E_RETAINED": "a retained command is never obeyed",
    "E_SIZE": f"more than {MAX_COMMAND_BYTES} bytes",
    "E_SYNTAX": "not JSON, an unknown or double key, a wrong value; never stops an estop",
    "E_DUPLICATE": "the id was answered before, `first` is that answer; never stops an estop",
    "E_RATE": "more than 20 of classes A and E a second",
    "E_NOT_FRESH": "class E without the newest heartbeat, which `hb` of the answer has",
    "E_NOT_ARMED": "energising is only taken locally, or not at this time",
    "E_NO_GUARD": "there is no guard to obey",
}
"""What link answers, in the order in which it looks."""

_CLASSES: dict[CommandClass, str] = {
    "S": "towards safe: needs only to be well-formed and not retained",
    "A": "also a new id",
    "E": 'energising: also `"hb"` echoed from a heartbeat less than 3 s old',
}

_HEAD = f"""# Topics

Made by `python -m cellguard.manual` from the models and tables; a test fails when they differ. Payloads are JSON objects in UTF-8 but
for `hb`; times are Unix µs. Everything works with MQTT 3.1.1. A number that is not known is absent, never 0 or −1.

## Of a node: below `{node_root("{site}", "{node}")}/`
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_topics(NODE), *_collector(), *_commands(), *_answers(), *_receipts(), *_signals(), ""])


def _topics(rows: tuple[Topic, ...]) -> Iterator[str]:
    yield "| topic | from | how | payload |"
    yield "|---|---|---|---|"
    for row in rows:
        yield f"| `{row.name}` | {row.by} | {row.how} | {row.payload} |"


def _collector() -> Iterator[str]:
    yield f"\n## Of a collector: below `{collector_root('{site}', '{name}')}/`\n"
    yield from _topics(COLLECTOR)


def _commands() -> Iterator[str]:
    yield "\n## Commands: `cmd/{target}`\n"
    yield "Every command may carry `id`, `actor` and `hb`; one without an id is given one. `cellguard send` does all of this by itself.\n"
    yield from (f"- **{letter}** {words}" for letter, words in _CLASSES.items())
    yield "\n| target | keys | class |"
    yield "|---|---|---|"
    for target, model in COMMANDS.items():
        own = {
            name: one
            for name, one in model.model_json_schema()["properties"].items()
            if name not in Command.model_fields
        }
        keys = "; ".join(f"`{name}` {allowed(one)}" for name, one in own.items())
        yield f"| `{target}` | {keys or 'any payload'} | {', '.join(_classes(target, model))} |"


def _classes(target: str, model: type[Command]) -> Iterator[str]:
    """The class by each value of the key that decides it."""
    schema = model.model_json_schema()["properties"]
    key = next((name for name in ("on", "action") if name in schema), None)
    if key is None:
        yield command_class(target, model.model_construct())
        return
    construct: Any = model.model_construct
    values = [True, False] if key == "on" else schema[key].get("enum", [schema[key].get("const")])
    for value in values:
        words = str(value).lower() if isinstance(value, bool) else value
        yield f"{words}: {command_class(target, construct(**{key: value}))}"


def _answers() -> Iterator[str]:
    yield "\n## Answers: `ack`\n"
    yield "Each command has one answer; an accepted one is followed by `done` or `failed` with what was measured.\n"
    yield from _model(Ack)
    yield "\n| code | reason |"
    yield "|---|---|"
    for code, reason in {**LINK_CODES, **REASONS}.items():
        yield f"| `{code}` | {reason.replace('{state}', 'the state')} |"


def _receipts() -> Iterator[str]:
    yield "\n## Receipts: `receipt`\n"
    yield "Only from a collector named in `[mqtt] receipts_from`; holes and any order are allowed.\n"
    yield from _model(Receipt)


def _model(model: type[Wire]) -> Iterator[str]:
    yield "| key | value |"
    yield "|---|---|"
    for name, one in model.model_json_schema()["properties"].items():
        yield f"| `{name}` | {allowed(one)} |"


def _signals() -> Iterator[str]:
    yield "\n## Signals\n"
    yield "Those of a module are the DBC's; what the usual ones mean:\n"
    yield "| module | meaning |"
    yield "|---|---|"
    yield from (f"| `{name}` | {meaning} |" for name, meaning in MODULE_MEANINGS.items())
    for source, signals in (("inverter", INVERTER), ("arduino", ARDUINO)):
        yield f"\n| {source} | unit | resolution | range | meaning |"
        yield "|---|---|---|---|---|"
        yield from (_signal(signal) for signal in signals)


def _signal(signal: Signal) -> str:
    unit = signal.unit.replace("|", " or ")
    return f"| `{signal.name}` | {unit} | {signal.resolution:g} | {signal.low:g} … {signal.high:g} | {signal.meaning} |"
