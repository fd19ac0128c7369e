"""What a recipe may say: one frozen table a stage, one for the gate, one for the release.

The models hold no behaviour; reading a file and telling what is wrong with it live in ``reading``, what depends on
several stages at once in ``order``. A key that a method does not use is no field of its table: nothing is set in vain.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from strop.evals import GateConfig

Source = str | Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
"""A file, folder, hub id or ``world:NAME[/KIND]``; or several of them."""
Count = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Table(BaseModel):
    """A table of a recipe: unknown keys are refused, values are never coerced, nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class LoraTable(Table):
    """How a new low-rank adapter is shaped."""

    rank: Count = 16
    alpha: Annotated[float, Field(gt=0)] | None = None
    """The update is scaled by alpha / rank; twice the rank if absent."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: str | Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = "all-linear"
    """``attention``, ``mlp``, ``all-linear`` or module names."""
    rslora: bool = False


class PriceTable(Table):
    """What asking costs, in any currency."""

    prompt: Annotated[float, Field(ge=0)]
    """Per million prompt tokens."""
    completion: Annotated[float, Field(ge=0)]
    """Per million answer tokens."""
    call: Annotated[float, Field(ge=0)] = 0.0
    """Per call of a tool."""


class SuiteTable(Table):
    """One evaluation suite."""

    tasks: str
    """``world:NAME`` (its held-out split), ``KIND:WORLD`` such as ``fresh:finance``, or your own file of tasks."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    verifier: str | None = None
    columns: dict[str, str] | None = None
    world: dict[str, Any] | None = None
    limit: Count = 500
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """0 is greedy; above 0 the greedy result is measured beside it, as ``NAME-greedy``."""
    samples_per_task: Count = 1
    max_new_tokens: Count = 128
    price: PriceTable | None = None


class GuardTable(Table):
    """A suite that the policy must not fall behind on while it trains; see ``docs/guards.md``."""

    suite: str | SuiteTable
    """As in a gate; of a world the ``dev`` split is asked, so that the gate's items stay unseen. Always greedy."""
    every: Count = 50
    """Steps between two looks; the start and the last step are looked at too."""
    limit: Count = 200
    """Items of a suite that is named without a table of its own."""
    metric: str = "accuracy"
    max_drop: Annotated[float, Field(ge=0)] = 0.1
    """How far the metric may fall, in its own unit."""
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """A drop triggers only if chance alone would show as much less often, at one look."""
    action: Literal["watch", "stop", "roll_back", "lower_learning_rate", "lower_share"] = "roll_back"
    """``watch`` only writes the curve."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """What the learning rate, or the domain's share, is multiplied by."""
    max_times: Count = 3
    """How often the action is taken before the stage stops."""
    max_ungraded: Share = 0.1
    """Share of the items that may lose their value before the stage stops for it."""
    against: Literal["start", "best"] = "start"
    """What a look is compared with."""
    domain: str | None = None
    """Whose share ``lower_share`` lowers: one of the stage's ``data``, the first if absent."""


class StageTable(Table):
    """What every method has."""

    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """For the tables and the report; the method's name if absent."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Peak; if absent, the method's usual one for full or low-rank training."""
    epochs: Annotated[float, Field(gt=0)] | None = None
    """Passes over the rows; 1 if neither this nor ``steps`` is given."""
    steps: Count | None = None
    """Optimizer steps, instead of ``epochs``."""
    limit: Count | None = None
    """At most this many rows; for a world, how many are generated."""
    lora: LoraTable | None = None
    """A new low-rank adapter; absent: the given adapter goes on, or all weights train."""
    adapter: Literal["continue", "merge", "fresh"] | None = None
    """What happens to the adapter of the stage before: trained on (default), folded in, or dropped."""
    schedule: Literal["constant", "linear", "cosine", "wsd"] = "cosine"
    warmup: Share = 0.03
    """Share of the steps."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    micro_batch_tokens: Count | None = None
    """Tokens of one forward and backward; chosen from the memory if absent. Changes speed, never numbers."""
    checkpoint_every: Count = 50
    """Steps between two checkpoints, hence at most what a killed run does again."""
    guards: Annotated[tuple[GuardTable, ...], Field(strict=False, alias="guard")] = ()
    """Suites that stop, roll back or slow the stage when they drop."""


class OfflineTable(StageTable):
    """Learns from rows that exist."""

    data: Source
    validation: Source | None = None
    """Held-out rows; the checkpoint with the lowest validation loss is kept."""
    validate_every: Count | None = None
    """Steps between two validations; ``checkpoint_every`` if absent."""
    columns: dict[str, str] | None = None
    """Which column plays which role, for example ``{prompt = "question", completion = "answer"}``."""
    max_length: Count | None = None
    """Tokens of a row; the model's context if absent. Longer rows lose the beginning of their prompt."""


