"""Steps, rows and cursors."""

import pytest

from strop.errors import MismatchError, RecipeError
from strop.methods.rows import endless_rows, first_step, num_steps


@pytest.mark.parametrize(
    ("num_rows", "batch_size", "epochs", "steps"),
    [(32, 16, 1, 2), (33, 16, 1, 3), (33, 16, 2, 6), (100, 10, 0.5, 5), (100, 10, 1.25, 13), (3, 16, 1, 1)],
)
def test_a_pass_ends_with_a_smaller_batch(num_rows: int, batch_size: int, epochs: float, steps: int) -> None:
    assert num_steps(num_rows, batch_size, epochs) == steps


def test_no_rows_make_no_steps() -> None:
    with pytest.raises(RecipeError, match="no step"):
        num_steps(0, 16, 3)


def test_endless_rows_run_on_from_one_pass_into_the_next() -> None:
    rows = [row for step in range(7) for row in endless_rows(step, 5, 3, seed=1)]
    passes = [rows[start : start + 5] for start in range(0, 20, 5)]
    assert all(sorted(each) == [0, 1, 2, 3, 4] for each in passes)
    assert len({tuple(each) for each in passes}) > 1


def test_a_step_may_take_more_rows_than_there_are() -> None:
    assert sorted(endless_rows(1, 2, 5, seed=0)) in ([0, 0, 0, 1, 1], [0, 0, 1, 1, 1])


def test_a_cursor_of_something_else_is_refused_by_name() -> None:
    identity = {"rows": "abc", "seed": 0}
    assert first_step(None, identity) == 0
    assert first_step({**identity, "step": 4}, identity) == 4
    with pytest.raises(MismatchError, match="another rows"):
        first_step({"rows": "abd", "seed": 0, "step": 4}, identity)
