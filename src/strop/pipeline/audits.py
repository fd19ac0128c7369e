"""What can be audited by name, and by which answers of known worth."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strop.errors import DataError, MissingDependencyError, RecipeError, SandboxError, UserError
from strop.pipeline.sources import benchmark_of, check_benchmark_name, load_grader, read_rows, world_of
from strop.pipeline.workspace import Workspace
from strop.types import Progress, Task, Verifier

if TYPE_CHECKING:
    from rich.table import Table

    from strop.statistics import Interval
    from strop.verifiers import Audit, AuditCase
    from strop.worlds import World


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A verifier with the answers that examine it."""

    name: str
    """As it was asked for: ``number``, ``world:stack``, ``gsm8k:test.jsonl``, ``my_rewards.py:score``."""
    verifier: Verifier
    cases: Sequence[AuditCase]


def find_subject(
    name: str,
    workspace: Workspace,
    *,
    tasks: str | None = None,
    columns: Mapping[str, str] | None = None,
    limit: int = 40,
    seed: int = 0,
    kept_cases: Path | None = None,
) -> Subject:
    """The verifier of that name with its cases; ``tasks`` names a file whose ``answer`` column gives them instead,
    ``kept_cases`` one of cases as `strop failures --as cases` writes it.

    A world is asked for about ``limit`` tasks over all levels of its dial, a file for ``limit``. Raises: RecipeError,
    VerifierError, DataError.
    """
    from strop.verifiers import answer_cases

    is_source = name.startswith("world:") or benchmark_of(name) is not None
    _check_name(name, workspace)
    if kept_cases is not None:
        from strop.evals.feedback import read_cases

        if tasks is not None or columns:
            raise RecipeError("--cases brings its own tasks", do="leave out --tasks and --columns")
        verifier = load_grader(None if is_source else name, name, workspace)
        return Subject(name=name, verifier=verifier, cases=read_cases(kept_cases))
    if is_source and (tasks is not None or columns):
        raise RecipeError(f"`{name}` brings its own tasks", do="leave out --tasks and --columns, or name a verifier")
    if name.startswith("world:"):
        world = world_of(name)
        return Subject(name=name, verifier=world.verifier, cases=world_cases(world, limit=limit, seed=seed))
    if is_source:
        return _of_benchmark(name, workspace, limit)
    verifier = load_grader(name, name, workspace)
    if tasks is not None:
        rows: list[Any] = _tasks_of(tasks, workspace, columns=columns, limit=limit, seed=seed)
        return Subject(name=name, verifier=verifier, cases=answer_cases(rows))
    cases = _own_cases(name, verifier, limit, seed) if ":" not in name else []
    if not cases:
        raise RecipeError(
            f"nobody knows right and wrong answers for `{name}`",
            why="a verifier is examined on answers that are known to be right or wrong",
            do="give tasks with an `answer` column: strop audit my_rewards.py:score --tasks tasks.jsonl",
        )
    return Subject(name=name, verifier=verifier, cases=cases)


def _tasks_of(source: str, workspace: Workspace, **how: Any) -> list[Any]:
    try:
        return list(read_rows("grpo", source, workspace, **how))
    except DataError as error:
        if not error.what.endswith("has no rows"):
            raise
        raise DataError(
            error.what, where=error.where, why="there is no answer to audit the verifier on", do=error.do
        ) from error


def _check_name(name: str, workspace: Workspace) -> None:
    """Refuse a benchmark without its file, a Python file without its function, and what is nearly a benchmark.

    Raises: RecipeError.
    """
    from strop.pipeline.reading import nearest
    from strop.verifiers import VERIFIERS
    from strop.worlds.benchmarks import BENCHMARKS

    head, _, rest = name.partition(":")
    is_here = workspace.path(head).exists()
    near = head if head in BENCHMARKS else nearest(head, [*VERIFIERS, *BENCHMARKS])
    if not rest and head not in VERIFIERS and near in BENCHMARKS and not is_here:
        told = "is a benchmark and needs its file" if head in BENCHMARKS else "names no verifier and no benchmark"
        raise RecipeError(f"`{name}` {told}", do=f"write {near}:test.jsonl, the path being that of your copy")
    if not rest and head.endswith(".py"):
        functions = _functions_of(workspace.path(head))
        known = f"; the file has {', '.join(functions)}" if functions else ""
        raise RecipeError(
            f"`{name}` names a file but no function{known}", do=f"write {head}:{(functions or ['score'])[0]}"
        )
    check_benchmark_name(name, workspace)


