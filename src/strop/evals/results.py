"""What a suite measured: per item, summed up with intervals, and on disk."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from strop.digests import digest_bytes, digest_json
from strop.errors import MismatchError
from strop.evals.metrics import mean, percentile, ratio
from strop.evals.suite import Metric
from strop.files import write_json, write_text
from strop.types import Message, ToolCall

if TYPE_CHECKING:
    from strop.statistics import Interval

_FORMAT = 3
_VOLATILE = {"latency_s", "cost"}
"""Of an answer, what another machine or another price changes."""


@dataclass(frozen=True, kw_only=True)
class SampleResult:
    """One answer to one task."""

    text: str
    finish_reason: str
    state: str
    """Of the verdict."""
    passed: bool
    score: float | None
    reasons: tuple[str, ...]
    measures: Mapping[str, float | None]
    num_prompt_tokens: int
    num_tokens: int
    latency_s: float
    """How long the batch of requests took in which it was answered, on that machine under its load: an upper bound
    of the answer's own time, as nobody in the batch is told before all are done."""
    cost: float | None = None

    @property
    def is_graded(self) -> bool:
        """Whether its verdict counts."""
        return self.state in ("graded", "unparsable") and self.score is not None


@dataclass(frozen=True, kw_only=True)
class ItemResult:
    """One task with its answers."""

    id: str
    slices: Mapping[str, str]
    question: str
    """The last turn of the prompt."""
    samples: tuple[SampleResult, ...]
    cluster: str = ""
    """See ``Task.cluster``."""
    prompt: tuple[Message, ...] = ()
    """All turns that were asked, so that people can read them and pairs can be made of the answers."""
    tools: tuple[str, ...] = ()
    """The names of the tools that were offered; what they promise stands in ``SuiteResult.surroundings``."""

    @property
    def texts(self) -> tuple[str, ...]:
        """What was answered."""
        return tuple(sample.text for sample in self.samples)

    def value(self, measure: str) -> float | None:
        """The measure's mean over the samples to which it applies; None if it applies to none."""
        return mean([value for sample in self.samples if (value := sample.measures.get(measure)) is not None])

    @property
    def measures(self) -> dict[str, float | None]:
        """Every measure's ``value``."""
        names = dict.fromkeys(name for sample in self.samples for name in sample.measures)
        return {name: self.value(name) for name in names}


class Rate(NamedTuple):
    """A number with what it rests on."""

    value: float | None
    """None: undefined, the metric applied to no answer."""
    num_items: int
    """Tasks to which it applied."""
    interval: Interval | None
    """95 %; None where fewer than two clusters leave the spread unknown."""


