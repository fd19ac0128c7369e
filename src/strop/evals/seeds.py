"""Numbers over training seeds as a table, two methods beside each other, and whether a number was measured again.

Intervals that overlap are no equivalence, and one interval that excludes 0 says nothing of whether the difference
matters: the report of two methods holds both tests. A number counts as verified only when its checkpoint was evaluated
a second time and gave the same result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from strop import report
from strop.digests import digest_folder
from strop.errors import MismatchError
from strop.evals.results import SuiteResult
from strop.evals.run import evaluate
from strop.evals.suite import Suite
from strop.files import write_json
from strop.statistics import Interval, SeedSummary, is_equivalent_over_seeds, over_seeds
from strop.types import Constraint, Progress, SamplingParams

# --------------------------------------------------------------------------------------------------------------- tables


@dataclass(frozen=True, kw_only=True)
class SeedRun:
    """One measure of one run."""

    seed: int
    value: float
    is_verified: bool = False
    """Whether ``verify`` measured the same again from the checkpoint."""


def mean_and_std(values: Sequence[float], digits: int = 1) -> str:
    """``12.0 ± 0.7``: the mean and Bessel's standard deviation between seeds, which is *not* an interval of the mean.

    Raises: ValueError for fewer than two seeds.
    """
    found = over_seeds(values)
    return f"{found.mean:.{digits}f} ± {found.std:.{digits}f}"


def seed_table(title: str, arms: Mapping[str, Sequence[SeedRun]], *, digits: int = 1) -> report.Table:
    """A row an arm: mean ± std, the 95 % interval of the mean, every seed's value, and whether all were verified.

    Raises: MismatchError for an arm with one seed twice; ValueError for one with fewer than two.
    """
    rows = []
    for name, runs in arms.items():
        values = list(_by_seed(name, runs).values())
        found = over_seeds(values)
        cells = (
            mean_and_std(values, digits),
            _interval(found, digits),
            f"{len(runs)}: " + ", ".join(f"{run.value:.{digits}f}" for run in runs),
            _verified(runs),
        )
        rows.append(report.Row(label=name, cells=cells))
    columns = ["mean ± std", "95 % interval of the mean", "seeds and values", "verified"]
    seeds = list(dict.fromkeys(run.seed for runs in arms.values() for run in runs))
    note = "std over n - 1 between seeds; the interval is Student's t; verified: measured again from the checkpoint"
    return report.table(title, columns, rows, seeds=seeds, note=note)


def _by_seed(name: str, runs: Sequence[SeedRun]) -> dict[int, float]:
    found = {run.seed: run.value for run in runs}
    if len(found) < len(runs):
        raise MismatchError(
            f"arm `{name}` has one seed twice",
            why=f"{len(runs)} runs with {len(found)} seeds would look surer than they are",
            do="give one run a seed",
        )
    return found


def _interval(found: SeedSummary, digits: int) -> str:
    ends = found.interval
    return "unknown: all seeds gave one value" if ends is None else f"{ends.low:.{digits}f} to {ends.high:.{digits}f}"


def _verified(runs: Sequence[SeedRun]) -> str:
    open_ = [run.seed for run in runs if not run.is_verified]
    return "yes" if not open_ else "NOT verified: seed " + ", ".join(map(str, open_))


# ----------------------------------------------------------------------------------------------------------- comparison


@dataclass(frozen=True, kw_only=True)
class SeedComparison:
    """Two methods on the same seeds: the interval of their difference beside the test of equivalence."""

    num_seeds: int
    difference: float
    """Mean of candidate - baseline, seed by seed."""
    interval: Interval | None
    """95 %, Student's t; None where all seeds differ by one value."""
    margin: float
    """The largest difference that does not matter."""
    is_different: bool
    """The interval excludes 0."""
    is_equivalent: bool
    """Both one-sided tests at 5 % reject a difference of the margin or more."""

    @property
    def verdict(self) -> str:
        """In words; "no significant difference" alone is never told as equality."""
        if self.is_different and self.is_equivalent:
            return f"different, by less than {self.margin:g}, which does not matter"
        if self.is_different:
            return "different"
        return f"equivalent within ±{self.margin:g}" if self.is_equivalent else "undecided: too few seeds to tell"


def compare_over_seeds(candidate: Sequence[SeedRun], baseline: Sequence[SeedRun], *, margin: float) -> SeedComparison:
    """Student's interval and TOST of the differences seed by seed.

    Raises: MismatchError unless both ran the same seeds; ValueError for a margin that is not positive.
    """
    new, old = _by_seed("candidate", candidate), _by_seed("baseline", baseline)
    if set(new) != set(old):
        odd = ", ".join(map(str, sorted(set(new) ^ set(old))))
        raise MismatchError(
            f"the two arms ran different seeds ({odd} on one side only)",
            why="they are compared seed by seed",
            do="run the missing seeds",
        )
    pairs = [(new[seed], old[seed]) for seed in new]
    found = over_seeds([now - was for now, was in pairs])
    ends = found.interval
    return SeedComparison(
        num_seeds=len(pairs),
        difference=found.mean,
        interval=ends,
        margin=margin,
        is_different=ends is not None and not ends.low <= 0 <= ends.high,
        is_equivalent=is_equivalent_over_seeds([now for now, _ in pairs], [was for _, was in pairs], margin=margin),
    )


