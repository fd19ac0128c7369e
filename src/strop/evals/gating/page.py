"""The gate report as a page: the decision in words, every number with its interval, the items that decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from strop import report as pages
from strop.evals.gating.evidence import BlockingTest, Evidence
from strop.evals.pairing import paired_change
from strop.evals.results import ItemResult, SampleResult, SuiteResult
from strop.evals.suite import DIMENSIONS
from strop.report.tables import Cell
from strop.types import Check, Decision, Json

Results = Mapping[str, SuiteResult]
_CONTROL = ("<tool_call>", "</tool_call>", "<think>", "</think>")
_MAX_CHECKS, _MAX_ITEMS = 12, 3
_MAX_ANSWERS = 2
_MAX_CHARACTERS = 2000
_SURROUNDINGS = ("template", "tokenizer", "tools", "index", "verifier", "suite")


def gate_page(
    report: Json,
    decision: Decision,
    candidate: Results,
    baseline: Results | None = None,
    evidence: Sequence[Evidence] = (),
) -> str:
    """One HTML document that loads nothing. No rate stands in it without its items and its interval."""
    sections = [
        pages.Section(title="In plain words", items=(_words(decision, candidate, baseline),)),
        pages.Section(
            title="Metrics",
            items=tuple(_metric_tables(candidate, baseline)),
            intro="By dimension; what a metric must not be read without stands in its table.",
        ),
        pages.Section(title="Slices", items=tuple(_slice_tables(candidate, baseline))),
        pages.Section(title="Items that decided", items=_items(decision, candidate, baseline)),
        pages.Section(title="Drift", items=tuple(_drift(candidate, baseline))),
        pages.Section(title="Evidence", items=tuple(map(_evidence, evidence))),
        pages.Section(title="Lineage", items=(pages.Lineage(digests=_lineage(report)),)),
    ]
    return pages.page(
        "Gate report",
        [section for section in sections if section.items],
        decision=decision,
        subtitle=f"candidate {_short(report['candidate'])}, baseline {_short(report['baseline'])}",
        facts={"decided": report["created"], "by": report["who"] or "unknown", "strop": report["strop_version"]},
    )


def _short(identities: Json | None) -> str:
    return "none" if identities is None else str(identities["model"])[:12]


# ---------------------------------------------------------------------------------------------------------------- words


def _words(decision: Decision, candidate: Results, baseline: Results | None) -> pages.Text:
    """What was asked, and why it came out so."""
    num_items = sum(len(result.items) for result in candidate.values())
    against = "compared with a baseline on the same items" if baseline is not None else "without a baseline"
    told = [f"The candidate answered {num_items} items of {', '.join(candidate)}, {against}."]
    failed: dict[str, list[Check]] = {"BLOCK": [], "INSUFFICIENT": [], "PASS": []}
    for check in decision.checks:
        failed[check.outcome].append(check)
    heads = {"BLOCK": "It must not be released because:", "INSUFFICIENT": "It could not be decided:"}
    for outcome, head in heads.items():
        if failed[outcome]:
            told += [head, *(f"{check.name}: {check.reason}" for check in failed[outcome])]
    told.append(f"{len(failed['PASS'])} of {len(decision.checks)} checks held.")
    return pages.Text(paragraphs=tuple(told))


# --------------------------------------------------------------------------------------------------------------- tables


def together(metrics: Sequence[str], result: SuiteResult) -> list[str]:
    """The metrics with each one's companions right behind it, also those that were not measured."""
    found: list[str] = []
    for metric in metrics:
        if metric not in found:
            found.append(metric)
        beside = result.metrics[metric].beside if metric in result.metrics else ()
        found += [companion for companion in beside if companion not in found]
    return found


def _metric_tables(candidate: Results, baseline: Results | None) -> Iterator[pages.Table]:
    """A table a suite and dimension, with the paired change."""
    for name, result in candidate.items():
        before = (baseline or {}).get(name)
        for dimension in (*DIMENSIONS, None):
            own = [metric for metric, how in result.metrics.items() if how.dimension == dimension]
            if own:
                rows = [_row(metric, metric, None, result, before) for metric in together(own, result)]
                title = f"{name} · {dimension or 'no dimension given'}"
                yield _table(title, rows, result, before)


