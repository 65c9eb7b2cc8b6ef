"""The explorer itself: what it sees of the production code, that its shortcuts are sound, that a defect is found and replayed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.prove import __main__ as command
from tests.prove import mutants, runs, seeding, traces
from tests.prove.canon import Canon
from tests.prove.domains import DOMAINS
from tests.prove.edges import jump, tick
from tests.prove.explorer import Search

SAFETY = Path(__file__).parents[2] / "edge_agent" / "guard" / "safety"
BLIND = next(mutant for mutant in mutants.MUTANTS if mutant.name == "dangers count only once connected")


@pytest.mark.parametrize("name", ["healthy", "uncommissioned", "local only"])
def test_without_a_fault_nothing_is_violated(name: str) -> None:
    found = runs.searched(name)
    assert (found.violated, found.what) == ("", "")


def test_one_fault_of_every_kind_at_every_moment_violates_nothing() -> None:
    found = runs.searched("every tick", most_faults=1)
    assert (found.violated, found.what, found.trace) == ("", "", [])
    assert found.states > 4000
    assert found.jumps > 10, "long clocks are jumped over, else they were never reached"


def jumps(domain: Any, most: int) -> list[tuple[Any, int]]:
    """Situations where the search jumps, with the ticks it skips."""
    search, found = Search(domain), []
    expand = search._expand

    def noting(number: int, node: Any, skip: int, used: int) -> bool:
        if skip and len(found) < most:
            found.append((node, skip))
        return expand(number, node, skip, used)

    search._expand = noting  # type: ignore[method-assign]  # it only listens
    search.run()
    return found


def test_a_jump_ends_where_the_ticks_it_stands_for_end() -> None:
    domain = replace(DOMAINS["every tick"], most_faults=1)
    canon = Canon(domain.model, domain.details)
    compared = 0
    for node, skip in jumps(domain, 9000):
        walked = tick(domain.model, node).after
        if canon.key(*walked)[0] != canon.key(*node)[0]:
            continue  # not quiet: the search does not jump here
        for _ in range(skip - 1):
            walked = tick(domain.model, walked).after
        assert canon.key(*walked)[0] == canon.key(*jump(node, skip))[0]
        compared += 1
    assert compared > 20


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_can_be_seeded_in_the_source_as_it_stands(mutant: mutants.Mutant) -> None:
    source = (SAFETY / f"{mutant.module}.py").read_text()
    assert compile(seeding.seeded(source, mutant.old, mutant.new), mutant.module, "exec")
    assert mutant.domain in DOMAINS
    assert mutant.killers


def test_a_seeded_defect_is_killed_by_its_property_and_its_trace_shows_it_again(capsys: Any) -> None:
    found = runs.in_a_process("--mutant", BLIND.name, limit_s=100)
    assert found["violated"] in BLIND.killers
    trace = str(found["trace"])
    assert command.main(["--replay", trace]) == 0, "the production code does not violate it"
    assert "VIOLATED" not in capsys.readouterr().out


def test_a_trace_with_an_unknown_move_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(traces.UnknownMove, match=r"'explode' is no move; allowed: \.N, \+N, danger raised"):
        list(traces.replay("main: .3 | explode"))
    with pytest.raises(traces.UnknownMove, match="domain 'moon'; allowed: healthy"):
        list(traces.replay("moon: .3"))


def test_a_replay_prints_what_agent_and_plant_do() -> None:
    lines = list(traces.replay("main: .6 | close | .12 | discharge | .2"))
    assert "RUN" in lines[-1]
    assert "pins 12-" in lines[-1]
    assert "+10 A" in lines[-1]
