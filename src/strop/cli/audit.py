"""``strop audit``: how far a verifier can be trusted, on answers that are known to be right, wrong or a cheat."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from strop.cli import console, isolation
from strop.errors import OutputError, RecipeError, VerifierError
from strop.pipeline.workspace import Workspace, require_writable

if TYPE_CHECKING:
    from strop.pipeline.audits import Subject
    from strop.verifiers import Audit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("audit", help="Examine verifiers on known answers: exit 0 all passed, 1 one failed.")(audit)


def audit(
    verifiers: Annotated[
        list[str] | None,
        typer.Argument(metavar="VERIFIER...", help="number, world:NAME, gsm8k:PATH, my_rewards.py:score …"),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every verifier and world that runs on this machine.")] = False,
    tasks: Annotated[str | None, typer.Option(help="A file whose `answer` column gives right and wrong ones.")] = None,
    columns: Annotated[list[str] | None, typer.Option(help="ROLE=COLUMN, repeatable, for that file.")] = None,
    cases: Annotated[Path | None, typer.Option(help="A file of `strop failures --as cases`, instead.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Tasks of a world, over all its levels, or of a file.")] = 40,
    seed: Annotated[int, typer.Option(help="Of a world's tasks.")] = 0,
    accuracy: Annotated[float, typer.Option(min=0, max=1, help="The policy's, for the purity of what is kept.")] = 0.5,
    max_false_accept: Annotated[float, typer.Option(min=0, max=1, help="Of wrong answers; cheats never.")] = 0.0,
    max_false_reject: Annotated[float, typer.Option(min=0, max=1, help="Of right answers.")] = 0.0,
    output: Annotated[
        Path | None, typer.Option(help="A JSON file, to be named as `audit` of a recipe's stage.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the JSON.")] = False,
) -> None:
    """Print a row a verifier and what failed; write everything with --output."""
    from strop.pipeline.audits import audit_subjects, audit_table, every_subject, find_subject
    from strop.pipeline.sources import parse_columns
    from strop.verifiers.audit import audits_record, write_audits

    names = [*(verifiers or ()), *(every_subject() if all_ else ())]
    if not names:
        raise RecipeError("no verifier was named", do="name one, or give --all")
    if output is not None:
        if output.is_dir():
            raise OutputError(
                f"{output} is a folder",
                where=str(output.absolute()),
                why="the audit is one file",
                do=f"name the file: --output {output / 'audit.json'}",
            )
        require_writable(output.parent)
    workspace, mapping = Workspace.here(), parse_columns(columns or [])

    def find(name: str) -> Subject:
        return find_subject(name, workspace, tasks=tasks, columns=mapping, limit=limit, seed=seed, kept_cases=cases)

    with console.Bars() as bars:
        named = set(verifiers or ())
        optional = [name for name in names if name not in named]
        audits, absent = audit_subjects(list(dict.fromkeys(names)), find, optional=optional, progress=bars)
    limits = {"max_false_accept": max_false_accept, "max_false_reject": max_false_reject}
    failed = [(name, error) for name, found in audits.items() if (error := _failure(found, limits)) is not None]
    if output is not None:
        write_audits(output, audits, policy_accuracy=accuracy)
    if as_json:
        print(json.dumps(audits_record(audits, policy_accuracy=accuracy), indent=2))
    else:
        _print(audit_table(audits, policy_accuracy=accuracy, failed=[name for name, _ in failed]), audits, failed)
        if output is not None:
            console.say(f"wrote {output}")
    for name, why in absent.items():
        console.say_on_stderr(f"{name} was not audited: {why.what}; {why.do}")
    isolation.say_weaker_tier()
    raise typer.Exit(1 if failed else 0)


def _failure(found: Audit, limits: Mapping[str, float]) -> VerifierError | None:
    try:
        found.require(**limits)
    except VerifierError as error:
        return error
    return None


def _print(table: object, audits: Mapping[str, Audit], failed: list[tuple[str, VerifierError]]) -> None:
    screen = console.make_console()
    screen.print(table)
    for name, error in failed:
        screen.print(Text(f"{name}: {error.what}", style="red"), soft_wrap=True)
        for failure in audits[name].failures:
            screen.print(Text(f"  {failure}"), soft_wrap=True)
