"""`cellguard replay`: a recorded trip once more through the guard's rules, with its own settings or with others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from cellguard.replay.compare import Verdict
    from cellguard.replay.run import Moment, Replay
    from cellguard.replay.trip_file import TripFile

BEFORE_S = 5.0


@click.command(name="replay")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--config",
    "other",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Settings to try instead: a whole edge.toml, or only the keys that differ.",
)
@click.option(
    "--all", "everything", is_flag=True, help=f"The whole window, not only from {BEFORE_S:.0f} s before the trip."
)
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each moment, the verdict last.")
def command(*, file: Path, other: Path | None, everything: bool, as_json: bool) -> None:
    """Show what the rules saw and decided in a recorded trip, by running it again; exit 1 when it does not come out the same.

    With --config the exit is 0 either way: the answer is what would have differed.
    """
    from cellguard.replay import compare, run, scene, trip_file

    trip = trip_file.read(file)
    replay = run.Player(trip, scene.settings_of(trip, str(file), other)).run()
    verdict = compare.judge(trip, replay)
    shown = [moment for moment in replay.moments if everything or moment.t_s >= -BEFORE_S]
    if as_json:
        _print_json(shown, replay, verdict)
    else:
        _print_head(trip)
        _print_moments(shown)
        _print_verdict(replay, verdict, other)
    if other is None and not verdict.same:
        click.get_current_context().exit(1)


def _print_json(shown: Iterable[Moment], replay: Replay, verdict: Verdict) -> None:
    import orjson

    for moment in shown:
        click.echo(orjson.dumps({"t_s": moment.t_s, **moment.body}))
    told = {**verdict._asdict(), "same": verdict.same, "began_s": round(replay.began_s, 3), "apart_s": replay.apart_s}
    click.echo(orjson.dumps({"verdict": told}))


def _print_head(trip: TripFile) -> None:
    from cellguard.screen import clock

    head = trip.head
    when = clock(trip.ts, "%Y-%m-%d %H:%M:%S")
    click.echo(f"{head.get('site')}/{head.get('node')}: {head.get('trip')}, {when}; {len(trip.rows)} rows around it")


def _print_moments(shown: Iterable[Moment]) -> None:
    for moment in shown:
        click.echo(f"{moment.t_s:+9.3f} s  {SENTENCES[moment.body['kind']](moment.body)}")


def _state(body: Mapping[str, Any]) -> str:
    current = "" if body.get("current_a") is None else f", {body['current_a']:g} A"
    return f"state   {body['from']} → {body['to']}: {'; '.join(body['why'])}{current}"


def _alarm(body: Mapping[str, Any]) -> str:
    unit = f" {body['unit']}" if body["unit"] else ""
    text = f"alarm   {body['alarm']} {body['level']} {body['state']}"
    if body.get("value") is not None:
        text += f": {body['value']:g}{unit}, limit {body['limit']:g}"
    if "samples" in body:
        after_s = (body["seen_mono_us"] - body["first_mono_us"]) / 1e6
        text += f" (rule {body['rule']}, {body['samples']} samples in {after_s:.2f} s)"
    return text


def _output(body: Mapping[str, Any]) -> str:
    if "commanded" in body:
        unit = f" {body['unit']}" if body.get("unit") else ""
        return f"order   {body['output']} {body['commanded']:g}{unit} by {body['by']}"
    if "readback" in body:
        took = "" if "took_ms" not in body else f" after {body['took_ms']} ms"
        return f"shows   {body['output']} {body['readback']:g}{took}"
    return f"board   boot {body['boot']}, armed {body['armed']}, held {body['held']}"


SENTENCES = {"state": _state, "alarm": _alarm, "output": _output}


def _print_verdict(replay: Replay, verdict: Verdict, other: Path | None) -> None:
    click.echo("")
    click.echo(f"recorded  {'; '.join(verdict.recorded)}: {' · '.join(verdict.recorded_order)}")
    if replay.tripped is None:
        click.echo(f"replayed  no trip{'' if other is None else f' with {other}'}")
    else:
        order = " · ".join(verdict.replayed_order)
        click.echo(f"replayed  {'; '.join(verdict.replayed)}: {order}, {verdict.later_s:+.3f} s")
    if replay.apart_s is not None:
        click.echo(
            "The recorded circuit opened and this one did not: after the recorded trip inverter and board are taken to do"
            " what is ordered here, and the inverter's values stand as they were."
        )
    click.echo("the same" if verdict.same else "not the same")
