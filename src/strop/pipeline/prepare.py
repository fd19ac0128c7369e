"""Everything a run reads before it starts: base, rows, verifiers. What is wrong with them is told here, at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from strop.digests import digest_folder, digest_json
from strop.errors import VerifierError
from strop.pipeline import builders
from strop.pipeline.guards import load_guards
from strop.pipeline.order import as_list, check_order, sources_of, stage_names
from strop.pipeline.recipe import AnyStage, OfflineTable, Recipe, RolloutTable, SFTStage, Source
from strop.pipeline.sources import benchmark_of, load_grader, read_rows, world_of
from strop.pipeline.stages import ModelRef, StageJob
from strop.pipeline.workspace import Workspace
from strop.types import Task, Verifier

if TYPE_CHECKING:
    from strop.chat import ChatTemplate
    from strop.data import Preflight
    from strop.verifiers import Audit

AUDITED_TASKS = 40
"""How many tasks an audit takes where nobody says, here and in `strop audit`."""
_TRIED_TASKS = 5
PREFLIGHT_KINDS: dict[str, Literal["sft", "dpo", "tasks"]] = {
    "sft": "sft",
    "dpo": "dpo",
    "grpo": "tasks",
    "dr_grpo": "tasks",
}


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A recipe with everything that it names."""

    recipe: Recipe
    base: ModelRef
    template: ChatTemplate
    jobs: tuple[StageJob, ...]


def prepare(recipe: Recipe, workspace: Workspace, *, limit: int | None = None, where: str = "the recipe") -> Prepared:
    """Read what the recipe names. ``limit`` lowers every stage's own. Raises: UserError of every kind."""
    check_order(recipe, workspace.root, where=where)
    jobs = tuple(_job(recipe, index, workspace, limit) for index in range(len(recipe.stages)))
    base, template = base_model(recipe.base, workspace)
    return Prepared(recipe=recipe, base=base, template=template, jobs=jobs)


def base_model(name: str, workspace: Workspace) -> tuple[ModelRef, ChatTemplate]:
    """The model that a name means, identified by the content of its files, and its template. Raises: ModelError."""
    from strop.models import adapters, folders, loading, names

    local = workspace.path(name)
    source = str(local) if local.exists() else name
    folder = names.local_folder(source)
    keeper = folder
    if names.is_adapter(folder) and not loading.has_tokenizer(folder):
        found = folders.find_base(folder, adapters.read_config(folder)).folder
        assert found is not None
        keeper = found
    template = loading.load_template(keeper)
    ref = ModelRef(name="base", source=source, digest=digest_folder(folder), template_digest=template.digest)
    return ref, template


def _job(recipe: Recipe, index: int, workspace: Workspace, limit: int | None) -> StageJob:
    from strop.data import dataset_digest

    stage = recipe.stages[index]
    name = stage_names(recipe)[index]
    parts = _parts(stage, workspace, lowest(stage.limit, limit), recipe.seed)
    rows = [row for part in parts for row in part]
    held_out: Sequence[Any] = ()
    if isinstance(stage, OfflineTable) and stage.validation is not None:
        held_out = read_rows(stage.method, stage.validation, workspace, columns=stage.columns, split="dev", limit=limit)
    verifier = load_grader(stage.verifier, stage.tasks, workspace) if isinstance(stage, RolloutTable) else None
    audit = _audit(stage, verifier, rows, workspace) if isinstance(stage, RolloutTable) and verifier else None
    return StageJob(
        name=name,
        stage=stage,
        rows=rows,
        data_digest=dataset_digest(rows),
        num_steps=builders.num_steps(stage, len(rows)),
        seed=recipe.seed,
        recipe_digest=digest_json(recipe.model_dump(mode="json")),
        validation=held_out,
        validation_digest=dataset_digest(held_out) if held_out else "",
        verifier=verifier,
        audit=audit,
        sizes=tuple(map(len, parts)),
        guards=load_guards(stage, sources_of(stage), workspace, limit=limit, where=f"stage {index} ({name})"),
    )