def _slice_tables(candidate: Results, baseline: Results | None) -> Iterator[pages.Table]:
    """A table a suite and key of its slices."""
    for name, result in candidate.items():
        before = (baseline or {}).get(name)
        for key in dict.fromkeys(where.partition("=")[0] for where in result.slice_names()):
            places = [where for where in result.slice_names() if where.partition("=")[0] == key]
            rows = [
                _row(f"{where.partition('=')[2]} · {metric}", metric, where, result, before)
                for where in places
                for metric in together(list(result.metrics), result)
                if result.rate(metric, where).num_items
            ]
            if rows:
                yield _table(f"{name} · by {key}", rows, result, before)


def _table(title: str, rows: list[pages.Row], result: SuiteResult, before: SuiteResult | None) -> pages.Table:
    ungraded = result.num_ungraded
    params = result.params
    drawn = f"temperature {params.get('temperature', 0):g}, answers an item: {params.get('samples_per_task', 1)}"
    drawn += "" if before is None else "; changes with 95 % intervals, which the gate corrects over all of its tests"
    note = f"{drawn}; {ungraded} answers could not be judged and count nowhere" if ungraded else drawn
    columns = ["candidate"] if before is None else ["baseline", "candidate"]
    return pages.table(title, columns, rows, seeds=[int(params.get("seed", 0))], note=note)


def _row(label: str, metric: str, where: str | None, result: SuiteResult, before: SuiteResult | None) -> pages.Row:
    how = result.metrics.get(metric)
    asides = [] if how is None or not how.beside else [f"read with {', '.join(how.beside)}"]
    asides += [] if how is None or how.is_gate else ["never a gate"]
    sides = [result] if before is None else [before, result]
    cells = tuple(_cell(side, metric, where) for side in sides)
    return pages.Row(
        label=label + (f" ({'; '.join(asides)})" if asides else ""),
        cells=cells,
        direction=how.direction if how is not None else None,
        change=_change(result, before, metric) if where is None and before is not None else None,
    )


def _cell(result: SuiteResult, metric: str, where: str | None) -> Cell:
    rate = result.rate(metric, where)
    if rate.value is None:
        return None if metric in result.metric_names() else "not measured"
    if rate.interval is None:
        return f"{rate.value:.4g} on {rate.num_items} item: its spread is unknown"
    low, high = min(rate.interval.low, rate.value), max(rate.interval.high, rate.value)
    unit = "percent" if _is_share(result, metric) else "number"
    return pages.Measured(value=rate.value, n=rate.num_items, low=low, high=high, unit=unit)  # type: ignore[arg-type]


def _is_share(result: SuiteResult, metric: str) -> bool:
    return all(0 <= (s.measures.get(metric) or 0) <= 1 for s in result.samples)


def _change(result: SuiteResult, before: SuiteResult, metric: str) -> pages.Measured | None:
    """Candidate - baseline on the items of both."""
    change = paired_change(result, before, metric)
    if change is None:
        return None
    unit = "points" if _is_share(result, metric) and _is_share(before, metric) else "number"
    return pages.Measured(
        value=change.value,
        n=change.num_items,
        low=change.interval.low,
        high=change.interval.high,
        unit=unit,  # type: ignore[arg-type]
    )


# ---------------------------------------------------------------------------------------------------------------- items


def _items(decision: Decision, candidate: Results, baseline: Results | None) -> tuple[pages.Samples, ...]:
    """Both answers to the first items of each check that failed, or of the comparisons where none did."""
    telling = [check for check in decision.checks if check.outcome != "PASS" and check.numbers.get("items")]
    telling = telling or [check for check in decision.checks if check.numbers.get("items")]
    shown = []
    for check in telling[:_MAX_CHECKS]:
        for item_id in list(check.numbers["items"])[:_MAX_ITEMS]:
            place = _place(str(item_id), check.name, candidate)
            if place is not None:
                shown.append(_side_by_side(check.name, *place, baseline))
    return (pages.Samples(samples=tuple(shown)),) if shown else ()


