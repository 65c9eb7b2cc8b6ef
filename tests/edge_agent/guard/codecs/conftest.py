from __future__ import annotations

import pytest

import dbc
from edge_agent.guard.catalog import Groups
from edge_agent.guard.codecs.dbc import groups, load


@pytest.fixture(scope="session")
def modules() -> Groups:
    return groups(load(dbc.path()), r"BMU(?P<module>\d\d)_")
