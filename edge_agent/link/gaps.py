"""PURE: the records of what is missing, one for each loss: whose numbers, from where to where, when, and why.

`of` names what the numbers count: `guard` (a guard session's rows and events), `tele` or `event` (messages of this spool's
lane), `spool` (a whole file). Times `t_from` and `t_to` are Unix µs. `rows` is the weight in the books; `to` is null where
nobody can know how much it was. Where not all from `from` to `to` is missing, `ranges` lists what is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from edge_agent.link.intake import Skipped
from edge_agent.link.jobs import OwnEvent
from edge_agent.link.spool import Dropped, Ended, Lane, Settled

KIND = "gap"


def hole(session: str, skipped: Skipped) -> OwnEvent:
    """Numbers of a guard session that will never come."""
    body = {"of": "guard", "session": session, "from": skipped.first, "to": skipped.last, "rows": skipped.rows}
    return OwnEvent(KIND, {**body, "t_from": skipped.t_from, "t_to": skipped.t_to, "reason": skipped.reason})


def ended(over: Ended, t_from: int, t_to: int) -> OwnEvent:
    """A guard that was replaced: what it had not sent is unknown; `missing` of the numbers it had sent never arrived."""
    body = {"of": "guard", "session": over.session, "from": over.last + 1, "to": None, "missing": over.missing}
    reason = "this guard session ended; what it had not sent is unknown"
    return OwnEvent(KIND, {**body, "t_from": t_from, "t_to": t_to, "reason": reason})


def dropped(lost: Dropped) -> OwnEvent:
    """Messages given up for want of room; `ranges` says which, where others in between were stored or are on their way."""
    body = {"of": lost.lane, "from": lost.seqs[0], "to": lost.seqs[-1], "t_from": lost.t_from, "t_to": lost.t_to}
    ranges = _ranges(lost.seqs)
    holes = {"ranges": ranges} if len(ranges) > 1 else {}
    return OwnEvent(KIND, {**body, **holes, "rows": lost.rows, "reason": "spool full"})


def _ranges(seqs: Sequence[int]) -> list[list[int]]:
    """Inclusive ranges of rising numbers."""
    neighbours = [list(group) for _, group in groupby(enumerate(seqs), lambda pair: pair[1] - pair[0])]
    return [[group[0][1], group[-1][1]] for group in neighbours]


def spool_set_aside(name: str, t_to: int) -> OwnEvent:
    """A file that could not be read any more."""
    body = {"of": "spool", "from": None, "to": None, "t_from": None, "t_to": t_to}
    return OwnEvent(KIND, {**body, "reason": f"the spool could not be read: kept as {name}"})


def quarantined(lane: Lane, settled: Sequence[Settled], reasons: Mapping[int, str]) -> list[OwnEvent]:
    """Messages the store refused, one record for neighbours with one reason. A refused gap record gets none: that would not end."""
    found = []
    ranks = {one.seq: rank for rank, one in enumerate(settled)}
    told = [one for one in settled if one.source != KIND]
    for (_, reason), group in groupby(told, lambda one: (one.seq - ranks[one.seq], reasons[one.seq])):
        ones = list(group)
        body = {"of": lane, "from": ones[0].seq, "to": ones[-1].seq, "rows": sum(one.rows for one in ones)}
        body |= {"t_from": min(one.t_from for one in ones), "t_to": max(one.t_to for one in ones)}
        found.append(OwnEvent(KIND, {**body, "reason": f"quarantined: {reason}"}))
    return found