def _place(item_id: str, check: str, candidate: Results) -> tuple[str, ItemResult] | None:
    """Suite and item of an id; the suite that the check names before others that hold it."""
    for name in sorted(candidate, key=lambda name: not check.startswith((f"{name}.", f"{name}:"))):
        for item in candidate[name].items:
            if item.id == item_id:
                return name, item
    return None


def _side_by_side(check: str, suite: str, item: ItemResult, baseline: Results | None) -> pages.SideBySide:
    before = (baseline or {}).get(suite)
    earlier = next((one for one in before.items if one.id == item.id), None) if before is not None else None
    sides = [("baseline", earlier.samples)] if earlier is not None else []
    return pages.SideBySide(
        title=f"{check} · {item.id}",
        prompt=pages.mark_control(item.question[-_MAX_CHARACTERS:], _CONTROL),
        transcripts=tuple(
            _transcript(side if index == 0 else f"{side}, answer {index + 1}", sample)
            for side, samples in [*sides, ("candidate", item.samples)]
            for index, sample in enumerate(samples[:_MAX_ANSWERS])
        ),
    )


def _transcript(label: str, answer: SampleResult) -> pages.Transcript:
    if not answer.is_graded:
        verdict = f"not graded: {answer.state}"
    else:
        verdict = "passed" if answer.passed else ", ".join(["failed", *answer.reasons])
    pieces = pages.mark_control(answer.text[:_MAX_CHARACTERS], _CONTROL)
    return pages.Transcript(
        label=label, pieces=pieces, verdict=verdict, is_passed=answer.passed if answer.is_graded else None
    )


# -------------------------------------------------------------------------------------------- drift, evidence, lineage


def _drift(candidate: Results, baseline: Results | None) -> Iterator[pages.Table]:
    """What stood around the weights on both sides."""
    for name, result in candidate.items():
        before = (baseline or {}).get(name)
        if before is None:
            continue
        rows = []
        for what in _SURROUNDINGS:
            old, new = before.digests.get(what), result.digests.get(what)
            told = "the same" if old == new else ", ".join(["changed", *_changed(what, before, result)])
            rows.append(pages.Row(label=what, cells=(_digest(old), _digest(new), told)))
        yield pages.table(f"{name} · around the weights", ["baseline", "candidate", "compared"], rows)


def _digest(digest: str | None) -> str:
    return "not recorded" if digest is None else digest[:12] or "none"


def _changed(what: str, before: SuiteResult, after: SuiteResult) -> list[str]:
    """The parts of the lock, or the tools, that differ."""
    old, new = before.surroundings.get(what), after.surroundings.get(what)
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return []
    return sorted(str(key) for key in {*old, *new} if old.get(key) != new.get(key))


def _evidence(evidence: Evidence) -> pages.Table:
    rows = []
    for found in evidence.findings():
        if isinstance(found, BlockingTest):
            told = (f"p = {found.p_value:.2g}, decided together with all blocking tests", found.told)
        else:
            told = (found.outcome, found.reason)
        rows.append(pages.Row(label=found.name, cells=told))
    note = f"digest {evidence.digest[:12]}"
    return pages.table(evidence.name, ["outcome", "reason"], rows, note=note)


def _lineage(report: Json) -> dict[str, str]:
    digests = {"strop": report["strop_version"], "configuration": report["config_digest"]}
    for side in ("candidate", "baseline"):
        found = report[side]
        if found is None:
            continue
        digests |= {f"{side}: {what}": str(found[what]) for what in ("model", "template")}
        for name, suite in found["suites"].items():
            digests |= {f"{side}: {name}: {what}": str(suite[what]) for what in ("suite", "verifier", "result")}
    digests |= {f"evidence: {one['name']}": one["digest"] for one in report["evidence"]}
    return {**digests, "report": report.get("digest", "")}
