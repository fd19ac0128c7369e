"""Folders of results on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from strop.errors import RecipeError

if TYPE_CHECKING:
    from strop.evals import SuiteResult


def load_results(folder: Path) -> Mapping[str, SuiteResult]:
    """Suite → result, all of the folder's. Raises: RecipeError where there are none; MismatchError for torn ones."""
    from strop.evals.results import load_all

    found = load_all(folder)
    if not found:
        raise RecipeError(
            f"{folder} holds no results",
            where=str(folder),
            why="there is no results_*.json in it" if folder.is_dir() else "there is no such folder",
            do="write them with `strop eval MODEL --suite … --output FOLDER`",
        )
    return found


def one_of(results: Mapping[str, SuiteResult], name: str | None, folder: Path) -> SuiteResult:
    """The result of that suite, or the only one there is. Raises: RecipeError."""
    if name is None and len(results) == 1:
        return next(iter(results.values()))
    if name is None or name not in results:
        what = (
            f"{folder} has no results of suite `{name}`" if name else f"{folder} has results of {len(results)} suites"
        )
        raise RecipeError(what, where=str(folder), do=f"say which with --name: {', '.join(results)}")
    return results[name]
