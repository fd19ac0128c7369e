"""``strop gate``: may this candidate be released? One command for CI."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strop.cli import console, isolation
from strop.pipeline.workspace import Workspace, require_writable

if TYPE_CHECKING:
    from strop.evals import SuiteResult

_HELP = "Decide whether a candidate may be released: exit 0 PASS, 1 BLOCK, 3 INSUFFICIENT."


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("gate", help=_HELP)(gate)


def gate(
    candidate: Annotated[str, typer.Argument(help="A folder of results, a model, or a release NAME@ALIAS.")],
    baseline: Annotated[
        str | None, typer.Option(help="The same of what is in production; that of the configuration if absent.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="gate.toml, or a recipe with a \\[gate]; defaults if absent.")
    ] = None,
    evidence: Annotated[
        list[Path] | None, typer.Option(help="A folder of people's judgements, judges, drift …; repeatable.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where gate_report.json, gate_report.html and the results go.")
    ] = None,
    who: Annotated[str | None, typer.Option(help="Who decides; your user name if absent.")] = None,
) -> None:
    """Print the decision; with --output write the report, its page, and all results that it rests on."""
    from strop.evals import GateConfig, write_gate_report
    from strop.evals import gate as decide
    from strop.evals.gating.evidence_files import read_evidence
    from strop.evals.looks import record_looks
    from strop.pipeline.gate_file import GateFile, read_gate_file, results_of
    from strop.pipeline.heard import hear
    from strop.pipeline.held_out import held_out_evidence
    from strop.pipeline.publish import who as user
    from strop.pipeline.run import told_decision
    from strop.release.record import GATE_RESULTS

    if output is not None:
        require_writable(output)
    here = Workspace.here()
    file = GateFile(config=GateConfig(), root=here.root) if config is None else read_gate_file(config)
    with console.Bars() as bars:
        found = results_of(candidate, file, here, bars)
        before = None
        if baseline is not None:
            before = results_of(baseline, file, here, bars, found)
        elif file.baseline is not None:
            root = Workspace(home=here.home, root=file.root.absolute())
            before = results_of(file.baseline, file, root, bars, found)
    heard = [read_evidence(folder, found, before) for folder in evidence or ()]
    heard += hear(file.evidence, found, Workspace(home=here.home, root=file.root.absolute()), before)
    heard += held_out_evidence(found, before, file.config, here)
    decision = decide(found, before, file.config, heard)
    # first: a kill in between leaves a look that nobody had, and never a decision whose look is not counted
    record_looks(here.looks, found, outcome=decision.outcome, who=who or user())
    path = None
    if output is not None:  # before anything is printed: whoever reads may leave
        for side, results in (("candidate", found), ("baseline", before)):
            _save(output / GATE_RESULTS / side, results)
        path = write_gate_report(output, decision, found, before, file.config, heard, who=who or user())
    console.make_console().print(*told_decision(decision), sep="\n")
    if path is not None:
        console.say(f"wrote {path} and {path.with_suffix('.html').name}")
    isolation.say_weaker_tier()
    raise typer.Exit(decision.exit_code)


def _save(folder: Path, results: Mapping[str, SuiteResult] | None) -> None:
    """Keep what the decision rests on; what an earlier run left there goes."""
    import shutil

    from strop.files import new_folder

    if results is None:
        shutil.rmtree(folder, ignore_errors=True)
        return
    with new_folder(folder, replace=True) as fresh:
        for result in results.values():
            result.save(fresh)