class SFTStage(OfflineTable):
    """Supervised fine-tuning: cross-entropy on the assistant's tokens."""

    method: Literal["sft"]
    batch_size: Count = 16
    turns: Literal["all", "last"] = "all"
    """Which assistant turns are trained."""
    shares: Annotated[tuple[float, ...], Field(strict=False)] | None = None
    """Of the trained tokens, one for each source of ``data``, for example ``[0.8, 0.2]``; absent: all rows alike."""


class DPOStage(OfflineTable):
    """Direct preference optimisation on pairs."""

    method: Literal["dpo"]
    batch_size: Count = 8
    """Pairs of one step."""
    beta: Annotated[float, Field(gt=0)] = 0.1
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0


class RolloutTable(StageTable):
    """Learns from its own samples, graded by a verifier."""

    tasks: Source
    columns: dict[str, str] | None = None
    verifier: str | None = None
    """``my_rewards.py:score``, ``number``, ``exact`` …; a world brings its own."""
    audit: str | None = None
    """A file of ``strop audit --output`` with the verifier's audit; absent: it is audited before the stage starts."""
    unaudited: str | None = None
    """Why there is no audit; the reason stays in the record and in every checkpoint."""
    world: dict[str, Any] | None = None
    """The world's difficulty dial: ``{ steps = 3 }`` in a recipe, ``--world steps=3`` on the command line."""
    group_size: Annotated[int, Field(ge=2)] = 8
    prompts_per_step: Count = 16
    max_new_tokens: Count = 128
    temperature: Annotated[float, Field(gt=0)] = 1.0


class GRPOStage(RolloutTable):
    """Group-relative policy optimisation."""

    method: Literal["grpo"]
    scale: Literal["std", "none"] = "std"
    """Advantages divided by the group's standard deviation, or not."""


class DrGRPOStage(RolloutTable):
    """GRPO without the division by the standard deviation and with a constant length normaliser."""

    method: Literal["dr_grpo"]


AnyStage = SFTStage | DPOStage | GRPOStage | DrGRPOStage
STAGES: dict[str, type[SFTStage] | type[DPOStage] | type[GRPOStage] | type[DrGRPOStage]] = {
    "sft": SFTStage,
    "dpo": DPOStage,
    "grpo": GRPOStage,
    "dr_grpo": DrGRPOStage,
}


class ReleaseTable(Table):
    """Under which name the result enters the registry, and which alias it gets if the gate passes."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    alias: str = Field(default="candidate", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")


class FailuresTable(Table):
    """What becomes of failed items after the gate: new tasks of their kinds, from the worlds' train split."""

    tasks: Count = 200
    """For each suite of a world that has failures."""


class GateTable(GateConfig):
    """What the result must show before it may be released: the gate's settings, and what they are asked of."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    suites: Annotated[tuple[str | SuiteTable, ...], Field(min_length=1)]
    baseline: str | None = None
    """A release, ``NAME@ALIAS``, or an alias of this recipe's release; absent or not there yet: the base."""
    evidence: tuple[str, ...] = ()
    """Folders of people's or a judge's word on this candidate; one that is not there yet makes the run INSUFFICIENT."""

    @property
    def config(self) -> GateConfig:
        """The gate's settings alone."""
        return GateConfig(**{name: getattr(self, name) for name in GateConfig.model_fields})


class Recipe(Table):
    """A whole run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    base: str
    """``strop:tiny``, a model folder, an adapter folder, or a hub id."""
    seed: Annotated[int, Field(ge=0)] = 0
    stages: Annotated[
        tuple[Annotated[AnyStage, Field(discriminator="method")], ...], Field(strict=False, alias="stage", min_length=1)
    ]
    gate: GateTable | None = None
    failures: FailuresTable | None = None
    release: ReleaseTable | None = None
