"""``strop merge``, ``strop export`` and ``strop base build``: model folders in, model folders out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strop.cli import console
from strop.pipeline.workspace import require_writable

_Model = Annotated[str, typer.Argument(help="strop:tiny, a model or adapter folder, or a hub id.")]
_Folder = Annotated[Path, typer.Option("--output", help="The folder to write.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("merge", help="Fold an adapter into its base: a plain Hugging Face folder.")(merge)
    app.command("export", help="Write a model or adapter folder that plain transformers and peft load.")(export)
    group = typer.Typer(help="The embedded base.", no_args_is_help=True)
    group.command("build", help="Pre-train the embedded base from generators only.")(build)
    app.add_typer(group, name="base")


def merge(model: _Model, output: _Folder) -> None:
    """Merge, and compare with the trained state before it counts."""
    _write(model, output, merge=True)


def export(model: _Model, output: _Folder) -> None:
    """Export, and compare with the trained state before it counts."""
    _write(model, output, merge=False)


def _write(model: str, output: Path, *, merge: bool) -> None:
    require_writable(output.absolute().parent)
    from strop import models
    from strop.models.exporting import export as export_policy

    drift = export_policy(models.Policy.load(model), output, merge=merge)
    console.say(f"wrote {output}; its logprobs differ from the trained model's by at most {drift:.1e} nats")


def build(
    output: Annotated[Path, typer.Argument(help="The folder to write.")],
    mixture: Annotated[str, typer.Option(help="P1, or P0 without retries.")] = "P1",
    seed: Annotated[int, typer.Option(help="Of the corpus and the weights.")] = 0,
) -> None:
    """Build the base."""
    require_writable(output.absolute().parent)
    from strop.methods.pretrain import BaseSettings, build_base

    with console.Bars() as bars:
        build_base(output, BaseSettings(mixture=mixture, seed=seed), progress=bars)
    console.say(f"wrote {output}")