def comparison_table(
    title: str, arms: Mapping[str, Sequence[SeedRun]], *, baseline: str, margin: float, digits: int = 1
) -> report.Table:
    """Every other arm against ``baseline``: difference, 95 % interval, equivalence, verdict, verified.

    Raises: MismatchError if no arm is called so, and as ``compare_over_seeds``.
    """
    if baseline not in arms:
        raise MismatchError(f"there is no arm `{baseline}` to compare with", do=f"choose from {', '.join(arms)}")
    rows = []
    for name, runs in arms.items():
        if name == baseline:
            continue
        found = compare_over_seeds(runs, arms[baseline], margin=margin)
        ends = found.interval
        cells = (
            f"{found.difference:+.{digits}f} on {found.num_seeds} seeds",
            "unknown" if ends is None else f"{ends.low:+.{digits}f} to {ends.high:+.{digits}f}",
            "yes" if found.is_equivalent else "not shown",
            found.verdict,
            _verified([*runs, *arms[baseline]]),
        )
        rows.append(report.Row(label=f"{name} against {baseline}", cells=cells))
    columns = ["difference", "95 % interval", f"equivalent within ±{margin:g} (TOST, 5 %)", "verdict", "verified"]
    seeds = [run.seed for run in arms[baseline]]
    return report.table(title, columns, rows, seeds=seeds, note="paired by seed, Student's t")


# --------------------------------------------------------------------------------------------------------- verification


@dataclass(frozen=True, kw_only=True)
class Verification:
    """A result that was measured again from the checkpoint."""

    suite: str
    model: str
    """Digest of the model that was loaded."""
    claimed: str
    """Digest of the result as it was reported."""
    found: str
    """Digest of the result as it came out now."""
    differing: tuple[str, ...] = ()
    """Items whose answers or measures differ."""
    created: str = ""

    @property
    def is_verified(self) -> bool:
        """Whether the same came out."""
        return self.claimed == self.found

    def covers(self, result: SuiteResult) -> bool:
        """Whether this very result was verified."""
        return self.is_verified and self.claimed == result.digest


def verify(
    result: SuiteResult, model_folder: Path | str, suite: Suite, *, progress: Progress | None = None
) -> Verification:
    """Load the checkpoint, evaluate it on the suite with the result's own settings and no cache, and compare.

    Raises: MismatchError if the folder is another model than the result's, or the suite another suite.
    """
    from strop.models import Policy  # torch is slow to import
    from strop.sampling import TorchSampler

    if suite.digest != result.digests["suite"]:
        raise MismatchError(
            f"the suite {suite.name} is not the one of the result",
            why=f"its digest is {suite.digest[:12]}, the result says {result.digests['suite'][:12]}",
            do="give the suite with the same tasks, verifier and metrics",
        )
    policy = Policy.load(model_folder)
    known = {policy.digest(), digest_folder(model_folder)} if Path(model_folder).is_dir() else {policy.digest()}
    if result.digests["model"] not in known:
        raise MismatchError(
            f"{model_folder} is not the model of the result",
            where=str(model_folder),
            why=f"the result says {result.digests['model'][:12]}",
            do="give the checkpoint that was evaluated",
        )
    again = evaluate(
        TorchSampler(policy),
        policy.template,
        suite,
        model_digest=result.digests["model"],
        params=sampling_params(result.params),
        samples_per_task=result.params["samples_per_task"],
        progress=progress,
    )
    old = {item.id: item for item in result.items}
    return Verification(
        suite=suite.name,
        model=result.digests["model"],
        claimed=result.digest,
        found=again.digest,
        differing=tuple(item.id for item in again.items if _outcome(item) != _outcome(old[item.id])),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _outcome(item: Any) -> list[Any]:
    return [[sample.text, sample.state, sample.score, dict(sample.measures)] for sample in item.samples]


def sampling_params(params: Mapping[str, Any]) -> SamplingParams:
    """The sampling parameters that a result's ``params`` tell."""
    values = {name: value for name, value in params.items() if name != "samples_per_task"}
    values["logit_bias"] = {int(token): bias for token, bias in values["logit_bias"].items()}
    for name in ("stop", "stop_token_ids"):
        values[name] = tuple(values[name])
    if values["constraint"] is not None:
        values["constraint"] = Constraint(**values["constraint"])
    return SamplingParams(**values)


def write_verification(folder: Path | str, verification: Verification) -> Path:
    """Write ``verified_NAME.json`` beside ``results_NAME.json``. Raises: OutputError."""
    path = Path(folder) / f"verified_{verification.suite}.json"
    write_json(path, asdict(verification))
    return path


def read_verification(folder: Path | str, result: SuiteResult) -> Verification | None:
    """The verification of this very result that lies in ``folder``; None if there is none, or it is of another."""
    try:
        content = json.loads((Path(folder) / f"verified_{result.name}.json").read_text())
        found = Verification(**{**content, "differing": tuple(content["differing"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return found if found.covers(result) else None


def seed_run(seed: int, result: SuiteResult, metric: str, verification: Verification | None = None) -> SeedRun:
    """One run's value of a metric. Raises: MismatchError where it is undefined."""
    rate = result.rate(metric)
    if rate.value is None:
        raise MismatchError(f"metric {metric} of suite {result.name} is undefined", why="it applied to no answer")
    return SeedRun(seed=seed, value=rate.value, is_verified=verification is not None and verification.covers(result))
