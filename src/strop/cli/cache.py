"""``strop cache list | clean``: what is kept between runs."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from strop.cli import console
from strop.pipeline.workspace import Workspace, cache_entries, clean_cache

_KINDS = {"all": {"stage", "evaluation", "unfinished", "litter"}, "litter": {"litter"}}


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="List or clean what is kept between runs.", no_args_is_help=True)
    group.command("list", help="List finished and unfinished stages and evaluations.")(list_)
    group.command("clean", help="Remove things from the cache; what a run is working on stays.")(clean)
    app.add_typer(group, name="cache")


def list_() -> None:
    """Print the cache."""
    workspace = Workspace.here()
    table = Table("kind", "key", "what", "MiB", caption=str(workspace.home), caption_justify="left")
    for entry in cache_entries(workspace):
        table.add_row(entry.kind, entry.key[:16], entry.title, f"{entry.size_bytes / 2**20:.1f}")
    console.make_console().print(table)


def clean(
    key: Annotated[str, typer.Argument(help="Only entries whose key starts so.")] = "",
    litter: Annotated[bool, typer.Option("--litter", help="Only what killed runs left half-written.")] = False,
) -> None:
    """Remove entries."""
    gone = clean_cache(Workspace.here(), frozenset(_KINDS["litter" if litter else "all"]), key)
    freed = sum(entry.size_bytes for entry in gone) / 2**20
    console.say(f"removed {len(gone)} entries, {freed:.1f} MiB")
