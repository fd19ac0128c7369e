"""Guards at work: the suites asked of the policy as it trains, and where the stage goes from there.

A stage trains in legs. A leg starts from a checkpoint with its own settings and ends where the steps end, or where a
guard sends the stage elsewhere: then the next leg starts. Everything that follows from a look is in the journal before
it happens, so that a killed run finds its way back to the same weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strop.errors import VerifierError
from strop.pipeline.guard_journal import Journal, Look, Standing, Values, mean
from strop.pipeline.recipe import SFTStage
from strop.types import Progress

if TYPE_CHECKING:
    from strop.data import Mixture
    from strop.evals import SuiteResult
    from strop.models import Policy
    from strop.pipeline.guards import Guard
    from strop.pipeline.stages import StageJob
    from strop.sampling import TorchSampler
    from strop.training import AdamW, Finding, Step

JOURNAL = "guards.jsonl"
_ALL = 1_000_000


class Guarding:
    """The guards of one stage in its work folder; a stage without guards has one leg and no looks."""

    def __init__(self, job: StageJob, work: Path) -> None:
        self._job, self._work = job, work
        self._journal = Journal(work / JOURNAL)
        self._sampler: TorchSampler | None = None

    # ------------------------------------------------------------------------------------------- where the stage stands

    @property
    def guards(self) -> tuple[Guard, ...]:
        """The stage's guards."""
        return self._job.guards

    @property
    def standing(self) -> Standing:
        """What follows from the looks so far."""
        return self._journal.standing

    @property
    def checkpoints(self) -> Path:
        """Where this leg's checkpoints lie."""
        leg = self.standing.leg
        return self._work / ("checkpoints" if leg == 0 else f"checkpoints-{leg}")

    @property
    def origin(self) -> Path | None:
        """What this leg starts from; None for the stage's start."""
        return self._kept(self.standing.origin)

    @property
    def held(self) -> Path | None:
        """The last step that held; None for the stage's start."""
        return self._kept(self.standing.held)

    def _kept(self, step: int) -> Path | None:
        return self._work / "looks" / f"step_{step:06d}" if step else None

    @property
    def after_step(self) -> int:
        """The step whose line of the metrics is the last one to stay where a leg starts anew; -1 for none at all."""
        return -1 if self.guards and not self._journal.looks else self.standing.origin

    def optimizer(self, usual: AdamW) -> AdamW:
        """The stage's optimizer at this leg's learning rate."""
        return replace(usual, lr=usual.lr * self.standing.learning_rate_factor)

    @property
    def mixture(self) -> Mixture | None:
        """The stage's mixture in this leg's shares; None for a stage without shares."""
        from strop.data import Mixture

        stage = self._job.stage
        if not isinstance(stage, SFTStage) or stage.shares is None:
            return None
        mixture = Mixture(sizes=self._job.sizes, shares=stage.shares)
        for guard, factor in self.standing.lowered:
            mixture = mixture.lowered(self.guards[guard].domain, factor)
        return mixture

    # ---------------------------------------------------------------------------------------------------------- looking

    def is_due(self, step: int) -> bool:
        """Whether any guard looks after this step; at the start they look in the first leg only."""
        if step == 0:
            return bool(self.guards) and self._journal.find(0, 0) is None
        return bool(self._due(step))

    def _due(self, step: int) -> list[int]:
        always = step in (0, self._job.num_steps)
        return [index for index, guard in enumerate(self.guards) if always or step % guard.every == 0]

    def look(self, policy: Policy, step: int, progress: Progress) -> Look:
        """What the guards see in the policy now, and what follows; taken from the journal if it was seen before."""
        from strop.training import compare, decide

        known = self._journal.find(self.standing.leg, step)
        if known is not None:
            return known
        due = self._due(step)
        results = self._results(policy, due, progress)
        values: dict[str, Values] = {}
        findings: list[Finding | None] = [None] * len(self.guards)
        for index in due:
            guard = self.guards[index]
            result = results[guard.suite_key]
            values[guard.label] = {item.id: item.value(guard.rule.metric) for item in result.items}
            if step == 0:
                _require_judged(guard, result, values[guard.label])
            before = self._journal.before(guard.rule, guard.label) if step else values[guard.label]
            clusters = clusters_of(result)
            findings[index] = compare(guard.rule, values[guard.label], before, clusters=clusters)
        order = decide(
            [guard.rule for guard in self.guards],
            findings,
            names=[guard.label for guard in self.guards],
            times=[self.standing.times.get(index, 0) for index in range(len(self.guards))],
            is_last=step == self._job.num_steps,
        )
        acting = {index for index, guard in enumerate(self.guards) if guard.rule.action != "watch"}
        return Look(
            leg=self.standing.leg,
            step=step,
            findings=tuple(findings),
            values=values,
            results={result.name: result.digest for result in results.values()},
            is_held=order.course == "go_on" and acting <= set(due),
            order=order,
        )

    def _results(self, policy: Policy, due: list[int], progress: Progress) -> dict[str, SuiteResult]:
        """One result for each suite that is asked, by its key; nothing is taken from a cache, nor kept in one."""
        from strop.evals import evaluate
        from strop.sampling import TorchSampler

        def told(label: str, done: float, total: float, metrics: Mapping[str, float]) -> None:
            progress(f"{self._job.name}: guard: {label}", done, total, metrics)

        if self._sampler is None or self._sampler.policy is not policy:  # every leg loads a policy of its own
            self._sampler = TorchSampler(policy)
        sampler = self._sampler
        runs = {self.guards[index].suite_key: self.guards[index].run for index in due}
        digest = policy.digest()
        return {
            key: evaluate(sampler, policy.template, run.suite, model_digest=digest, params=run.params, progress=told)
            for key, run in runs.items()
        }

    def measured(self, look: Look) -> dict[str, float]:
        """The look's numbers for the metrics: ``guard_SUITE.METRIC`` of every guard that looked."""
        means = {label: mean(values) for label, values in look.values.items()}
        return {f"guard_{label}": value for label, value in means.items() if value is not None}

    def commit(self, look: Look, step: Step | None) -> None:
        """Make the look part of the run: the weights that may be needed again first, then the journal's line."""
        leg = self.checkpoints
        if step is not None and (look.is_held or look.order.course == "restart_here"):
            step.save(self._work / "looks", keep=_ALL)
        self._journal.append(look)
        needed = {self.standing.origin, self.standing.held}
        for path in (self._work / "looks").glob("step_*"):
            if int(path.name.rpartition("_")[2]) not in needed:
                shutil.rmtree(path, ignore_errors=True)
        if look.order.course != "go_on":  # the next policy is loaded while nothing holds this one
            self._sampler = None
        if self.checkpoints != leg:
            shutil.rmtree(leg, ignore_errors=True)

    # ------------------------------------------------------------------------------------------------------- afterwards

    def told(self, kept_step: int) -> dict[str, Any] | None:
        """What the guards did, for the stage's record; None without guards."""
        if not self.guards:
            return None
        looks, standing = self._journal.looks, self.standing
        return {
            "guards": [
                {"label": guard.label, "every": guard.every, "action": guard.rule.action} for guard in self.guards
            ],
            "num_looks": len(looks),
            "num_displeased": sum(look.is_displeasing for look in looks),
            "kept_step": kept_step,
            "stopped": standing.stopped or None,
            "learning_rate_factor": standing.learning_rate_factor,
            "shares": list(self.mixture.shares) if self.mixture is not None else None,
            "interventions": [
                {"step": look.step, "course": look.order.course, "why": look.order.why}
                for look in looks
                if look.order.course != "go_on"
            ],
        }


def _require_judged(guard: Guard, result: SuiteResult, values: Values) -> None:
    """Refuse to train under a guard that could never say anything. Raises: VerifierError."""
    from strop.training import why_idle

    rule, num_samples = guard.rule, sum(1 for _ in result.samples)
    is_silent = mean(values) is None and (rule.action != "watch" or result.num_ungraded == num_samples)
    if is_silent or result.num_ungraded > rule.max_ungraded * num_samples + 1e-9:
        raise VerifierError(
            f"the guard {guard.label} cannot judge the model that the stage starts from",
            why=f"{result.num_ungraded} of {num_samples} answers could not be graded"
            if result.num_ungraded
            else "the metric applies to none of its answers",
            do="mend the verifier, or guard with another suite or metric",
        )
    why = "" if rule.action == "watch" else why_idle(rule, values, clusters=clusters_of(result))
    if why:
        raise VerifierError(
            f"the guard {guard.label} could never trigger",
            why=why,
            do='guard a suite that the model is good at, with enough items, lower max_drop, or write action = "watch"',
        )


def clusters_of(result: SuiteResult) -> dict[str, str]:
    """Item → the cluster that it is evidence of."""
    return {item.id: item.cluster or item.id for item in result.items}
