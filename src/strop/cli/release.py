"""``strop release list | add | promote | rollback | history | why | verify``: what may be used, and who decided it."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from strop.cli import console
from strop.errors import RecipeError, ReleaseError
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
    group.command("add", help="Add a model with its gate's report and results.")(add)
    group.command("why", help="Print the record of the decision that an alias rests on.")(why)
    group.command("verify", help="Make every decision again from its record: exit 0 all the same, 1 not.")(verify)
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


def add(
    name: Annotated[str, typer.Argument(help="The release's name.")],
    model: Annotated[str, typer.Argument(help="The model folder that was gated.")],
    report: Annotated[Path, typer.Option(help="What `strop gate MODEL --output FOLDER` left: the folder.")],
) -> None:
    """Add a release; promoting it is another step."""
    from strop.digests import digest_folder
    from strop.evals import read_gate_report
    from strop.pipeline.prepare import base_model
    from strop.release import Bundle, Registry
    from strop.release.record import GATE_RESULTS, load_results

    workspace = Workspace.here()
    found = read_gate_report(report / "gate_report.json")
    candidate, baseline = load_results(report / GATE_RESULTS)
    ref, template = base_model(model, workspace)
    bundle = Bundle(name=name, folder=workspace.path(model), digests={"model": ref.digest, "template": template.digest})
    release = Registry(workspace.registry).add(
        bundle, found, identify=digest_folder, candidate=candidate, baseline=baseline
    )
    console.say(f"added {release.digest[:12]}; its gate says {found['outcome']}")


def why(reference: _Reference) -> None:
    """Print who, when, why, and every digest."""
    from strop.release import Registry

    name, alias = _split(reference)
    records = Registry(Workspace.here().registry).records(name, alias)
    if not records:
        raise ReleaseError(f"nothing was ever promoted to {reference}", do="see `strop release history`")
    for line in records[-1].told():
        console.say(line)


def verify(name: Annotated[str, typer.Argument(help="NAME or NAME@ALIAS; every name if absent.")] = "") -> None:
    """Print a line a promotion."""
    from strop.release import Registry

    name, _, alias = name.partition("@")
    records = Registry(Workspace.here().registry).records(name or None, alias or None)
    if not records:
        raise ReleaseError(f"nothing was ever promoted{' of ' + name if name else ''}", do="see `strop release list`")
    failed = 0
    for record in records:
        event, problems = record.event, record.problems()
        failed += bool(problems)
        told = "; ".join(problems) or f"the gate decides {record.report['outcome']} again, with the same numbers"
        console.say(f"{event.time} {event.action} {event.name}@{event.alias} {event.digest[:12]}: {told}")
    raise typer.Exit(1 if failed else 0)


def _split(reference: str) -> tuple[str, str]:
    name, at, alias = reference.partition("@")
    if not at or not name or not alias:
        raise RecipeError(f"`{reference}` is no alias of a release", do="write NAME@ALIAS")
    return name, alias