def _parts(stage: AnyStage, workspace: Workspace, limit: int | None, seed: int) -> list[list[Any]]:
    """The rows of each source of a stage that mixes them; else all rows in one part."""
    settings: dict[str, Any] = {"columns": stage.columns, "limit": limit, "seed": seed}
    if isinstance(stage, RolloutTable):
        return [list(read_rows(stage.method, stage.tasks, workspace, **settings, dial=stage.world))]
    sources = as_list(stage.data) if isinstance(stage, SFTStage) and stage.shares is not None else [stage.data]
    return [list(read_rows(stage.method, source, workspace, **settings)) for source in sources]


def lowest(*limits: int | None) -> int | None:
    """The lowest of the limits that are given."""
    given = [limit for limit in limits if limit is not None]
    return min(given) if given else None


def _audit(stage: RolloutTable, verifier: Verifier, rows: Sequence[Task], workspace: Workspace) -> Audit | None:
    """The audit that the stage names, or a new one; None where it says why there is none. Raises: VerifierError."""
    from strop.verifiers import read_audit, require_audit

    audit = None
    if stage.audit is not None:
        audit = read_audit(workspace.path(stage.audit), verifier)
    elif not stage.unaudited:
        audit = audit_verifier(stage.verifier, stage.tasks, verifier, rows)
    require_audit(verifier, audit, stage.unaudited or "")
    return audit


def audit_verifier(named: str | None, source: Source, verifier: Verifier, tasks: Sequence[Task]) -> Audit:
    """How the verifier judges known answers of the first tasks. Raises: VerifierError if it fails, or itself breaks.

    A world brings right answers, wrong ones and cheats; a built-in verifier and a user's own function are tried on the
    ``answer`` column, as by `strop audit --tasks`. Where no task has an answer nobody knows what a user's function
    should say: it must only answer, and answer the same twice.
    """
    from strop.pipeline.audits import cases_of_world
    from strop.verifiers import answer_cases, audit

    tasks = tasks[:AUDITED_TASKS]
    benchmark = next((found for name in as_list(source) if (found := benchmark_of(name))), None)
    if named is None and benchmark is not None:
        return audit(verifier, benchmark.cases(tasks)).require()
    if named is None:
        world = world_of(next(name for name in as_list(source) if name.startswith("world:")))
        return audit(verifier, cases_of_world(world, tasks)).require()
    if ":" not in named:
        return audit(verifier, answer_cases(tasks)).require()
    if all(task.reference.get("answer") in (None, "") for task in tasks):
        return audit(verifier, answer_cases(tasks[:_TRIED_TASKS])).require()
    return _require_own(audit(verifier, answer_cases(tasks)), named)


def _require_own(found: Audit, named: str) -> Audit:
    """The audit of a user's function. Raises: VerifierError that says how to go on with one that checks no answers."""
    try:
        return found.require()
    except VerifierError as error:
        raise VerifierError(
            f"{named} was audited on the tasks' `answer` column before training, and fails: "
            + error.what.partition(": ")[2],
            where=error.where,
            why=error.why,
            do=f"mend {named} (try it with `strop audit {named} --tasks FILE`); if it is not meant to check the "
            'answer, say so: --unaudited "why it is no test of correctness", in a recipe unaudited = "…"',
        ) from error


def preflight(job: StageJob, rows: Sequence[Any], template: ChatTemplate, context: int) -> Preflight:
    """What one pass over rows of the job holds. Raises: DataError for rows that training would refuse."""
    from strop import data

    stage = job.stage
    if isinstance(stage, RolloutTable):
        length = context - stage.max_new_tokens
    else:
        length = stage.max_length or context
    report = data.preflight(rows, template, max_length=length, kind=PREFLIGHT_KINDS[stage.method])
    report.require()
    return report


def context_length(source: str) -> int:
    """The longest sequence that the model's configuration allows."""
    from strop.models import adapters, folders, names

    folder: Path | None = names.local_folder(source)
    assert folder is not None
    if names.is_adapter(folder):
        folder = folders.find_base(folder, adapters.read_config(folder)).folder
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder).get_text_config()
    return int(getattr(config, "max_position_embeddings", None) or 1_000_000)
