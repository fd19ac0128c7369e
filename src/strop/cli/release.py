"""``strop release list | promote | rollback | history``: what may be used, and who decided it."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer
from rich.table import Table

from strop.cli import console
from strop.errors import RecipeError
from strop.pipeline.workspace import Workspace

_Reference = Annotated[str, typer.Argument(metavar="NAME@ALIAS", help="For example finance-assistant@production.")]
_Who = Annotated[str | None, typer.Option(help="Who decides; your user name if absent.")]
_Why = Annotated[str, typer.Option(help="Why; kept in the history.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Releases: list, promote, roll back, see who decided what.", no_args_is_help=True)
    group.command("list", help="List releases and the aliases that point to them.")(list_)
    group.command("promote", help="Point an alias to a release that its gate passed.")(promote)
    group.command("rollback", help="Point an alias back to the release before.")(rollback)
    group.command("history", help="Show every promotion and rollback of a name.")(history)
    app.add_typer(group, name="release")


def list_(name: Annotated[str | None, typer.Argument(help="Only this name.")] = None) -> None:
    """Print the releases."""
    from strop.release import Registry

    registry = Registry(Workspace.here().registry)
    table = Table("name", "digest", "gate", "aliases", "created", "folder")
    for release in registry.list(name):
        found = registry.aliases(release.bundle.name).items()
        aliases = ", ".join(alias for alias, digest in found if digest == release.digest)
        row = (release.bundle.name, release.digest[:12], release.report["outcome"], aliases, release.created)
        table.add_row(*row, str(release.bundle.folder))
    console.make_console().print(table)


def promote(
    reference: _Reference,
    why: _Why,
    digest: Annotated[str | None, typer.Option(help="Which release; the last added if absent.")] = None,
    who: _Who = None,
) -> None:
    """Promote; refused unless the gate's report passes this very model."""
    from strop.release import Registry

    name, alias = _split(reference)
    event = Registry(Workspace.here().registry).promote(
        name, alias, who=who or getpass.getuser(), why=why, digest=digest
    )
    console.say(f"{reference} now points to {event.digest[:12]}")


def rollback(reference: _Reference, why: _Why, who: _Who = None) -> None:
    """Roll back."""
    from strop.release import Registry

    name, alias = _split(reference)
    event = Registry(Workspace.here().registry).rollback(name, alias, who=who or getpass.getuser(), why=why)
    console.say(f"{reference} points to {event.digest[:12]} again")


def history(name: Annotated[str, typer.Argument(help="NAME or NAME@ALIAS.")]) -> None:
    """Print the events, oldest first."""
    from strop.release import Registry

    name, _, alias = name.partition("@")
    table = Table("time", "alias", "action", "release", "before", "who", "why")
    for event in Registry(Workspace.here().registry).history(name, alias or None):
        before = (event.previous or "")[:12]
        table.add_row(event.time, event.alias, event.action, event.digest[:12], before, event.who, event.why)
    console.make_console().print(table)


def _split(reference: str) -> tuple[str, str]:
    name, at, alias = reference.partition("@")
    if not at or not name or not alias:
        raise RecipeError(f"`{reference}` is no alias of a release", do="write NAME@ALIAS")
    return name, alias
