"""``strop judge``: a model compares two models' answers in both orders, and is held to people."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from strop.cli import console
from strop.cli.results import load_results
from strop.errors import RecipeError
from strop.pipeline.workspace import Workspace, require_writable
from strop.types import SamplingParams

if TYPE_CHECKING:
    from strop.evals import SuiteResult
    from strop.evals.judging import JudgeEvidence, JudgeResult, WinRate
    from strop.verifiers.judge_model import JudgeModel

_KEY = "STROP_JUDGE_KEY"
_INSUFFICIENT = 3
_NUM_REASONS = 3


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "judge",
        help="A model compares the answers of two results, held to people: exit 0 its word counts, 3 it does not.",
    )(judge)


def judge(
    candidate: Annotated[Path, typer.Argument(help="Results, from `strop eval --output`.")],
    baseline: Annotated[Path, typer.Argument(help="The same of the model to compare with.")],
    model: Annotated[str, typer.Option("--with", help="strop:tiny, a model folder, or a server's URL#NAME.")],
    criterion: Annotated[str, typer.Option(help="What makes an answer better, in a sentence.")],
    output: Annotated[Path, typer.Option(help="A folder for `strop gate --evidence`; a run that was killed goes on.")],
    anchors: Annotated[
        Path | None, typer.Option(help="anchors.jsonl: answers with people's labels; without them nothing follows.")
    ] = None,
    examined: Annotated[
        Path | None, typer.Option(help="anchor_report.json of when people examined the judge, to find a drift.")
    ] = None,
    dimension: Annotated[list[str] | None, typer.Option(help="What rests on this judge; may be given again.")] = None,
    suite: Annotated[str | None, typer.Option(help="One suite of the folders; else all.")] = None,
    min_anchors: Annotated[int, typer.Option(min=2, help="Fewer decide nothing.")] = 30,
    min_agreement: Annotated[float, typer.Option(min=0, max=1, help="With people, over the anchors.")] = 0.8,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Of the judge's answer.")] = 512,
) -> None:
    """Print a table a suite and how the judge stands; write the judgements, anchor_report.json and evidence.json."""
    from strop.evals.gating.evidence_folder import require_evidence_folder
    from strop.evals.judging import Limits, judge_suite, pair_anchors, read_anchor_report, read_anchors
    from strop.evals.judging.evidence import KIND
    from strop.verifiers.judge import PairwiseJudge

    if not criterion.strip():
        raise RecipeError(
            "--criterion is empty", why="nothing says what makes an answer better", do="write one sentence"
        )
    require_writable(output)
    require_evidence_folder(output, KIND)
    dimensions = _dimensions(dimension)
    pairs = _suites(candidate, baseline, suite)
    labelled = () if anchors is None else read_anchors(anchors)
    known = pair_anchors(labelled)
    before = None if examined is None else read_anchor_report(examined)
    pairwise = PairwiseJudge(judge=_model(model, max_new_tokens), criterion=criterion)
    results = []
    with console.Bars() as bars:
        for now, old in pairs:
            result = judge_suite(
                now,
                old,
                pairwise,
                anchors=known,
                before=before,
                limits=Limits(min_anchors=min_anchors, min_agreement=min_agreement),
                dimensions=dimensions,
                folder=output,
                progress=bars,
            )
            results.append(result)
    console.say(f"{len(labelled)} answers with people's labels make {len(known)} anchors for a judge of pairs")
    raise typer.Exit(0 if _written(output, results) else _INSUFFICIENT)


def _written(output: Path, results: Sequence[JudgeResult]) -> bool:
    """Write and print all of it; whether the judge's word counts."""
    from strop.evals.judging import JudgeEvidence, write_anchor_report, write_judge_evidence

    evidence = [JudgeEvidence(result=result) for result in results]
    if (stood := results[0].standing.now) is not None:
        write_anchor_report(output / "anchor_report.json", stood)
    path = write_judge_evidence(output, results)  # before anything is printed: whoever reads may leave
    for one in evidence:
        _print(one)
    console.say(f"wrote {path}")
    return not any(one.problems for one in evidence)