@dataclass(frozen=True, kw_only=True)
class SuiteResult:
    """A model's answers to a suite, judged and measured. Raises: MismatchError if an id stands twice."""

    name: str
    digests: Mapping[str, str]
    """``model``, ``template``, ``tokenizer``, ``tools``, ``index``, ``verifier``, ``suite``."""
    params: Mapping[str, Any]
    """The sampling parameters and ``samples_per_task``."""
    metrics: Mapping[str, Metric]
    items: tuple[ItemResult, ...]
    version: str = "1"
    """Of the suite."""
    surroundings: Mapping[str, Any] = field(default_factory=dict)
    """What stood around the weights, in full, so that a drift can be shown and not only told: ``template`` (the lock),
    ``tools`` (name → its contract), ``index``."""
    _summaries: dict[str, Rate] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        twice = [item_id for item_id, count in Counter(item.id for item in self.items).items() if count > 1]
        if twice:
            raise MismatchError(f"results of {self.name} hold {len(twice)} items twice, for example {twice[0]!r}")

    @property
    def digest(self) -> str:
        """Identity of all that a gate, a drift check or a table reads of it: everything but timings and prices."""
        metrics = {name: asdict(metric) for name, metric in self.metrics.items()}
        about = [self.name, self.version, dict(self.digests), dict(self.params), metrics, dict(self.surroundings)]
        return digest_json([_as_read(about), [_told(item) for item in self.items]])

    @property
    def samples(self) -> Iterator[SampleResult]:
        """All answers."""
        return (sample for item in self.items for sample in item.samples)

    @property
    def num_ungraded(self) -> int:
        """Answers that could not be judged: kept out of every rate, never counted as 0."""
        return sum(not sample.is_graded for sample in self.samples)

    def slice_names(self) -> list[str]:
        """Every ``key=value`` that an item belongs to."""
        return sorted({f"{key}={value}" for item in self.items for key, value in item.slices.items()})

    def metric_names(self) -> list[str]:
        """The suite's metrics first, then everything else that was measured."""
        return list(self._all_metric_names)

    @cached_property
    def _all_metric_names(self) -> tuple[str, ...]:
        """A gate asks for them comparison by comparison."""
        measured = dict.fromkeys(name for sample in self.samples for name in sample.measures)
        return tuple(dict.fromkeys([*self.metrics, *measured]))

    def rate(self, metric: str, where: str | None = None) -> Rate:
        """The metric over all items, or over those of the slice ``key=value``."""
        key = metric if where is None else f"{metric}[{where}]"
        if key not in self._summaries:
            self._summaries[key] = self._rate(metric, self.within(where))
        return self._summaries[key]

    def within(self, where: str | None) -> list[ItemResult]:
        """The items of a slice; all for None."""
        if where is None:
            return list(self.items)
        key, _, value = where.partition("=")
        return [item for item in self.items if item.slices.get(key) == value]

    def _rate(self, metric: str, items: Sequence[ItemResult]) -> Rate:
        from strop.statistics import mean_interval, wilson  # numpy is slow to import, and recipes are read without it

        weight = self.metrics[metric].weight if metric in self.metrics else None
        values: list[float] = []
        names: set[str] = set()
        clusters: list[str] = []
        for item in items:
            for sample in item.samples:
                value = sample.measures.get(metric)
                times = 1 if weight is None else round(sample.measures.get(weight) or 0)
                if value is not None and times:
                    values += [value] * times
                    clusters += [item.cluster or item.id] * times
                    names.add(item.id)
        num_items, num_clusters = len(names), len(set(clusters))
        if not values:
            return Rate(None, 0, None)
        if num_clusters == len(values) and set(values) <= {0.0, 1.0}:
            return Rate(sum(values) / len(values), num_items, wilson(sum(values), len(values)))
        if len(set(values)) == 1 and 0 <= values[0] <= 1:  # no spread: the bootstrap would have no width
            return Rate(values[0], num_items, wilson(values[0] * num_clusters, num_clusters))
        interval = mean_interval(values, clusters=clusters) if num_clusters > 1 else None
        return Rate(sum(values) / len(values), num_items, interval)

    def summary(self, *, slices: bool = True) -> dict[str, Rate]:
        """``metric`` and ``metric[key=value]`` → value, items, 95 % interval.

        Wilson where every cluster gives one 0 or 1, and over the clusters where all values of a rate are equal; else
        the bootstrap over clusters: the samples of one task, and of the tasks that are one piece of evidence.
        """
        rates = {metric: self.rate(metric) for metric in self.metric_names()}
        for where in self.slice_names() if slices else []:
            found = {f"{metric}[{where}]": self.rate(metric, where) for metric in self.metric_names()}
            rates |= {key: rate for key, rate in found.items() if rate.num_items}
        return rates

    def runtime(self) -> dict[str, float | None]:
        """What serving takes: latency, mean tokens and calls, the cost of a request, shares cut off and not graded.

        Latency is that of whole batches, see ``SampleResult.latency_s``.
        Of results that were imported (``surroundings["imported"]``) nobody measured but the last.
        """
        samples = list(self.samples)
        costs = [sample.cost for sample in samples if sample.cost is not None]
        latencies = [sample.latency_s for sample in samples]
        found = {
            "latency_p50_s": percentile(latencies, 0.5),
            "latency_p95_s": percentile(latencies, 0.95),
            "mean_tokens": mean([sample.num_tokens for sample in samples]),
            "mean_calls": mean([sample.text.count("<tool_call>") for sample in samples]),
            "cost_per_request": mean(costs) if len(costs) == len(samples) else None,
            "truncated_share": ratio(sum(s.finish_reason != "stop" for s in samples), len(samples)),
            "ungraded_share": ratio(self.num_ungraded, len(samples)),
        }
        measured = ("ungraded_share",) if "imported" in self.surroundings else found
        return {name: value if name in measured else None for name, value in found.items()}

    # ---------------------------------------------------------------------------------------------------------- on disk

    def save(self, folder: Path | str) -> Path:
        """Write ``samples_NAME.jsonl``, then ``results_NAME.json``, which holds its digest. Raises: OutputError."""
        lines = "".join(json.dumps(asdict(item), ensure_ascii=False, sort_keys=True) + "\n" for item in self.items)
        write_text(Path(folder) / f"samples_{self.name}.jsonl", lines)
        path = Path(folder) / f"results_{self.name}.json"
        rates = {key: {"value": r.value, "num_items": r.num_items, **_ends(r)} for key, r in self.summary().items()}
        content = {
            "format": _FORMAT,
            "name": self.name,
            "version": self.version,
            "digests": dict(self.digests),
            "surroundings": dict(self.surroundings),
            "params": dict(self.params),
            "metrics": {name: asdict(metric) for name, metric in self.metrics.items()},
            "num_items": len(self.items),
            "num_ungraded": self.num_ungraded,
            "results": rates,
            "runtime": self.runtime(),
            "samples_digest": digest_bytes(lines.encode()),
            "digest": self.digest,
        }
        write_json(path, content)
        return path

    @classmethod
    def load(cls, folder: Path | str, name: str) -> SuiteResult:
        """What ``save`` wrote. Raises: MismatchError if it is missing, torn, was changed, or is of another format."""
        path = Path(folder) / f"results_{name}.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            lines = (Path(folder) / f"samples_{name}.jsonl").read_bytes()
            if content["format"] != _FORMAT:
                raise ValueError(f"they are of format {content['format']}, and this version reads {_FORMAT}")
            if content["name"] != name:
                raise ValueError(f"the file was renamed: it holds the results of suite {content['name']}")
            if digest_bytes(lines) != content["samples_digest"]:
                raise ValueError("the samples are not those that the results were computed from")
            found = cls(
                name=content["name"],
                digests=content["digests"],
                params=content["params"],
                metrics={metric: _metric(values) for metric, values in content["metrics"].items()},
                version=content["version"],
                surroundings=content["surroundings"],
                items=tuple(_item(json.loads(line)) for line in lines.splitlines()),
            )
            if found.digest != content["digest"]:
                raise ValueError("what it says of model, suite, metrics or surroundings was changed afterwards")
            return found
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise MismatchError(
                f"cannot use the results of {name}", where=str(path), why=str(error), do="evaluate again"
            ) from error


