"""One stage: from a model and rows to a model, cached by the content of all that goes in, resumable at any moment."""

from __future__ import annotations

import functools
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import strop
from strop import files
from strop.digests import digest_file, digest_json
from strop.pipeline import builders
from strop.pipeline.cards import phase_card
from strop.pipeline.lock import is_locked, locked
from strop.pipeline.metrics_log import MetricsLog, metrics_log
from strop.pipeline.recipe import AnyStage
from strop.pipeline.workspace import Workspace
from strop.types import Progress, Verifier

if TYPE_CHECKING:
    from strop.models import Policy
    from strop.pipeline.validation import Validation
    from strop.training import Step
    from strop.verifiers import Audit

RECORD = "stage.json"
METRICS = "metrics.jsonl"
_LEARNING = (
    "objectives",
    "credit",
    "chat",
    "models",
    "data",
    "sampling",
    "training",
    "verifiers",
    "rollouts",
    "methods",
)
_CODE = ("segments.py", "batches.py", "pipeline/builders.py", *(f"{name}/**/*.py" for name in _LEARNING))
# they change how a stage is told, cut or scheduled on the machine, not what it learns
_NOT_IDENTITY = {"name", "data", "tasks", "validation", "columns", "verifier", "limit", "micro_batch_tokens"}


@dataclass(frozen=True, kw_only=True)
class ModelRef:
    """A model as a stage or an evaluation takes it."""

    name: str
    """For tables: ``base``, or the stage that made it."""
    source: str
    """What ``Policy.load`` takes."""
    digest: str
    template_digest: str


@dataclass(frozen=True, kw_only=True)
class StageJob:
    """A stage with everything that it needs from outside, read and identified."""

    name: str
    stage: AnyStage
    rows: Sequence[Any]
    data_digest: str
    num_steps: int
    seed: int
    recipe_digest: str
    validation: Sequence[Any] = ()
    validation_digest: str = ""
    verifier: Verifier | None = None
    audit: Audit | None = None
    """How the verifier judged known answers."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A stage that is done: its folder holds ``model``, ``metrics.jsonl`` and ``stage.json``."""

    folder: Path
    record: Mapping[str, Any]
    is_cached: bool

    @property
    def model(self) -> ModelRef:
        """What the next stage starts from."""
        return ModelRef(
            name=self.record["name"],
            source=str(self.folder / "model"),
            digest=self.record["output"]["model_digest"],
            template_digest=self.record["input"]["template_digest"],
        )


def stage_key(job: StageJob, parent: ModelRef) -> str:
    """The identity of a stage's result: code, settings, model, data, verifier, template and seed, by content."""
    settings = {key: value for key, value in job.stage.model_dump().items() if key not in _NOT_IDENTITY}
    if not job.validation:  # without validation, checkpoints only say where a killed run goes on
        settings.pop("checkpoint_every")
    return digest_json(
        {
            "code": code_digest(),
            "stage": settings,
            "num_steps": job.num_steps,
            "model": parent.digest,
            "template": parent.template_digest,
            "data": job.data_digest,
            "validation": job.validation_digest,
            "verifier": job.verifier.digest if job.verifier else "",
            "seed": job.seed,
        }
    )[:32]


@functools.cache
def code_digest() -> str:
    """Identity of the code that decides what a stage learns: a cache must not outlive a change of it."""
    package = Path(strop.__file__).parent
    sources = sorted(path for name in _CODE for path in package.glob(name))
    return digest_json([[path.relative_to(package).as_posix(), digest_file(path)] for path in sources])


def find_finished(job: StageJob, parent: ModelRef, workspace: Workspace) -> Finished | None:
    """The stage's result if it is in the cache. ``stage.json`` is written last: without it nothing there counts."""
    folder = workspace.stages / stage_key(job, parent)
    try:
        record = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return None
    return Finished(folder=folder, record={**record, "name": job.name}, is_cached=True)


def run_stage(job: StageJob, parent: ModelRef, workspace: Workspace, progress: Progress) -> Finished:
    """The stage's result: from the cache, or trained, going on from the newest checkpoint of a run that was stopped."""
    key = stage_key(job, parent)
    work, folder = workspace.work / key, workspace.stages / key
    cached = find_finished(job, parent, workspace)
    if cached is not None:
        if work.exists() and not is_locked(work):  # a kill between the last write and the clearing up
            shutil.rmtree(work, ignore_errors=True)
        return cached
    with locked(work):
        cached = find_finished(job, parent, workspace)
        if cached is None:
            files.write_json(work / "name.json", {"name": job.name, "method": job.stage.method})
            _sweep(workspace.stages, key)
            _train(job, parent, folder, work, progress)
        shutil.rmtree(work, ignore_errors=True)
    done = find_finished(job, parent, workspace)
    assert done is not None, folder
    return cached or Finished(folder=done.folder, record=done.record, is_cached=False)


