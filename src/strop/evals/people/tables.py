"""A session's report as tables."""

from __future__ import annotations

from strop.evals.people.effects import Effect
from strop.evals.people.report import PeopleReport, WinRate
from strop.report import Measured, Row, Table, table


def people_tables(report: PeopleReport, *, seed: int = 0) -> list[Table]:
    """Win rates, annotators, and what swayed them."""
    return [_rates(report, seed), _annotators(report, seed), _effects(report, seed)]


def _rates(report: PeopleReport, seed: int) -> Table:
    rows = [_rate_row("win rate", report.overall)]
    rows += [_rate_row(f"[{name}]", rate) for name, rate in report.slices.items()]
    rows += [_rate_row(name.replace("_", " "), rate) for name, rate in report.aspects.items()]
    note = f"{report.num_pairs} pairs; {report.num_identical} identical (ties), {report.num_unjudged} not judged"
    title = f"{report.candidate.name} against {report.baseline.name} on {report.suite}"
    return table(title, ["candidate", "wins", "ties", "losses"], rows, seeds=[seed], note=note)


def _rate_row(label: str, rate: WinRate) -> Row:
    return Row(label=label, cells=(_measured(rate), rate.wins, rate.ties, rate.losses), direction="higher")


def _measured(rate: WinRate) -> Measured | None:
    if rate.value is None:
        return None
    return Measured(value=rate.value, n=rate.num_pairs, low=rate.interval.low, high=rate.interval.high)


def _annotators(report: PeopleReport, seed: int) -> Table:
    rows = []
    for name, one in report.annotators.items():
        same = one.consistency
        told = f"{same.num_same} of {same.num_repeats}" if same.num_repeats else None
        attentive = f"{one.attention.shown - one.attention.missed} of {one.attention.shown}"
        label = f"{name} (excluded)" if one.is_excluded else name
        rows.append(Row(label=label, cells=(one.num_judged, _measured(one.win_rate), told, attentive, one.num_cannot)))
    kappas = [f"{' and '.join(pair)}: kappa {_two(found.kappa)}" for pair, found in report.between.items()]
    if len(report.annotators) > 2:
        kappas.append(f"all: Fleiss' kappa {_two(report.fleiss)} on {report.num_fleiss} pairs")
    rule = f"more than {report.max_missed:.0%} of the attention checks missed: excluded"
    columns = ["pairs", "win rate", "same on repeats", "attention", "cannot judge"]
    return table("annotators", columns, rows, seeds=[seed], note="; ".join([*kappas, rule]))


def _effects(report: PeopleReport, seed: int) -> Table:
    rows = [_effect_row(name, one) for name, one in report.effects.items()]
    rows += [
        _effect_row(f"annotator {one.name}", one) for one in report.annotator_effects if len(report.annotators) > 1
    ]
    note = "quality, position and length are of one Bradley-Terry model; seats are drawn, lengths are not"
    return table("what swayed them", ["estimate", "95 % interval", "no effect", "unit"], rows, seeds=[seed], note=note)


def _effect_row(name: str, effect: Effect) -> Row:
    if effect.value is None:
        return Row(label=name, cells=(None, effect.why, f"{effect.null:g}", effect.unit))
    ends = effect.why if effect.interval is None else f"{effect.interval.low:+.3f} to {effect.interval.high:+.3f}"
    return Row(label=name, cells=(f"{effect.value:+.3f}", ends, f"{effect.null:g}", effect.unit))


def _two(kappa: float | None) -> str:
    return "undefined" if kappa is None else f"{kappa:.2f}"