def result_names(folder: Path | str) -> list[str]:
    """The suites whose results lie in the folder, in the order of their files; none where there is no such folder."""
    paths = sorted(Path(folder).glob("results_*.json"))
    return [path.name.removeprefix("results_").removesuffix(".json") for path in paths]


def load_all(folder: Path | str) -> dict[str, SuiteResult]:
    """Suite → result, all of the folder's, empty if there are none. Raises: MismatchError as ``SuiteResult.load``."""
    return {name: SuiteResult.load(folder, name) for name in result_names(folder)}


def _ends(rate: Rate) -> dict[str, float | None]:
    interval = rate.interval
    return {"low": None, "high": None} if interval is None else {"low": interval.low, "high": interval.high}


def _as_read(value: object) -> Any:
    """The value as JSON gives it back: tuples are lists, and keys strings."""
    return json.loads(json.dumps(value))


def _told(item: ItemResult) -> list[Any]:
    """An item as its result's digest sees it; what was asked stands in the suite's digest."""
    samples = [{name: value for name, value in vars(one).items() if name not in _VOLATILE} for one in item.samples]
    return [item.id, item.cluster or item.id, dict(item.slices), samples]


def _metric(values: Mapping[str, Any]) -> Metric:
    return Metric(**{**values, "beside": tuple(values["beside"])})


def _item(row: dict[str, Any]) -> ItemResult:
    samples = tuple(SampleResult(**{**sample, "reasons": tuple(sample["reasons"])}) for sample in row.pop("samples"))
    prompt, tools = tuple(map(_message, row.pop("prompt", ()))), tuple(row.pop("tools", ()))
    return ItemResult(**row, samples=samples, prompt=prompt, tools=tools)


def _message(turn: dict[str, Any]) -> Message:
    return Message(**{**turn, "tool_calls": tuple(ToolCall(**call) for call in turn["tool_calls"])})
