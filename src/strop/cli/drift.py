"""``strop drift``: whether what stands around the weights is still what it was."""

from __future__ import annotations

from typing import Annotated

import typer

from strop.cli import console
from strop.errors import RecipeError

_Side = Annotated[str, typer.Argument(help="A model, adapter or release folder, strop:tiny, or a folder of results.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "drift",
        help="What changed around the weights (template, tokenizer, tools, index, decoding): exit 0 nothing, 1 drift.",
    )(drift)


def drift(
    before: _Side,
    after: _Side,
    allow: Annotated[list[str] | None, typer.Option(help="A part that may change: template, tools …")] = None,
) -> None:
    """Print what changed, a paragraph each."""
    from strop.evals.drift import CHECKS
    from strop.evals.drift.folders import folder_drift

    for part in allow or ():
        if part not in CHECKS:
            raise RecipeError(f"--allow {part} names nothing that drifts", do=f"choose from {', '.join(CHECKS)}")
    checks = folder_drift(before, after, allowed=frozenset(allow or ()))
    for check in checks:
        console.say(f"{'DRIFT' if check.outcome == 'BLOCK' else 'allowed'}  {check.name}: {check.reason}")
    drifted = [check for check in checks if check.outcome == "BLOCK"]
    if not drifted:
        rest = ", but for what is allowed" if checks else ""
        console.say(f"no drift: {', '.join(CHECKS)} of {after} are those of {before}{rest}")
    raise typer.Exit(1 if drifted else 0)
