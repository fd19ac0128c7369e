"""What must be known of a suite before its numbers are read: how large it may be, what repeats, odd scores."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from strop.errors import RecipeError

if TYPE_CHECKING:
    from strop.evals import Suite, SuiteResult

MAX_DRAWN_ITEMS = 100_000
"""The most items that are drawn from a world: they are held in memory, and every one is asked."""


def is_drawn(source: str) -> bool:
    """Whether the source draws its items, ``world:NAME`` or ``KIND:WORLD``, and so has as many as one asks for."""
    from strop.evals.catalogue import kind_of

    return source.startswith("world:") or kind_of(source) is not None


def require_drawable(source: str, num_items: int) -> None:
    """Raise RecipeError for more items of a world than are drawn."""
    if num_items > MAX_DRAWN_ITEMS and is_drawn(source):
        raise RecipeError(
            f"{num_items:,} items of {source} are not drawn",
            why=f"a world draws as many as it is asked for, every one is kept in memory and answered, and at most "
            f"{MAX_DRAWN_ITEMS:,} are; 1,000 give an interval of about 6 points, 10,000 of about 2",
            do="set a smaller --limit (in a recipe `limit`)",
        )


def suite_notes(suite: Suite, source: str, num_asked: int) -> list[str]:
    """Lines about the items: fewer than ``num_asked`` to keep groups whole, ids and questions that stand twice."""
    from strop.evals.suite import asked_digest

    num_items = len(suite.tasks)
    lines = []
    counts = Counter(map(asked_digest, suite.tasks))
    num_repeats = num_items - len(counts)
    if is_drawn(source):
        has_groups = any(task.cluster for task in suite.tasks)
        if has_groups and num_items < num_asked:
            lines.append(f"{suite.name}: {num_items} of the {num_asked} items asked for: groups are kept whole")
        if num_repeats and not has_groups:
            lines.append(
                f"{suite.name}: {num_repeats} of {num_items} items repeat the question of another: "
                f"{source} has not so many different ones, and its intervals are a little too narrow"
            )
        return lines
    num_renamed = _num_renamed(suite)
    if num_renamed:
        have = "item has" if num_renamed == 1 else "items have"
        lines.append(f"warning: {suite.name}: {num_renamed} {have} the id of another; they are called ID#2 and so on")
    if num_repeats:
        ask = "item asks" if num_repeats == 1 else "items ask"
        lines.append(
            f"warning: {suite.name}: {num_repeats} {ask} what another asks; together they are one piece of evidence"
        )
    return lines


def _num_renamed(suite: Suite) -> int:
    """How many ids were made unique when the rows were read (``strop.data``); an id of content alone names no row."""
    ids = {task.id for task in suite.tasks}
    heads = [task.id.rpartition("#") for task in suite.tasks]
    return sum(head in ids and number.isdecimal() and not _is_content(head) for head, _, number in heads)


def _is_content(name: str) -> bool:
    return len(name) == 16 and set(name) <= set("0123456789abcdef")


def score_notes(result: SuiteResult, suite: Suite) -> list[str]:
    """A line where a verifier gives scores outside 0 to 1: what passes, which is what accuracy counts."""
    scores = [sample.score for sample in result.samples if sample.score is not None]
    num_outside = sum(not 0 <= score <= 1 for score in scores)
    if not num_outside:
        return []
    pass_at = getattr(suite.verifier, "pass_at", None)
    passes = "what the verifier says passed" if pass_at is None else f"a score of {pass_at:g} or more"
    lie = "lies" if num_outside == 1 else "lie"
    return [
        f"warning: {result.name}: {num_outside} of {len(scores)} scores {lie} outside "
        f"0 to 1 ({min(scores):g} to {max(scores):g}); accuracy counts what passed, and passed means {passes}, unless "
        "the verifier returns `passed` itself"
    ]
