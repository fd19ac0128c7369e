"""``strop release list | add | promote | rollback | history | why | verify``: what may be used, and who decided it."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from strop.cli import console
from strop.errors import RecipeError, ReleaseError
from strop.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from strop.release import Registry

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
    """Print the releases, a row a gate report, with the aliases that rest on it; the same decision again once."""
    from strop.release import Registry

    registry = Registry(Workspace.here().registry)
    table = Table("name", "digest", "gate", "report", "aliases", "created", "folder")
    for release in registry.list(name):
        grounds = registry.grounds(release.bundle.name).items()
        decided: set[tuple[str, str]] = set()
        shown: list[tuple[str, ...]] = []
        for one in reversed(registry.reports(release.bundle.name, release.digest)):
            rests, decision = (one.digest, one.report["digest"]), (one.report["outcome"], one.report["config_digest"])
            aliases = ", ".join(alias for alias, found in grounds if found == rests)
            if aliases or decision not in decided:
                row = (one.bundle.name, one.digest[:12], one.report["outcome"], one.report["digest"][:12], aliases)
                shown.append((*row, one.created, str(one.bundle.folder)))
            decided.add(decision)
        for line in reversed(shown):
            table.add_row(*line)
    console.make_console().print(table)


def promote(
    reference: _Reference,
    why: _Why,
    digest: Annotated[str | None, typer.Option(help="Which release; the last added if absent.")] = None,
    report: Annotated[
        str | None, typer.Option(help="The digest of the gate report that it rests on; needed where they disagree.")
    ] = None,
    who: _Who = None,
) -> None:
    """Promote; refused unless the gate's report passes this very model."""
    from strop.release import Registry

    name, alias = _split(reference)
    event = Registry(Workspace.here().registry).promote(
        name, alias, who=who or getpass.getuser(), why=why, digest=digest, report=report
    )
    console.say(f"{reference} now points to {event.digest[:12]}, on its gate report {event.report_digest[:12]}")


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
    registry = Registry(Workspace.here().registry)
    events = registry.history(name, alias or None)
    table = Table("time", "alias", "action", "release", "report", "before", "who", "why")
    for event in events:
        digests = (event.digest[:12], event.report_digest[:12], (event.previous or "")[:12])
        table.add_row(event.time, event.alias, event.action, *digests, event.who, event.why)
    console.make_console().print(table)
    for digest in dict.fromkeys(event.digest for event in events):
        for line in _reports(registry, name, digest):
            console.say(line)


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
    registry = Registry(workspace.registry)
    known = {one.digest: registry.reports(name, one.digest) for one in registry.list(name)}
    release = registry.add(bundle, found, identify=digest_folder, candidate=candidate, baseline=baseline)
    short, says = release.digest[:12], f"report {found['digest'][:12]}: its gate says {found['outcome']}"
    earlier = known.get(release.digest, ())
    if not earlier:
        console.say(f"added {short} with {says}")
        return
    is_new = found["digest"] not in {one.report["digest"] for one in earlier}
    console.say(f"{short} is already there; {'added' if is_new else 'so is'} {says}")
    for line in _reports(registry, name, release.digest):
        console.say(line)


def why(reference: _Reference) -> None:
    """Print who, when, why, and every digest."""
    from strop.release import Registry

    name, alias = _split(reference)
    registry = Registry(Workspace.here().registry)
    records = registry.records(name, alias)
    if not records:
        raise ReleaseError(f"nothing was ever promoted to {reference}", do="see `strop release history`")
    for line in [*records[-1].told(), *_reports(registry, name, records[-1].event.digest)]:
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


def _reports(registry: Registry, name: str, digest: str) -> list[str]:
    """Every gate report of a release that has several, and which aliases rest on it."""
    found = registry.reports(name, digest)
    if len(found) < 2:
        return []
    lines = [f"release {digest[:12]} has {len(found)} gate reports:"]
    for one in found:
        rests = (digest, one.report["digest"])
        aliases = [f"{name}@{alias}" for alias, grounds in registry.grounds(name).items() if grounds == rests]
        told = f"; {', '.join(aliases)} rests on it" if aliases else ""
        lines.append(f"  report {rests[1][:12]} says {one.report['outcome']}, added {one.created}{told}")
    return lines


def _split(reference: str) -> tuple[str, str]:
    name, at, alias = reference.partition("@")
    if not at or not name or not alias:
        raise RecipeError(f"`{reference}` is no alias of a release", do="write NAME@ALIAS")
    return name, alias
