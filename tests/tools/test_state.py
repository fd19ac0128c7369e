"""A world is its rows and its day: undo brings back exactly what was, and no tenant sees another's rows."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.errors import ToolError, ToolRefusal
from strop.tools import SHARED, WorldState

TODAY = date(2025, 9, 30)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["bank_A", "bank_B", SHARED]),
        st.sampled_from(["accounts", "vendors"]),
        st.sampled_from(["1", "2", "3"]),
        st.one_of(st.none(), st.integers(0, 9)),
    ),
    max_size=15,
)


def apply(state: WorldState, changes: list[tuple[str, str, str, int | None]]) -> None:
    for tenant, table, key, value in changes:
        if value is not None:
            state.put(tenant, table, key, {"value": value})
        elif state.get(tenant, table, key) is not None:
            state.remove(tenant, table, key)


@given(CHANGES, CHANGES)
def test_a_rollback_brings_back_the_world_of_the_snapshot(
    first: list[tuple[str, str, str, int | None]], then: list[tuple[str, str, str, int | None]]
) -> None:
    state = WorldState(today=TODAY)
    apply(state, first)
    before, mark = state.digest, state.snapshot()
    apply(state, then)
    state.rollback(mark)
    assert state.digest == before
    state.rollback(0)
    assert state.digest == WorldState(today=TODAY).digest


@given(st.permutations(range(6)))
def test_the_order_of_writing_does_not_change_the_digest(order: list[int]) -> None:
    worlds = []
    for keys in (range(6), order):
        state = WorldState(today=TODAY)
        for key in keys:
            state.put("bank_A", "accounts", str(key), {"a": key, "b": 1})
        worlds.append(state.digest)
    assert worlds[0] == worlds[1]


def test_the_digest_tells_rows_tenants_and_days_apart() -> None:
    def world(day: date, tenant: str, value: int) -> str:
        return WorldState(today=day, rows={tenant: {"accounts": {"1": {"v": value}}}}).digest

    other = date(2025, 10, 1)
    assert len({world(TODAY, "a", 1), world(other, "a", 1), world(TODAY, "b", 1), world(TODAY, "a", 2)}) == 4


def test_a_row_that_was_read_or_given_can_be_changed_without_changing_the_world() -> None:
    row = {"tags": ["a"]}
    state = WorldState(today=TODAY, rows={"bank_A": {"t": {"1": row}}})
    row["tags"].append("b")
    found = state.get("bank_A", "t", "1")
    assert found == {"tags": ["a"]}
    found["tags"].append("c")
    state.rows("bank_A", "t")["1"]["tags"].append("d")
    assert state.get("bank_A", "t", "1") == {"tags": ["a"]}


def test_a_copy_goes_its_own_way() -> None:
    state = WorldState(today=TODAY, rows={"bank_A": {"t": {"1": {"v": 1}}}})
    other = state.copy()
    assert other.digest == state.digest
    other.put("bank_A", "t", "1", {"v": 2})
    assert state.get("bank_A", "t", "1") == {"v": 1}


def test_a_view_has_its_tenants_rows_and_the_shared_ones_only() -> None:
    rates = {"EUR": {"rate": 1}, "USD": {"rate": 2}}
    state = WorldState(
        today=TODAY,
        rows={SHARED: {"rates": rates}, "bank_A": {"rates": {"USD": {"rate": 3}}}, "bank_B": {"t": {"1": {}}}},
    )
    view = state.view("bank_A", can_write=True)
    assert view.rows("rates") == {"EUR": {"rate": 1}, "USD": {"rate": 3}}
    assert (view.get("rates", "EUR"), view.get("t", "1"), view.rows("t")) == ({"rate": 1}, None, {})
    with pytest.raises(KeyError):
        view.remove("rates", "EUR")
    view.put("rates", "EUR", {"rate": 9})
    assert state.get(SHARED, "rates", "EUR") == {"rate": 1}


def test_a_view_that_only_reads_refuses_to_write() -> None:
    view = WorldState(today=TODAY, rows={"a": {"t": {"1": {}}}}).view("a", can_write=False)
    with pytest.raises(ToolRefusal):
        view.put("t", "2", {})
    with pytest.raises(ToolRefusal):
        view.remove("t", "1")


def test_what_is_not_json_is_no_row() -> None:
    with pytest.raises(ToolError, match="not JSON"):
        WorldState(today=TODAY).put("a", "t", "1", {"day": TODAY})


def test_the_world_returns_only_to_where_it_has_been() -> None:
    with pytest.raises(ToolError, match="cannot return"):
        WorldState(today=TODAY).rollback(1)
