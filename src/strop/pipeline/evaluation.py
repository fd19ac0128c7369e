"""A gate's suites, and each model's results on them, cached by content: a model is loaded only if it must answer."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strop.digests import digest_json
from strop.errors import RecipeError
from strop.pipeline.prepare import lowest
from strop.pipeline.reading import nearest
from strop.pipeline.recipe import PriceTable, SuiteTable
from strop.pipeline.sources import benchmark_of, load_grader, read_rows, world_of
from strop.pipeline.stages import ModelRef
from strop.pipeline.suite_notes import require_drawable
from strop.pipeline.workspace import Workspace
from strop.types import Completion, Progress, Sampler, SamplingParams

if TYPE_CHECKING:
    from strop.chat import ChatTemplate
    from strop.evals import GateConfig, Price, Suite, SuiteResult

_ODD = re.compile(r"[^A-Za-z0-9_-]+")
SERVER_KEY = "STROP_SERVER_KEY"
"""The environment variable that holds a server's key, where it wants one."""
Results = Mapping[str, "SuiteResult"]
"""Suite name → what a model did on it."""


@dataclass(frozen=True, kw_only=True)
class SuiteRun:
    """A suite and how its answers are drawn."""

    suite: Suite
    params: SamplingParams
    samples_per_task: int
    price: Price | None = None


