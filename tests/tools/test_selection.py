"""Of many tools, those that fit a request are found by what their contracts say."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

from strop.tools import Caller, ToolContract, ToolRegistry
from strop.tools.retrieval import ToolIndex

ANYONE = Caller(tenant="bank_A")


def named(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64]


@pytest.fixture(scope="module")
def functions_and_requests(shared_data: Path) -> tuple[dict[str, ToolContract], list[tuple[str, str]]]:
    """The functions of BFCL's "multiple" by name, and its 200 requests, each with the function that it needs."""
    folder = shared_data / "bfcl"
    if not folder.exists():
        pytest.skip("the BFCL files are not there")
    rows = [json.loads(line) for line in (folder / "BFCL_v4_multiple.json").read_text().splitlines()]
    lines = (folder / "possible_answer__BFCL_v4_multiple.json").read_text().splitlines()
    answers = {row["id"]: next(iter(row["ground_truth"][0])) for row in map(json.loads, lines)}
    contracts = {}
    for function in (function for row in rows for function in row["function"]):
        parameters = {**function["parameters"], "type": "object"}
        contracts[named(function["name"])] = ToolContract(
            name=named(function["name"]), description=function["description"], parameters=parameters
        )
    return contracts, [(row["question"][0][-1]["content"], named(answers[row["id"]])) for row in rows]


def hits(contracts: dict[str, ToolContract], requests: list[tuple[str, str]], num: int, k: int) -> float:
    """The share of requests whose function is among the best ``k`` of ``num`` tools, drawn anew for each."""
    rng, found = random.Random(0), 0
    whole = ToolIndex(registry=ToolRegistry(list(contracts.values())))
    for request, right in requests:
        index = whole
        if num < len(contracts):
            names = [*rng.sample([name for name in contracts if name != right], num - 1), right]
            index = ToolIndex(registry=ToolRegistry([contracts[name] for name in names]))
        found += right in index.select(request, ANYONE, k=k).names
    return found / len(requests)


def test_the_right_function_of_hundreds_is_among_the_first_five(
    functions_and_requests: tuple[dict[str, ToolContract], list[tuple[str, str]]],
) -> None:
    contracts, requests = functions_and_requests
    first = {num: hits(contracts, requests, num, 1) for num in (5, 80, len(contracts))}
    curve = list(first.values())
    assert len(contracts) > 400
    assert curve == sorted(curve, reverse=True)
    assert curve[0] > 0.97  # measured 0.985, 0.93, 0.82: chance is 0.2, 0.0125, 0.0023
    assert curve[-1] > 0.78
    assert hits(contracts, requests, len(contracts), 5) > 0.94  # measured 0.96


TOOLS = [
    ToolContract(name="get_balance", description="Balance of an account.", parameters={"type": "object"}),
    ToolContract(name="get_rate", description="Exchange rate of a day.", parameters={"type": "object"}),
    ToolContract(
        name="pay",
        description="Transfer from an account.",
        parameters={"type": "object", "properties": {"urgency": {"enum": ["instant", "normal"]}}},
        permission="treasury.write",
    ),
]


def test_a_tool_that_the_caller_may_not_call_is_not_selected_and_moves_nothing() -> None:
    index = ToolIndex(registry=ToolRegistry(TOOLS))
    assert index.select("instant transfer from my account", ANYONE).names == ("get_balance",)
    clerk = replace(ANYONE, permissions=frozenset({"treasury.write"}))
    assert index.select("instant transfer from my account", clerk).names == ("pay", "get_balance")


def test_the_order_of_the_registry_does_not_change_the_selection() -> None:
    one, other = (ToolIndex(registry=ToolRegistry(tools)) for tools in (TOOLS, TOOLS[::-1]))
    assert one.index_digest == other.index_digest
    for query in ("account balance", "rate", "of"):
        assert one.select(query, ANYONE).names == other.select(query, ANYONE).names