def _sweep(folder: Path, key: str) -> None:
    """Remove what a kill in the middle of a write left beside the stage's folder."""
    for litter in folder.glob(f".{key}.*.tmp"):
        shutil.rmtree(litter, ignore_errors=True)


def _train(job: StageJob, parent: ModelRef, folder: Path, work: Path, progress: Progress) -> None:
    from strop.models import Policy
    from strop.pipeline.validation import make_validation
    from strop.training import latest_checkpoint

    start = time.monotonic()
    stage = job.stage
    policy = Policy.load(
        parent.source, lora=builders.make_lora(stage.lora), seed=job.seed, adapter=stage.adapter or "continue"
    )
    resume = latest_checkpoint(work / "checkpoints")
    after_step = int(resume.name.rpartition("_")[2]) if resume else 0
    with metrics_log(work / METRICS, after_step=after_step) as log:
        validation = make_validation(job, policy, work)
        _steps(job, policy, work, resume, log, validation, progress)
        log.sync()
    best_step = validation.restore_best(policy) if validation is not None else job.num_steps
    policy.save(folder / "model")
    files.write_text(folder / METRICS, (work / METRICS).read_text())
    seconds = time.monotonic() - start
    files.write_json(folder / RECORD, _record(job, parent, policy, best_step, seconds))


def _steps(
    job: StageJob,
    policy: Policy,
    work: Path,
    resume: Path | None,
    log: MetricsLog,
    validation: Validation | None,
    progress: Progress,
) -> None:
    from strop.training import train

    stage = job.stage
    stream, objective = builders.build(stage, policy, job.rows, job.verifier, audit=job.audit, seed=job.seed, work=work)
    steps = train(
        policy,
        stream,
        objective,
        optimizer=builders.make_optimizer(stage, low_rank=policy.lora is not None),
        num_steps=job.num_steps,
        micro_batch_tokens=stage.micro_batch_tokens,
        seed=job.seed,
        resume=resume,
        identity=work.name,
    )
    for step in steps:
        is_last = step.number == job.num_steps
        record = step_record(job.name, step)
        if validation is not None and (is_last or step.number % validation.every == 0):
            record |= validation.measure(policy, step.number)
        log.write(record)
        progress(job.name, step.number, job.num_steps, record)
        if is_last or step.number % stage.checkpoint_every == 0:
            log.sync()
            step.save(work / "checkpoints")


def step_record(name: str, step: Step) -> dict[str, Any]:
    """A step as one line of ``metrics.jsonl``."""
    numbers = ("loss", "learning_rate", "grad_norm", "num_tokens", "num_trained_tokens", "seconds")
    own = {key: float(getattr(step, key)) for key in numbers}
    return {"stage": name, "step": step.number, **{key: float(value) for key, value in step.metrics.items()}, **own}


def _record(job: StageJob, parent: ModelRef, policy: Policy, best_step: int, seconds: float) -> dict[str, Any]:
    """What the result came from, so that any number of it traces to configuration, code and data."""
    return {
        "name": job.name,
        "method": job.stage.method,
        "config": {
            **job.stage.model_dump(),
            "learning_rate": builders.learning_rate(job.stage, low_rank=policy.lora is not None),
            "steps": job.num_steps,
        },
        "seed": job.seed,
        "input": {"name": parent.name, "model_digest": parent.digest, "template_digest": parent.template_digest},
        "data": {"digest": job.data_digest, "num_rows": len(job.rows), "validation_digest": job.validation_digest},
        "verifier": {"name": job.verifier.name, "digest": job.verifier.digest} if job.verifier else None,
        "audit": told_audit(job),
        "output": {"model_digest": policy.digest(), "step": best_step},
        "lineage": {
            "recipe_digest": job.recipe_digest,
            "strop": strop.__version__,
            "code": code_digest(),
            "parent": parent.digest,
        },
        "card": asdict(phase_card(job.stage.method, parent.name, parent.digest)),
        "machine": {"device": str(policy.device), "dtype": str(policy.dtype).removeprefix("torch.")},
        "seconds": round(seconds, 3),
    }


def told_audit(job: StageJob) -> str | None:
    """What the audit of the stage's verifier showed, or why there is none, in one line; None without a verifier."""
    audit = job.audit
    if job.verifier is None:
        return None
    if audit is None:
        return f"{job.verifier.name}: not audited: {getattr(job.stage, 'unaudited', None)}"
    if audit.num_right + audit.num_wrong == 0:
        return f"{audit.verifier}: {audit.num_unknown} trial answers graded, each the same twice"
    return audit.summary()