def load_suites(
    tables: Sequence[str | SuiteTable],
    workspace: Workspace,
    *,
    limit: int | None = None,
    seed: int = 0,
    world_split: str = "test",
) -> tuple[SuiteRun, ...]:
    """The suites with their held-out tasks; one drawn at a temperature is followed by its greedy twin.

    ``world_split`` is what a ``world:NAME`` is asked of.

    Raises: RecipeError if two have one name; DataError, VerifierError.
    """
    runs: list[SuiteRun] = []
    for entry in tables:
        table = SuiteTable(tasks=entry) if isinstance(entry, str) else entry
        run = SuiteRun(
            suite=_suite(table, workspace, lowest(table.limit, limit) or table.limit, world_split),
            params=SamplingParams(max_new_tokens=table.max_new_tokens, temperature=table.temperature, seed=seed),
            samples_per_task=table.samples_per_task,
            price=_price(table.price),
        )
        runs += [run, _greedy_twin(run)] if table.temperature > 0 else [run]
    names = [run.suite.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise RecipeError(
                f"two suites are called `{name}`",
                where="the suites",
                why="results are kept and compared by the suite's name",
                do='in a recipe give one of them a `name = "…"`; on the command line measure them in two commands',
            )
    return tuple(runs)


def check_suite_names(config: GateConfig, suites: Sequence[SuiteRun]) -> None:
    """Refuse what the gate asks that its suites will not hold, before anything is trained. Raises: RecipeError."""
    from strop.evals.gating.beforehand import check_beforehand
    from strop.evals.gating.keys import suite_named

    names = [run.suite.name for run in suites]
    keys = (*config.thresholds, *config.margins, *config.max_drop)
    asked = [(key, suite) for key in keys if (suite := suite_named(key)) is not None]
    for key, suite in [*asked, *((f"go_live of {rule.suite}", rule.suite) for rule in config.go_live)]:
        if suite not in names:
            near = nearest(suite, names)
            raise RecipeError(
                f"the gate's `{key}` names no suite",
                where="[gate]",
                do=(f"did you mean `{near}`? " if near else "") + f"the suites are called: {', '.join(names)}",
            )
    check_beforehand(config, {run.suite.name: run.suite for run in suites})


def _suite(table: SuiteTable, workspace: Workspace, limit: int, split: str) -> Suite:
    from strop.evals import task_suite, world_suite
    from strop.evals.catalogue import check_kind, kind_of, suite_of

    require_drawable(table.tasks, limit)
    if table.tasks.startswith("world:"):
        world = world_of(table.tasks)
        suite = world_suite(world, num_tasks=limit, split=split, name=table.name, **(table.world or {}))
        return suite if table.verifier is None else replace(suite, verifier=_verifier(table, workspace))
    if kind_of(table.tasks) is not None:
        _check_kind_table(table)
        suite = suite_of(table.tasks, num_tasks=limit, dial=table.world)
        return suite if table.name is None else replace(suite, name=table.name)
    if not workspace.path(table.tasks).exists():
        check_kind(table.tasks)
    rows: list[Any] = list(
        read_rows("grpo", table.tasks, workspace, columns=table.columns, split="test", limit=limit, dial=table.world)
    )
    benchmark = benchmark_of(table.tasks)
    name = table.name or (benchmark.name if benchmark else _named_after(Path(table.tasks)))
    return task_suite(name, rows, _verifier(table, workspace))


def _named_after(path: Path) -> str:
    """The file's name without its ending, and without what a suite's name cannot hold."""
    return _ODD.sub("-", path.name.lstrip(".").split(".")[0]).strip("-_") or "tasks"


def _check_kind_table(table: SuiteTable) -> None:
    """Refuse what a suite made from a world has of its own. Raises: RecipeError."""
    for key in ("verifier", "columns"):
        if getattr(table, key) is not None:
            raise RecipeError(
                f"`{key}` has no effect on `{table.tasks}`",
                where="the suites",
                why="the suite brings its own",
                do="remove it, or measure a file of tasks",
            )


def _verifier(table: SuiteTable, workspace: Workspace) -> Any:
    return load_grader(table.verifier, table.tasks, workspace)


def _price(table: PriceTable | None) -> Price | None:
    from strop.evals import Price

    if table is None:
        return None
    return Price(
        per_million_prompt_tokens=table.prompt,
        per_million_completion_tokens=table.completion,
        per_call=table.call,
    )


def _greedy_twin(run: SuiteRun) -> SuiteRun:
    return SuiteRun(
        suite=replace(run.suite, name=f"{run.suite.name}-greedy"),
        params=replace(run.params, temperature=0.0),
        samples_per_task=1,
        price=run.price,
    )


def evaluate_model(
    model: ModelRef,
    template: ChatTemplate,
    suites: Sequence[SuiteRun],
    folder: Path | None,
    progress: Progress | None = None,
    sampler: Sampler | None = None,
) -> dict[str, SuiteResult]:
    """The model's result on each suite; ``folder`` keeps the answers by content, ``sampler`` gives them if not this
    process."""
    from strop.evals import evaluate

    is_seen = sampler is None  # what a server runs is not
    sampler = sampler or LazySampler(model.source)

    def told(label: str, done: float, total: float, metrics: Mapping[str, float]) -> None:
        if progress is not None:
            progress(f"{model.name}: {label}", done, total, metrics)

    results = {
        run.suite.name: evaluate(
            sampler,
            template,
            run.suite,
            model_digest=model.digest,
            params=run.params,
            samples_per_task=run.samples_per_task,
            price=run.price,
            folder=folder,
            progress=told,
        )
        for run in suites
    }
    return _with_weights(results, model) if is_seen else results


def _with_weights(results: Results, model: ModelRef) -> dict[str, SuiteResult]:
    """The results with the identity of the weights alone: the model's digest changes with its template too."""
    from strop.evals.drift.weights import weights_digest
    from strop.models.names import local_folder

    weights = {"weights": weights_digest(local_folder(model.source))}
    return {name: replace(one, surroundings={**one.surroundings, **weights}) for name, one in results.items()}


def served_by(server: str, model: ModelRef, template: ChatTemplate) -> tuple[ModelRef, Sampler]:
    """The model as ``URL#NAME`` serves it, and the sampler that asks there with ``model``'s own template.

    What a server runs cannot be seen: its identity is what was asked for, never the folder's own, and kept answers are
    those of that URL, name and folder. Raises: RecipeError without a URL and a name.
    """
    from strop.sampling.remote import RemoteSampler

    url, _, name = server.partition("#")
    if not url.startswith(("http://", "https://")) or not name:
        raise RecipeError(
            f"`{server}` names no served model",
            why="a server is its API's address, #, and the model's name there",
            do="write e.g. --server http://127.0.0.1:8000/v1#my-model",
        )
    digest = digest_json({"server": url, "name": name, "folder": model.digest})
    sampler = RemoteSampler(url, name, template=template, api_key_env=SERVER_KEY if SERVER_KEY in os.environ else None)
    return replace(model, digest=digest), sampler


class LazySampler:
    """A sampler that loads its model when it is first asked: what the cache answers costs no loading."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._sampler: Any = None

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, *, seeds: Sequence[int]
    ) -> list[Completion]:
        """See ``types.Sampler``."""
        if self._sampler is None:
            from strop.models import Policy
            from strop.sampling import TorchSampler

            self._sampler = TorchSampler(Policy.load(self._source))
        completions: list[Completion] = self._sampler.sample(prompts, params, seeds=seeds)
        return completions
