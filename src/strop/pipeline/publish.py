"""Between the gate and the registry: what a candidate is compared with, and how it becomes a release."""

from __future__ import annotations

import getpass
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from strop.digests import digest_json
from strop.errors import RecipeError
from strop.pipeline.evaluation import Results
from strop.pipeline.prepare import Prepared
from strop.pipeline.recipe import Recipe
from strop.pipeline.stages import Finished, ModelRef
from strop.pipeline.workspace import Workspace
from strop.types import Decision

if TYPE_CHECKING:
    from strop.chat import ChatTemplate


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What the candidate must not fall behind."""

    model: ModelRef
    template: ChatTemplate


def find_baseline(prepared: Prepared, workspace: Workspace) -> Baseline:
    """The release that the recipe names as baseline, or the base for want of it. Raises: RecipeError, ReleaseError."""
    from strop.chat import ChatTemplate
    from strop.release import Registry

    recipe = prepared.recipe
    reference = baseline_reference(recipe)
    if reference is not None:
        name, _, alias = reference.partition("@")
        registry = Registry(workspace.registry)
        if alias in registry.aliases(name):
            release = registry.resolve(reference)
            template = ChatTemplate.load(release.bundle.folder)
            model = ModelRef(
                name=reference,
                source=str(release.bundle.folder),
                digest=release.bundle.digests["model"],
                template_digest=template.digest,
            )
            return Baseline(model=model, template=template)
    return Baseline(model=prepared.base, template=prepared.template)


def baseline_reference(recipe: Recipe) -> str | None:
    """``NAME@ALIAS`` of the baseline; None where the base is it. Raises: RecipeError."""
    named = recipe.gate.baseline if recipe.gate is not None else None
    if named is None or "@" in named:
        return named
    if recipe.release is None:
        raise RecipeError(
            f'baseline = "{named}" names no release',
            where="[gate]",
            why="an alias belongs to a release's name, and the recipe has no [release]",
            do=f'write baseline = "NAME@{named}", or add [release] with a name',
        )
    return f"{recipe.release.name}@{named}"


def publish(
    prepared: Prepared,
    workspace: Workspace,
    stage: Finished,
    decision: Decision,
    report: Path,
    candidate: Results,
    baseline: Results,
) -> str:
    """Add the result to the registry, and point the alias to it if the gate passed; says in words what was done."""
    from strop.evals import read_gate_report
    from strop.release import Bundle, Registry

    wanted = prepared.recipe.release
    if wanted is None:
        return ""
    registry = Registry(workspace.registry)
    with tempfile.TemporaryDirectory() as temporary:
        bundle = Bundle(
            name=wanted.name,
            folder=_self_contained(stage.folder / "model", workspace, Path(temporary)),
            digests={
                "model": stage.model.digest,
                "template": stage.model.template_digest,
                "base": prepared.base.digest,
                "recipe": digest_json(prepared.recipe.model_dump(mode="json")),
                "data": digest_json([job.data_digest for job in prepared.jobs]),
            },
            metadata={"recipe": prepared.recipe.model_dump(mode="json"), "stage": dict(stage.record)},
        )
        release = registry.add(
            bundle, read_gate_report(report), identify=model_digest, candidate=candidate, baseline=baseline
        )
    target, short = f"{wanted.name}@{wanted.alias}", release.digest[:12]
    if decision.outcome != "PASS":
        return f"release: {short} is in the registry with its report; {target} stays where it was"
    if registry.aliases(wanted.name).get(wanted.alias) == release.digest:
        return f"release: {target} points to {short} already"
    resting = release.report["digest"]
    registry.promote(
        wanted.name,
        wanted.alias,
        who=who(),
        why="the gate of strop run passed",
        digest=release.digest,
        report=resting,
    )
    others = [one.report["outcome"] for one in registry.reports(wanted.name, release.digest)]
    told = f", on report {resting[:12]}; its reports say {', '.join(others)}" if set(others) != {"PASS"} else ""
    return f"release: {target} now points to {short}{told}"


def model_digest(folder: Path) -> str:
    """The content identity of a model folder's weights, as evaluations name it."""
    from strop.models import Policy

    return Policy.load(folder, device="cpu").digest()


def _self_contained(folder: Path, workspace: Workspace, temporary: Path) -> Path:
    """The folder; where its adapter needs a base from the cache, a copy that brings the base along."""
    from strop.models import adapters, folders, names

    if not names.is_adapter(folder):
        return folder
    base = folders.find_base(folder, adapters.read_config(folder)).folder
    assert base is not None
    if base.is_relative_to(folder) or not base.is_relative_to(workspace.home):
        return folder
    whole = temporary / "model"
    shutil.copytree(folder, whole)
    shutil.copytree(base, whole / "base")
    config = json.loads((whole / "adapter_config.json").read_text())
    (whole / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "base"}, indent=2))
    return whole


def who() -> str:
    """The user's name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown user"
