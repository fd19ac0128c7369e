"""What a judge said of a candidate against a baseline, bound to digests, and on disk."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from strop.digests import digest_bytes, digest_json
from strop.errors import MismatchError
from strop.evals.judging.anchor_files import report_of, report_record
from strop.evals.judging.items import (
    JudgedItem,
    LengthEffect,
    WinRate,
    item_of,
    items_digest,
    length_effect_of,
    position_bias_of,
    win_rate_of,
)
from strop.evals.judging.standing import Limits, Standing, report_numbers
from strop.files import write_json, write_text
from strop.verifiers.judge import PositionBias

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class JudgeResult:
    """A judge's decisions over a suite, and how the judge stands."""

    suite: str
    judge: str
    """The judge's digest: its model, its criterion and its settings."""
    model: str
    """Who judged, as the judge names it."""
    criterion: str
    candidate: str
    """The digest of the candidate's result."""
    baseline: str
    models: tuple[str, str]
    """The model digests of candidate and baseline."""
    standing: Standing
    dimensions: tuple[str, ...]
    """What rests on this judge: where its word does not count, nothing is known of these."""
    accuracy: tuple[float, float] | None
    """Of candidate and baseline on the same items: a win rate is never read alone."""
    items: tuple[JudgedItem, ...]

    @property
    def digest(self) -> str:
        """Identity of the decisions and of everything that they are bound to."""
        bound = [[getattr(self, key) for key in _BOUND], list(self.models), list(self.dimensions)]
        return digest_json([bound, self.accuracy, standing_record(self.standing), items_digest(self.items)])

    def win_rate(self, where: str | None = None) -> WinRate:
        """The candidate's, over all items or those of the slice ``key=value``."""
        return win_rate_of(self.within(where))

    def within(self, where: str | None) -> list[JudgedItem]:
        """The items of a slice; all for None."""
        if where is None:
            return list(self.items)
        key, _, value = where.partition("=")
        return [item for item in self.items if item.slices.get(key) == value]

    def slice_names(self) -> list[str]:
        """Every ``key=value`` that an item belongs to."""
        return sorted({f"{key}={value}" for item in self.items for key, value in item.slices.items()})

    @property
    def position_bias(self) -> PositionBias | None:
        """Over what was asked in both orders; None if nothing was."""
        return position_bias_of(self.items)

    @property
    def length_effect(self) -> LengthEffect | None:
        """Whether the longer answer is preferred; None if nothing was decided between different lengths."""
        return length_effect_of(self.items)

    def numbers(self) -> dict[str, Any]:
        """All of it as JSON."""
        bias, length = self.position_bias, self.length_effect
        return {
            "win_rate": _plain(self.win_rate()),
            "accuracy": None if self.accuracy is None else dict(zip(("candidate", "baseline"), self.accuracy)),
            "slices": {where: _plain(self.win_rate(where)) for where in self.slice_names()},
            "position_bias": None if bias is None else _plain(bias),
            "length_effect": None
            if length is None
            else {**_plain(length), "balanced_win_rate": length.balanced_win_rate},
            "anchors": report_numbers(self.standing.now),
            "problems": list(self.standing.problems),
        }

    # ---------------------------------------------------------------------------------------------------------- on disk

    def save(self, folder: Path | str) -> Path:
        """Write ``judgements_SUITE.jsonl``, then ``judgement_SUITE.json`` with its digest. Raises: OutputError."""
        lines = "".join(line_of(item) for item in self.items)
        write_text(Path(folder) / f"judgements_{self.suite}.jsonl", lines)
        path = Path(folder) / f"judgement_{self.suite}.json"
        bound = {key: getattr(self, key) for key in _BOUND}
        content = {
            "format": _FORMAT,
            **bound,
            "models": list(self.models),
            "dimensions": list(self.dimensions),
            "accuracy": None if self.accuracy is None else list(self.accuracy),
            "standing": standing_record(self.standing),
            "numbers": self.numbers(),
            "items_digest": digest_bytes(lines.encode()),
            "digest": self.digest,
        }
        write_json(path, {**content, "content_digest": digest_json(json.loads(json.dumps(content)))})
        return path

    @classmethod
    def load(cls, folder: Path | str, suite: str) -> JudgeResult:
        """What ``save`` wrote. Raises: MismatchError if it is missing, torn or was changed."""
        path = Path(folder) / f"judgement_{suite}.json"
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            lines = (Path(folder) / f"judgements_{suite}.jsonl").read_bytes()
            if content["format"] != _FORMAT or digest_bytes(lines) != content["items_digest"]:
                raise ValueError("the items are not those that it was computed from")
            first, second = content["models"]
            accuracy = None if content["accuracy"] is None else (content["accuracy"][0], content["accuracy"][1])
            found = cls(
                **{key: content[key] for key in _BOUND},
                models=(first, second),
                dimensions=tuple(content["dimensions"]),
                accuracy=accuracy,
                standing=standing_of(content["standing"]),
                items=tuple(item_of(json.loads(line)) for line in lines.splitlines()),
            )
            if found.digest != content["digest"] or content.pop("content_digest") != digest_json(content):
                raise ValueError("its content does not match its digest")
            return found
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise MismatchError(
                f"cannot use the judgement of {suite}", where=str(path), why=str(error), do="judge again"
            ) from error


_BOUND = ("suite", "judge", "model", "criterion", "candidate", "baseline")


def _plain(found: WinRate | PositionBias | LengthEffect) -> dict[str, Any]:
    values: dict[str, Any] = {
        key: {"low": value.low, "high": value.high} if hasattr(value, "low") else value
        for key, value in vars(found).items()
    }
    return values


def line_of(item: JudgedItem) -> str:
    """The item as a line of JSON."""
    return json.dumps(asdict(item), ensure_ascii=False, sort_keys=True) + "\n"


def standing_record(standing: Standing) -> dict[str, Any]:
    """The standing as JSON."""
    reports = {"now": standing.now, "before": standing.before}
    return {
        "judge": standing.judge,
        "num_anchors": standing.num_anchors,
        "limits": asdict(standing.limits),
        **{key: None if report is None else report_record(report) for key, report in reports.items()},
    }


def standing_of(record: dict[str, Any]) -> Standing:
    """The standing that ``standing_record`` wrote. Raises: ValueError, KeyError, TypeError for anything else."""
    reports = {key: None if record[key] is None else report_of(record[key]) for key in ("now", "before")}
    return Standing(
        judge=record["judge"], num_anchors=record["num_anchors"], limits=Limits(**record["limits"]), **reports
    )
