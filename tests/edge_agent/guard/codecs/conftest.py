from __future__ import annotations

from collections.abc import Mapping

import pytest

import dbc
from edge_agent.guard.codecs.dbc import Decoder, groups, load

Groups = Mapping[int, Mapping[str, Decoder]]


@pytest.fixture(scope="session")
def modules() -> Groups:
    return groups(load(dbc.path()), r"BMU(?P<module>\d\d)_")
