"""``strop label``: people compare two models' answers, blind, on a page of this machine; what they said; exports."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from unicodedata import normalize

import typer
from typer.core import TyperGroup

from strop.cli import console
from strop.errors import MissingDependencyError, RecipeError
from strop.pipeline.workspace import require_writable

if TYPE_CHECKING:
    from strop.evals.people import PeopleReport, Session

_INSUFFICIENT = 3
_MIN_REPEATS = 5
"""Fewer say nothing of a habit."""
Folder = Annotated[Path, typer.Argument(metavar="SESSION", help="The folder of a session.")]
MaxMissed = Annotated[
    float, typer.Option(min=0, max=1, help="Annotators who miss more of their attention checks do not count.")
]


class As(StrEnum):
    """What an export is for."""

    PAIRS = "pairs"
    ANCHORS = "anchors"


class _ServesByDefault(TyperGroup):
    """``strop label A B`` means ``strop label serve A B``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["serve", *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(cls=_ServesByDefault, no_args_is_help=True)
    group.command("serve", help="Make or continue a session and serve its page (also without the word `serve`).")(serve)
    group.command("report", help="Win rates, agreement, what swayed people; --output for the gate.")(report)
    group.command("export", help="Pairs for DPO, with who said so; or anchors for a judge.")(export)
    app.add_typer(group, name="label", help="People compare two models' answers, blind, in the browser.")


def serve(
    context: typer.Context,
    candidate: Annotated[Path | None, typer.Argument(help="Results, from `strop eval --output`.")] = None,
    baseline: Annotated[Path | None, typer.Argument(help="The same of the model to compare with.")] = None,
    suite: Annotated[str | None, typer.Option(help="The suite's name, where the folders hold several.")] = None,
    session: Annotated[
        Path | None, typer.Option(help="Where the session lives; alone it is continued. Default: runs/label-SUITE.")
    ] = None,
    annotator: Annotated[str | None, typer.Option(help="Who judges; else the page asks.")] = None,
    pairs: Annotated[int, typer.Option(min=1, help="Items of the fixed sample set.")] = 200,
    repeat: Annotated[float, typer.Option(min=0, max=0.5, help="Share shown twice, seats changed.")] = 0.1,
    attention: Annotated[float, typer.Option(min=0, max=0.5, help="Attention checks, as a share of the pairs.")] = 0.05,
    rubric: Annotated[Path | None, typer.Option(help="TOML or JSON: instructions and aspects.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sample set, orders and seats.")] = 0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: that of the last time, or any.")] = 0,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Serve until Ctrl-C; then say how far everybody is."""
    serving = _serving()
    if candidate is None:
        if session is None:
            raise RecipeError("nothing to judge", do="give two folders of results, or --session to continue one")
        _refuse_without_effect(context)
        made = _open(session)
    else:
        made = _make(candidate, baseline, suite, session, rubric, (pairs, repeat, attention, seed))
    if annotator is not None:
        annotator = normalize("NFC", annotator)
        made.places(annotator)  # refuses a name that is none
    bound = serving.listen(port, made.port)
    number = bound.getsockname()[1]
    made.remember_port(number)
    address = f"http://{serving.HOST}:{number}/{made.token}/"
    if annotator is not None:
        from urllib.parse import quote

        address += f"?annotator={quote(annotator)}"
    console.say(f"session {made.folder}: {len(made.pairs)} pairs, repeats and checks")
    console.say(f"open {address}")
    console.say("for this machine only; every answer is saved at once; Ctrl-C ends, the same command continues")
    if open_:
        import webbrowser

        webbrowser.open(address)
    serving.serve(made, bound)
    for line in _progress(made):
        console.say(line)
    console.say(f"next: strop label report {made.folder}")


def report(
    session: Folder,
    max_missed: MaxMissed = 0.25,
    output: Annotated[
        Path | None, typer.Option(help="A folder for report.json and evidence.json (`strop gate --evidence`).")
    ] = None,
) -> None:
    """Print what people said; write it with --output. Exit 3 where nobody's word counts."""
    from strop.evals.gating.evidence_folder import require_evidence_folder
    from strop.evals.people import analyse, write_people_evidence
    from strop.evals.people.evidence import KIND
    from strop.evals.people.tables import people_tables
    from strop.files import write_json
    from strop.pipeline.summary import console_table

    if output is not None:
        require_writable(output)
        require_evidence_folder(output, KIND)
    opened = _open(session)
    found = analyse(opened, max_missed=max_missed)
    wrote: list[Path] = []
    if output is not None:  # before anything is printed: whoever reads may leave
        write_json(output / "report.json", found.to_json())
        wrote = [output / "report.json", write_people_evidence(output, found.evidence())]
    tables = people_tables(found, seed=opened.plan.seed)
    for shown in tables if found.tallies else tables[1:2]:  # the annotators alone where nobody's word counts
        console.make_console().print(console_table(shown))
    for line in [*_told(found), *(f"wrote {path}" for path in wrote)]:
        console.say(line)
    if not found.tallies:
        raise typer.Exit(_INSUFFICIENT)


def export(
    session: Folder,
    output: Annotated[Path, typer.Argument(metavar="FILE", help="The JSONL to write.")],
    as_: Annotated[As, typer.Option("--as", help="pairs: for DPO; anchors: for `strop judge --anchors`.")] = As.PAIRS,
    min_share: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Of a pair's votes that must agree; if absent 0.6, for anchors 1."),
    ] = None,
    min_annotators: Annotated[int, typer.Option(min=1, help="Votes that a pair must have.")] = 1,
    max_missed: MaxMissed = 0.25,
) -> None:
    """Write what people said, and say what was left out; nothing to write is refused."""
    from strop.evals.judging import write_anchors
    from strop.evals.people import analyse, anchors, write_preferences

    require_writable(output.parent)
    opened = _open(session)
    found = analyse(opened, max_missed=max_missed)
    if as_ is As.ANCHORS:
        held = anchors(opened, found, min_share=1 if min_share is None else min_share, num_annotators=min_annotators)
        _require_some(len(held), found, "no pair is decided so clearly")
        write_anchors(output, held)
        console.say(f"wrote {len(held)} anchors of {len(held) // 2} pairs to {output}")
        return
    share = 0.6 if min_share is None else min_share
    done = write_preferences(output, opened, found, min_share=share, num_annotators=min_annotators)
    left_out = ", ".join(f"{count} {why}" for why, count in sorted(done.dropped.items()))
    _require_some(done.num_written, found, f"left out: {left_out}")
    console.say(f"wrote {done.num_written} pairs to {output}")
    if done.dropped:
        console.say(f"left out: {left_out}")


# ---------------------------------------------------------------------------------------------------------------- parts


def _serving() -> Any:
    """The server's module. Raises: MissingDependencyError."""
    try:
        from strop.evals.people import server
    except ImportError as error:
        raise MissingDependencyError(
            "the labelling page needs the packages `fastapi` and `uvicorn`",
            why=f"they are not installed ({error})",
            do='pip install "strop[serve]"',
        ) from error
    return server


def _refuse_without_effect(context: typer.Context) -> None:
    """Raise RecipeError for a setting of a new session where one is continued."""
    for name in ("suite", "pairs", "repeat", "attention", "rubric", "seed"):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise RecipeError(
                f"--{name} has no effect on a session that is continued",
                why="its pairs and its rubric are fixed",
                do="leave it out, or give two folders of results for a new session",
            )


def _open(folder: Path) -> Session:
    from strop.evals.people import Session

    return Session.open(folder)


def _make(
    candidate: Path,
    baseline: Path | None,
    suite: str | None,
    session: Path | None,
    rubric: Path | None,
    drawn: tuple[int, float, float, int],
) -> Session:
    """The session of two folders of results, new or as it stands."""
    from strop.evals import SuiteResult
    from strop.evals.people import DEFAULT, Plan, Session, read_rubric

    if baseline is None:
        raise RecipeError("there is nothing to compare with", do="give a second folder of results, of the baseline")
    name = _suite_name(candidate, suite)
    num_pairs, repeat, attention, seed = drawn
    folder = session or Path("runs") / f"label-{name}"
    require_writable(folder)
    return Session.create(
        folder,
        SuiteResult.load(candidate, name),
        SuiteResult.load(baseline, name),
        plan=Plan(num_pairs=num_pairs, repeat=repeat, attention=attention, seed=seed),
        rubric=DEFAULT if rubric is None else read_rubric(rubric),
        names=(str(candidate), str(baseline)),
    )


def _suite_name(folder: Path, suite: str | None) -> str:
    from strop.evals.results import result_names

    names = result_names(folder)
    if suite is None and len(names) == 1:
        return names[0]
    if suite is None or suite not in names:
        raise RecipeError(
            f"{folder} holds no results of suite {suite!r}" if suite else f"{folder} holds {len(names)} suites",
            where=str(folder),
            do=f"name one with --suite: {', '.join(names)}" if names else "write results with `strop eval … --output`",
        )
    return suite


def _progress(session: Session) -> list[str]:
    """How far everybody is."""
    judged = session.last()
    names = sorted({annotator for annotator, _ in judged})
    if not names:
        return ["nothing was judged"]
    total = len(session.places(names[0]))
    return [f"{name}: {sum(one == name for one, _ in judged)} of {total} judged" for name in names]


def _require_some(num_written: int, found: PeopleReport, why: str) -> None:
    """Raise RecipeError for an export of nothing."""
    if num_written:
        return
    if not found.tallies:
        why = _nobody(found)
    raise RecipeError(
        "there is nothing to export, and nothing was written",
        why=why,
        do="let people judge more; `strop label report` says who does not count",
    )


def _nobody(found: PeopleReport) -> str:
    """Why no pair has a vote that counts."""
    if found.excluded and len(found.excluded) == len(found.annotators):
        return "no annotator counts: each missed too many attention checks"
    return "nobody who counts has judged a pair"


def _told(found: PeopleReport) -> list[str]:
    """What the tables do not say."""
    lines = [f"session {found.session}"]
    if not found.tallies:
        lines.append(f"{_nobody(found)}; there is no win rate")
    for name in found.excluded:
        one = found.annotators[name].attention
        lines.append(f"{name} does not count: {one.missed} of {one.shown} attention checks missed")
    lines += [
        f"{name} goes by the seat: on {one.consistency.same_seat} of {one.consistency.num_repeats} repeats the same "
        "seat won with the answers exchanged"
        for name, one in found.annotators.items()
        if one.consistency.num_repeats >= _MIN_REPEATS and one.consistency.same_seat > one.consistency.num_same
    ]
    return lines