def _dimensions(given: Sequence[str] | None) -> tuple[str, ...]:
    from strop.evals.suite import DIMENSIONS

    for name in given or ():
        if name not in DIMENSIONS:
            raise RecipeError(f"--dimension {name} is none", do=f"choose from {', '.join(DIMENSIONS)}")
    return tuple(dict.fromkeys(given or ("helpfulness",)))


def _suites(candidate: Path, baseline: Path, suite: str | None) -> list[tuple[SuiteResult, SuiteResult]]:
    now, before = load_results(candidate), load_results(baseline)
    names = sorted(now.keys() & before.keys()) if suite is None else [suite]
    for name in names:
        if name not in now or name not in before:
            both = ", ".join(sorted(now.keys() & before.keys())) or "none"
            raise RecipeError(f"suite {name} is not in both folders", do=f"in both: {both}")
    if not names:
        raise RecipeError(f"{candidate} and {baseline} share no suite", do="evaluate both models on the same suites")
    return [(now[name], before[name]) for name in names]


def _model(named: str, max_new_tokens: int) -> JudgeModel:
    """The judge: a server's chat, whose weights only its name tells, or a model of this machine by its content."""
    from strop.verifiers.judge_model import JudgeModel

    params = SamplingParams(max_new_tokens=max_new_tokens, temperature=0.0)
    if named.startswith(("http://", "https://")):
        from strop.sampling.remote import RemoteSampler

        url, _, name = named.partition("#")
        if not name:
            raise RecipeError(f"`{named}` names no served model", do="write e.g. http://127.0.0.1:8000/v1#my-judge")
        if "@" in url.split("/")[2]:
            raise RecipeError(
                "the judge's URL has a name or password in it",
                why="the judgements keep the URL as the judge's name",
                do=f"leave it out, and set {_KEY} to the server's key",
            )
        sampler = RemoteSampler(url, name, api_key_env=_KEY if _KEY in os.environ else None)
        return JudgeModel(sampler=sampler, model=named, params=params)
    from strop.pipeline.evaluation import LazySampler
    from strop.pipeline.prepare import base_model

    ref, template = base_model(named, Workspace.here())
    return JudgeModel(sampler=LazySampler(ref.source), model=ref.digest, template=template, params=params)


def _print(evidence: JudgeEvidence) -> None:
    result: JudgeResult = evidence.result
    table = Table(
        "where", "win rate", "95 %", "wins", "losses", "ties", "undecided", "ungraded", title=f"judge of {result.suite}"
    )
    table.add_row("all", *_cells(result.win_rate()))
    slices = {where: result.win_rate(where) for where in result.slice_names()}
    for where, rate in slices.items():
        if rate.value is not None:
            table.add_row(where, *_cells(rate))
    console.make_console().print(table)
    if bare := sum(rate.value is None for rate in slices.values()):
        console.say(f"{bare} of {len(slices)} slices have no item that could be judged")
    for line in _ungraded(result):
        console.say(line)
    console.say(evidence.told())
    stands = f"nothing follows: {'; '.join(evidence.problems)}" if evidence.problems else f"the judge {result.standing}"
    console.say(stands)


def _ungraded(result: JudgeResult) -> list[str]:
    """Why items have no outcome, with counts, and an example of what the judge said."""
    from strop.verifiers.judge import SAID

    reasons = [(item, *item.reason.partition(SAID)[::2]) for item in result.items if item.outcome is None]
    if not reasons:
        return []
    counts = Counter(why or item.state for item, why, _ in reasons).most_common()
    shown = [f"{count} because {why}" for why, count in counts[:_NUM_REASONS]]
    if len(counts) > _NUM_REASONS:
        shown.append(f"{sum(count for _, count in counts[_NUM_REASONS:])} for other reasons")
    lines = [f"ungraded: {'; '.join(shown)}"]
    lines += [f"of {item.id} the judge said: {said}" for item, _, said in reasons if said][:1]
    return lines


def _cells(rate: WinRate) -> tuple[str, ...]:
    value = "undefined" if rate.value is None else f"{rate.value:.3f}"
    ends = "" if rate.interval is None else f"{rate.interval.low:.3f} to {rate.interval.high:.3f}"
    return (value, ends, *map(str, (rate.wins, rate.losses, rate.ties, rate.undecided, rate.ungraded)))
