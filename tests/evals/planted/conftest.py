"""The suites of a gate, and the runs of the assistant on them: made once for all tests of planted faults."""

from __future__ import annotations

import pytest

from planted_assistant import Lab, RememberedTemplate, remembered
from strop.evals import world_suite
from strop.evals.catalogue import suite_of
from strop.models import Policy
from strop.worlds import get_world

NUM_ITEMS = 500
SOURCES = ("assistant:finance", "boundaries:finance", "sycophancy:finance", "format_drift:finance", "red_team:finance")


@pytest.fixture(scope="session")
def lab() -> Lab:
    suites = [suite_of(source, num_tasks=NUM_ITEMS) for source in SOURCES]
    suites.append(world_suite(get_world("treasury"), num_tasks=300, kinds=1, calls=0, traps=60))
    template = RememberedTemplate(Policy.load("strop:tiny").template)
    return Lab(template, tuple(map(remembered, suites)))
