"""What ``strop gate`` is asked: the settings of a ``gate.toml`` or recipe, with the suites and the baseline in it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from strop.errors import RecipeError
from strop.evals import GateConfig, parse_gate_config
from strop.pipeline.reading import nearest, read_recipe
from strop.pipeline.recipe import SuiteTable
from strop.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from strop.evals import SuiteResult
    from strop.types import Progress


@dataclass(frozen=True, kw_only=True)
class GateFile:
    """A gate and what it is asked of."""

    config: GateConfig
    root: Path
    """What relative paths in it start from."""
    suites: tuple[str | SuiteTable, ...] = ()
    """What a model that was not evaluated yet is evaluated on."""
    baseline: str | None = None
    evidence: tuple[str, ...] = ()
    """Folders of people's or a judge's word on the candidate."""
    seed: int = 0


def read_gate_file(path: Path) -> GateFile:
    """The gate in a ``gate.toml`` (keys at the top or under ``[gate]``) or in a recipe. Raises: RecipeError."""
    try:
        tables = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise RecipeError(f"cannot read the gate {path}", where=str(path), why=why, do="give a TOML file") from error
    if "stage" in tables:
        return _of_recipe(path)
    if "gate" in tables and len(tables) > 1:
        odd = next(key for key in tables if key != "gate")
        raise RecipeError(f"`{odd}` stands beside [gate]", where=str(path), do="write every key under [gate], or none")
    if not isinstance(tables.get("gate", tables), dict):
        raise RecipeError(f"the gate in {path} is no table: {tables['gate']!r}", where=str(path), do="write [gate]")
    tables = dict(tables.get("gate", tables))
    suites, baseline = tables.pop("suites", ()), tables.pop("baseline", None)
    if baseline is not None and not isinstance(baseline, str):
        raise RecipeError(f"the gate's `baseline` is no text: {baseline!r}", where=str(path))
    evidence = tables.pop("evidence", ())
    if not isinstance(evidence, list | tuple) or not all(isinstance(folder, str) for folder in evidence):
        raise RecipeError(
            "the gate's `evidence` is no list of folders", where=str(path), do='write evidence = ["people-report"]'
        )
    if not isinstance(suites, list | tuple):
        raise RecipeError("the gate's `suites` is no list", where=str(path), do='write suites = ["world:finance"]')
    return GateFile(
        config=parse_gate_config(tables, where=str(path)),
        root=path.parent,
        suites=tuple(_suite(entry, path) for entry in suites),
        baseline=baseline,
        evidence=tuple(evidence),
    )


def _of_recipe(path: Path) -> GateFile:
    from strop.pipeline.publish import baseline_reference

    recipe = read_recipe(path)
    if recipe.gate is None:
        raise RecipeError(f"{path} has no [gate]", where=str(path), do="add one, or give a gate.toml")
    return GateFile(
        config=recipe.gate.config,
        root=path.parent,
        suites=recipe.gate.suites,
        baseline=baseline_reference(recipe),
        evidence=recipe.gate.evidence,
        seed=recipe.seed,
    )


def _suite(entry: Any, path: Path) -> str | SuiteTable:
    """One entry of ``suites``. Raises: RecipeError, naming the nearest known key."""
    if isinstance(entry, str):
        return entry
    try:
        return SuiteTable.model_validate(entry)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(map(str, problem["loc"])) or "suites"
        near = nearest(key, SuiteTable.model_fields) if problem["type"] == "extra_forbidden" else None
        do = (f"did you mean `{near}`? " if near else "") + f"known: {', '.join(SuiteTable.model_fields)}"
        raise RecipeError(f"a suite's `{key}` cannot be used", where=str(path), why=problem["msg"], do=do) from None


def results_of(
    name: str,
    file: GateFile,
    workspace: Workspace,
    progress: Progress | None,
    candidate: Mapping[str, SuiteResult] | None = None,
) -> Mapping[str, SuiteResult]:
    """The results in a folder, ours or lm-eval's; or those of a model or release on the gate's suites.

    What the cache holds is not evaluated again, and nothing asked that could not be compared with ``candidate``.
    Raises: RecipeError for a model without suites to ask; ModelError, ReleaseError; MismatchError for torn results, and
    for those of other suites or items than the candidate's.
    """
    from strop.evals.lm_eval.samples import is_lm_eval, read_lm_eval
    from strop.evals.results import load_all
    from strop.pipeline.comparable import require_comparable
    from strop.pipeline.evaluation import check_suite_names, evaluate_model, load_suites
    from strop.pipeline.prepare import base_model

    folder = workspace.path(name)
    if folder.is_dir() and is_lm_eval(folder):
        return read_lm_eval(folder)
    if found := load_all(folder):
        return found
    if not file.suites:
        raise RecipeError(
            f"{name} holds no results",
            where=str(folder),
            why="there is no results_*.json in it" if folder.is_dir() else "there is no such folder",
            do="write them with `strop eval MODEL --suite … --output FOLDER`; or, to have a model evaluated here, "
            "add `suites` to the gate's configuration",
        )
    suites = load_suites(file.suites, Workspace(home=workspace.home, root=file.root.absolute()), seed=file.seed)
    check_suite_names(file.config, suites)
    source = _release(name, workspace) or name
    if candidate is not None:
        require_comparable(suites, candidate)
    ref, template = base_model(source, workspace)
    return evaluate_model(ref, template, suites, workspace.evals, progress)


def _release(name: str, workspace: Workspace) -> str | None:
    """The folder of the release that ``NAME@ALIAS`` points to; None if it is no reference. Raises: ReleaseError."""
    if "@" not in name or workspace.path(name).exists():
        return None
    from strop.release import Registry

    return str(Registry(workspace.registry).resolve(name).bundle.folder)