def _functions_of(file: Path) -> list[str]:
    """The functions that a Python file defines; none if it cannot be read."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    return [one.name for one in tree.body if isinstance(one, ast.FunctionDef) and not one.name.startswith("_")]


def _of_benchmark(name: str, workspace: Workspace, limit: int) -> Subject:
    benchmark = benchmark_of(name)
    assert benchmark is not None
    rows: list[Any] = list(read_rows("grpo", name, workspace, split="test", limit=limit))
    return Subject(name=name, verifier=benchmark.verifier(), cases=benchmark.cases(rows))


def _own_cases(name: str, verifier: Verifier, limit: int, seed: int) -> Sequence[AuditCase]:
    """The verifier's own cases, else those of the world that is judged by it."""
    from strop.verifiers.cases import cases_of
    from strop.worlds import get_world, world_names

    if cases := cases_of(name, verifier):
        return cases
    worlds = [get_world(one) for one in world_names()]
    judged = next((world for world in worlds if type(world.verifier) is type(verifier)), None)
    return world_cases(judged, limit=limit, seed=seed) if judged is not None else []


def world_cases(world: World, *, limit: int = 40, seed: int = 0) -> list[AuditCase]:
    """References, mutations and cheats of tasks of every level of the world's dial, at least one of each."""
    levels = world.levels
    tasks = [task for level in levels for task in world.tasks("train", max(1, limit // len(levels)), seed, **level)]
    return cases_of_world(world, tasks)


def cases_of_world(world: World, tasks: Sequence[Task]) -> list[AuditCase]:
    """References, mutations and cheats of these tasks."""
    from strop.verifiers import reference_cases

    return reference_cases(tasks, world.reference_text, world.mutations, world.cheats)


def every_subject() -> tuple[str, ...]:
    """Every registered verifier and world, by name; what is in a user's file or a benchmark's is not among them.

    Nor is a verifier whose program, such as ``coqc``, is not installed.
    """
    from strop.verifiers.named import PROGRAMS, VERIFIERS
    from strop.worlds import world_names

    verifiers = [name for name in VERIFIERS if name not in PROGRAMS or shutil.which(PROGRAMS[name])]
    return (*verifiers, *(f"world:{name}" for name in world_names()))


def audit_subjects(
    names: Sequence[str],
    find: Callable[[str], Subject],
    *,
    optional: Collection[str] = (),
    progress: Progress | None = None,
) -> tuple[dict[str, Audit], dict[str, UserError]]:
    """The audit of each by its name, and why an ``optional`` one cannot be had on this machine.

    What the verifiers opened is closed. Raises: what ``find`` and a verifier raise, but for a package or sandbox that
    an optional one lacks.
    """
    from strop.verifiers import audit

    found: dict[str, Audit] = {}
    absent: dict[str, UserError] = {}
    for done, name in enumerate(names, 1):
        try:
            subject = find(name)
            with ExitStack() as stack:
                if hasattr(subject.verifier, "close"):
                    stack.callback(subject.verifier.close)
                found[name] = audit(subject.verifier, subject.cases)
        except (MissingDependencyError, SandboxError) as error:
            if name not in optional:
                raise
            absent[name] = error
        if progress is not None:
            progress("audit", done, len(names), {})
    return found, absent


def audit_table(audits: Mapping[str, Audit], *, policy_accuracy: float, failed: Sequence[str]) -> Table:
    """One row a verifier, for the console; ``failed`` names those that may not be trained on."""
    from rich.table import Table

    table = Table(
        title=f"verifier audits (%), and the purity of what is kept from a policy that is right {policy_accuracy:.0%}"
    )
    odd = {name: f"{one.num_ungraded}, {one.num_unstable}" for name, one in audits.items()}
    has_odd = any(text != "0, 0" for text in odd.values())
    heads = ("right rejected", "wrong accepted", "cheats", *(("ungraded, unstable",) if has_odd else ()))
    for head in ("verifier", *heads, "ms p50/p95", "purity", "audit"):
        table.add_column(head, justify="left" if head == "verifier" else "right")
    for name, found in audits.items():
        pure = found.purity(policy_accuracy)
        table.add_row(
            name,
            _share(found.num_false_reject, found.num_right, found.false_reject_interval),
            _share(found.num_false_accept, found.num_wrong, found.false_accept_interval),
            f"{found.num_cheats_accepted}/{found.num_cheats}" if found.num_cheats else "none tried",
            *((odd[name],) if has_odd else ()),
            "/".join(_milliseconds(seconds) for seconds in found.latency_s),
            f"{pure[0]:.1%} ({_range(pure[1])})" if pure else "unknown",
            "FAILED" if name in failed else "passed",
        )
    return table


def _milliseconds(seconds: float) -> str:
    """Two digits that count, never in powers of ten: ``0.036``, ``2.1``, ``1200``."""
    ms = 1000 * seconds
    if ms >= 10:
        return f"{float(f'{ms:.2g}'):.0f}"
    return f"{ms:.2g}" if ms >= 0.001 else "<0.001"


def _share(k: int, n: int, interval: Interval | None) -> str:
    return f"{k}/{n} ({_range(interval)})" if interval else "no case"


def _range(interval: Interval) -> str:
    return f"{100 * interval.low:.1f}-{100 * interval.high:.1f}"
