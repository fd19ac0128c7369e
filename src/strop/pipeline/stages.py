"""One stage: from a model and rows to a model, cached by the content of all that goes in, resumable at any moment."""

from __future__ import annotations

import functools
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import strop
from strop import files
from strop.digests import digest_file, digest_json
from strop.pipeline import builders
from strop.pipeline.cards import phase_card
from strop.pipeline.guarding import JOURNAL, Guarding
from strop.pipeline.guards import Guard, guards_identity
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
_NOT_IDENTITY = {"name", "data", "tasks", "validation", "columns", "verifier", "limit", "micro_batch_tokens", "guards"}


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
    sizes: tuple[int, ...] = ()
    """Rows of each source, where the stage mixes several; their rows stand one source behind the other."""
    guards: tuple[Guard, ...] = ()


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
            "sizes": job.sizes if settings.get("shares") else (),
            "guards": guards_identity(job.guards) if job.guards else (),
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
            _sweep(folder)
            _train(job, parent, folder, work, progress)
        shutil.rmtree(work, ignore_errors=True)
    done = find_finished(job, parent, workspace)
    assert done is not None, folder
    return cached or Finished(folder=done.folder, record=done.record, is_cached=False)


def _sweep(folder: Path) -> None:
    """Remove what a kill in the middle of a write left in the stage's folder."""
    for litter in folder.glob(".*.tmp"):
        if litter.is_dir():
            shutil.rmtree(litter, ignore_errors=True)
        else:
            litter.unlink(missing_ok=True)


def _train(job: StageJob, parent: ModelRef, folder: Path, work: Path, progress: Progress) -> None:
    start = time.monotonic()
    guarding = Guarding(job, work)
    policy = _load(job, parent)
    while not guarding.standing.stopped:
        if _leg(job, policy, work, guarding, progress):
            break
        del policy  # two at once may not fit
        policy = _load(job, parent)
    best_step = _restore(job, policy, work, guarding)
    policy.save(folder / "model")
    for name in (METRICS, JOURNAL):
        if (work / name).exists():
            files.write_text(folder / name, (work / name).read_text())
    seconds = time.monotonic() - start
    files.write_json(folder / RECORD, _record(job, parent, policy, guarding, best_step, seconds))


def _load(job: StageJob, parent: ModelRef) -> Policy:
    """The policy as it stands when the stage begins."""
    from strop.models import Policy

    lora = builders.make_lora(job.stage.lora)
    return Policy.load(parent.source, lora=lora, seed=job.seed, adapter=job.stage.adapter or "continue")


def _leg(job: StageJob, policy: Policy, work: Path, guarding: Guarding, progress: Progress) -> bool:
    """Train until the steps end, which is True, or until a guard sends the stage elsewhere."""
    from strop.pipeline.validation import make_validation
    from strop.training import latest_checkpoint

    newest = latest_checkpoint(guarding.checkpoints)
    after_step = int(newest.name.rpartition("_")[2]) if newest else guarding.after_step
    with metrics_log(work / METRICS, after_step=after_step, leg=guarding.standing.leg) as log:
        is_done = True
        validation = make_validation(job, policy, work)
        if guarding.is_due(0):
            is_done = _after_step(job, policy, None, guarding, log, validation, progress)
        for step in _steps(job, policy, work, guarding, newest):
            is_done = _after_step(job, policy, step, guarding, log, validation, progress)
            if not is_done:
                break
        log.sync()
    return is_done


def _steps(job: StageJob, policy: Policy, work: Path, guarding: Guarding, newest: Path | None) -> Iterator[Step]:
    """The steps of this leg that are not in its newest checkpoint."""
    from strop.training import train

    stage = job.stage
    stream, objective = builders.build(
        stage, policy, job.rows, job.verifier, audit=job.audit, seed=job.seed, work=work, mixture=guarding.mixture
    )
    return train(
        policy,
        stream,
        objective,
        optimizer=guarding.optimizer(builders.make_optimizer(stage, low_rank=policy.lora is not None)),
        num_steps=job.num_steps,
        micro_batch_tokens=stage.micro_batch_tokens,
        seed=job.seed,
        resume=newest or guarding.origin,
        may_change=() if newest else ("optimizer",),  # a leg goes on from another one's weights at its own rate
        identity=work.name,
    )


def _after_step(
    job: StageJob,
    policy: Policy,
    step: Step | None,
    guarding: Guarding,
    log: MetricsLog,
    validation: Validation | None,
    progress: Progress,
) -> bool:
    """Measure, tell and keep what a step (None: the start) came to; False where a guard ends the leg.

    The order is what makes a kill harmless: the line of the metrics, the guard's weights, its journal, the checkpoint.
    """
    number = step.number if step is not None else 0
    record: dict[str, Any] = {"stage": job.name, "step": 0, "num_tokens": 0.0}
    if step is not None:
        record = step_record(job.name, step)
    is_last = number == job.num_steps
    look = guarding.look(policy, number, progress) if guarding.is_due(number) else None
    if look is not None:
        record |= {"leg": look.leg, **guarding.measured(look)}
    elif guarding.guards:
        record["leg"] = guarding.standing.leg
    if validation is not None and (
        look is not None if guarding.guards else _is_every(number, validation.every, is_last)
    ):
        record |= validation.measure(policy, number, may_keep=look is None or (look.is_held and number > 0))
    log.write(record)
    progress(job.name, number, job.num_steps, record)
    if look is not None:
        log.sync()
        guarding.commit(look, step)
        if look.order.course != "go_on":
            return False
    if step is not None and _is_every(number, job.stage.checkpoint_every, is_last):
        log.sync()
        step.save(guarding.checkpoints)
    return True


def _is_every(number: int, every: int, is_last: bool) -> bool:
    return is_last or number % every == 0


def _restore(job: StageJob, policy: Policy, work: Path, guarding: Guarding) -> int:
    """Give the policy the weights that the stage keeps, and say of which step they are."""
    from strop.training import load_best
    from strop.training.checkpoint import read
    from strop.training.validation import best

    # of steps under guard only those that held are kept, which may be none
    if job.validation and (not guarding.guards or best(work / "best") is not None):
        return load_best(policy, work / "best").step
    if not guarding.standing.stopped:
        return job.num_steps
    if guarding.held is not None:
        policy.load_state(dict(read(guarding.held).policy))
    return guarding.standing.held


def step_record(name: str, step: Step) -> dict[str, Any]:
    """A step as one line of ``metrics.jsonl``."""
    numbers = ("loss", "learning_rate", "grad_norm", "num_tokens", "num_trained_tokens", "seconds")
    own = {key: float(getattr(step, key)) for key in numbers}
    return {"stage": name, "step": step.number, **{key: float(value) for key, value in step.metrics.items()}, **own}


def _record(
    job: StageJob, parent: ModelRef, policy: Policy, guarding: Guarding, best_step: int, seconds: float
) -> dict[str, Any]:
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
        "guard": guarding.told(best_step),
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
