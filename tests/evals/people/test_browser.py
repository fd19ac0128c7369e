"""A labelling session in a real browser, by keyboard: killed half-way, reopened, and equal to a count by hand."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from label_driver import Page, browser, serving
from labelling import results
from strop.evals.people import Session, WinRate, analyse
from strop.types import Message, ToolCall

KEYS = {"left": "1", "right": "2", "tie": "3", "none": "0"}
ENTER, ARROW_LEFT = "\ue007", "\ue012"
ATTACK = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
LABELS = "return document.getElementById('questions').textContent"
NOTE = "please choose this one"
PROMPT = (
    Message(role="system", content="You answer for the finance team."),
    Message(role="user", content=f"What is left of the budget? {ATTACK}"),
    Message(role="assistant", tool_calls=(ToolCall(name="get_budget", arguments={"html": ATTACK}),)),
    Message(role="tool", name="get_budget", content=f'{{"left": 765.5, "note": "{ATTACK}"}}'),
    Message(role="user", content="And in words?"),
)


def short(i: int) -> str:
    return f"In case {i}: 765.50 EUR."


def long(i: int) -> str:
    return f"In case {i} there remain, all things considered, some 765.50 EUR. {ATTACK}"


def save_results(folder: Path, num_items: int) -> None:
    """The candidate answers shortly, the baseline at length: the texts alone tell the test who is who."""
    results("c" * 64, [short(i) for i in range(num_items)], prompt=PROMPT).save(folder / "new")
    results("b" * 64, [long(i) for i in range(num_items)], prompt=PROMPT).save(folder / "old")


@dataclass
class Seen:
    """What the driver saw and did at one place."""

    item: int
    candidate_is_left: bool
    is_check: bool
    is_second: bool
    """The item was seen before: this is its repeat."""
    choice: str
    aspects: tuple[str, str, str]

    @property
    def vote(self) -> str:
        """Worked out from the screen alone."""
        if self.choice in ("tie", "cannot"):
            return self.choice
        return "candidate" if (self.choice == "left") == self.candidate_is_left else "baseline"


Script = Callable[[int, bool], str]
"""(item, whether the candidate sits left) → left, right, tie."""


@dataclass
class Person:
    """Somebody at the page, and the record of what they did."""

    page: Page
    decide: Script
    is_attentive: bool = True
    seen: dict[int, Seen] = field(default_factory=dict)

    def judge(self) -> Seen:
        """One pair by keyboard; waits until the next is there."""
        shown = self.page.read()
        one = self._look(shown)
        self.seen[shown["place"]] = one
        self.page.press(*(KEYS[key] for key in (one.choice, *one.aspects)), ENTER)
        self.page.leave(shown["place"])
        return one

    def _look(self, shown: dict[str, Any]) -> Seen:
        item = int(re.search(r"case (\d+)", shown["left"])[1])  # type: ignore[index]
        candidate_is_left = shown["left"].startswith("In case") and ": 765.50" in shown["left"][:30]
        is_check = NOTE in shown["left"] or NOTE in shown["right"]
        choice = self.decide(item, candidate_is_left)
        if is_check and self.is_attentive:
            choice = "left" if NOTE in shown["left"] else "right"
        others = [one for place, one in self.seen.items() if place != shown["place"] and not one.is_check]
        known = any(one.item == item for one in others)
        aspects = ("left", "tie", "none") if item % 2 else ("right", "left", "tie")
        return Seen(item, candidate_is_left, is_check, known and not is_check, choice, aspects)

    @property
    def pairs(self) -> list[Seen]:
        """What counts as a vote."""
        return [one for one in self.seen.values() if not one.is_check and not one.is_second]


def mostly_candidate(item: int, candidate_is_left: bool) -> str:
    """Of ten items six for the candidate, two for the baseline, a tie, and one always for the left seat."""
    kind = item % 10
    if kind == 8:
        return "tie"
    if kind == 9:
        return "left"
    return "left" if (kind < 6) == candidate_is_left else "right"


def left_always(item: int, candidate_is_left: bool) -> str:
    return "left"


def counted(votes: Iterator[str] | list[str]) -> WinRate:
    """By hand."""
    counts = Counter(votes)
    return WinRate(wins=counts["candidate"], ties=counts["tie"], losses=counts["baseline"])


def wilson_by_hand(points: float, n: int) -> tuple[float, float]:
    """Wilson 1927 with z = 1.959964, written out."""
    z, p = 1.959964, points / n
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)


def check_report(session: Session, ann: Person, bea: Person | None) -> None:
    """The analysis against what the drivers saw and did."""
    report = analyse(session)
    cast = [one for one in ann.pairs if one.vote != "cannot"]
    assert report.overall == counted([one.vote for one in cast])
    n = len(cast)
    points = sum({"candidate": 1.0, "tie": 0.5, "baseline": 0.0}[one.vote] for one in cast)
    assert report.overall.value == pytest.approx(points / n)
    assert tuple(vars(report.overall.interval).values()) == pytest.approx(wilson_by_hand(points, n), abs=1e-6)
    for slice_name, parity in (("kind=a", 0), ("kind=b", 1)):
        assert report.slices[slice_name] == counted([one.vote for one in cast if one.item % 2 == parity])
    for number, aspect in enumerate(session.rubric.aspects):
        told = [(one, one.aspects[number]) for one in cast if one.aspects[number] != "none"]
        votes = [
            "tie" if w == "tie" else "candidate" if (w == "left") == o.candidate_is_left else "baseline"
            for o, w in told
        ]
        assert report.aspects[aspect.name] == counted(votes)
    left = [0.5 if one.choice == "tie" else float(one.choice == "left") for one in cast]
    assert report.effects["left share"].value == pytest.approx(sum(left) / n)
    own = report.annotators["ann"]
    firsts = {one.item: one for one in ann.pairs}
    seconds = [one for one in ann.seen.values() if one.is_second]
    assert own.consistency.num_repeats == len(seconds)
    assert own.consistency.num_same == sum(one.vote == firsts[one.item].vote for one in seconds)
    checks = [one for one in ann.seen.values() if one.is_check]
    assert (own.attention.shown, own.attention.missed, own.is_excluded) == (len(checks), 0, False)
    if bea is not None:
        missed = sum(one.choice != "left" for one in bea.seen.values() if one.is_check)
        theirs = report.annotators["bea"]
        assert theirs.win_rate == counted([one.vote for one in bea.pairs])
        assert theirs.attention.missed >= missed
        assert theirs.is_excluded == (theirs.attention.missed > 0.25 * theirs.attention.shown)


@pytest.mark.capability("EV-07", "PR-02", "EV-59", "EV-60", "EV-61")
def test_a_short_session_by_keyboard_survives_a_kill_and_equals_the_count_by_hand(tmp_path: Path) -> None:
    save_results(tmp_path, 12)
    command = (
        "new",
        "old",
        "--suite",
        "people",
        "--pairs",
        12,
        "--session",
        "s",
        "--annotator",
        "ann",
        "--repeat",
        0.2,
    )
    with browser() as page:
        ann = Person(page, mostly_candidate)
        with serving(tmp_path, *command) as server:
            address = server.address
            shown = page.open(address)
            assert shown["turns"].count(ATTACK) >= 2, "what was asked is text, never markup"
            assert not page.driver.execute_script("return document.querySelectorAll('main img, main script').length")
            asked = page.driver.execute_script(LABELS)
            for label in ("better?", "Information density", "Explanation quality", "High-risk boundary judgement"):
                assert label in asked, "the rubric stands before the judge"
            first = ann.judge()
            ann.judge()
            page.press("b")
            page.wait("return document.body.dataset.place === '1'")
            page.press("b")
            page.wait("return document.body.dataset.place === '0'")
            again = page.read()
            assert again["left"] == shown["left"], "seats stay"
            assert again["chosen"] == [first.choice, *first.aspects]
            ann.decide = left_always
            changed = ann.judge()  # the first pair judged anew; place 1 comes next, then the first unjudged
            ann.decide = mostly_candidate
            assert changed.choice == "left"
            page.press(ENTER)
            page.leave(1)
            page.press("c", "the question is unclear", ENTER)
            page.leave(2)
            ann.seen[2] = Seen(-1, True, False, False, "cannot", ("none", "none", "none"))
            waiting = page.read()
            assert waiting["place"] == 3
            page.press(ARROW_LEFT, "1", "1", "0")
            server.kill()
        page.press(ENTER)
        page.wait("return document.getElementById('error').textContent.includes('Not saved')")
        assert page.read()["chosen"] == ["left", "left", "left", "none"], "what was answered still stands there"
        with serving(tmp_path, "--session", "s") as server:
            assert server.address == address.partition("?")[0], "the open page finds the server again"
            page.press(ENTER)
            page.leave(3)
            ann.seen[3] = Seen(*_facts(waiting), "left", ("left", "left", "none"))  # type: ignore[arg-type]
            while page.state() == "work":
                ann.judge()
            assert page.read()["count"] == "15 of 15 judged"
            assert page.driver.title == "Which answer is better?", "no planted script ran"
            severe = [entry for entry in page.driver.get_log("browser") if "ERR_CONNECTION" not in entry["message"]]
            assert severe == []
            said = server.stop()
    assert "ann: 15 of 15 judged" in said
    session = Session.open(tmp_path / "s")
    cannot = [one for one in session.last().values() if one.choice == "cannot"]
    assert [one.reason for one in cannot] == ["the question is unclear"]
    check_report(session, ann, None)


def _facts(shown: dict[str, Any]) -> tuple[int, bool, bool, bool]:
    item = int(re.search(r"case (\d+)", shown["left"])[1])  # type: ignore[index]
    is_check = NOTE in shown["left"] or NOTE in shown["right"]
    return item, ": 765.50" in shown["left"][:30], is_check, False


@pytest.mark.slow
@pytest.mark.capability("EV-07")
def test_a_200_pair_session_killed_half_way_loses_nothing_and_equals_the_count_by_hand(tmp_path: Path) -> None:
    save_results(tmp_path, 220)
    command = ("new", "old", "--suite", "people", "--session", "s")
    with serving(tmp_path, *command) as server, browser() as page:
        address = f"{server.address}?annotator=ann"
        ann = Person(page, mostly_candidate)
        page.open(address)
        for _ in range(115):
            ann.judge()
        last = page.read()
        server.kill()  # signal 9 with the page open; then the browser goes as well
    before = {one: Session.open(tmp_path / "s").last()[one] for one in Session.open(tmp_path / "s").last()}
    assert len(before) == 115
    with serving(tmp_path, *command) as server, browser(800, 900) as page, browser() as other:
        ann.page = page
        shown = page.open(address)
        assert (shown["place"], shown["left"], shown["right"]) == (115, last["left"], last["right"])
        for place in range(114, 109, -1):
            page.press("b")
            page.wait(f"return document.body.dataset.place === '{place}'")
            assert page.read()["chosen"] == [ann.seen[place].choice, *ann.seen[place].aspects]
            assert ann._look(page.read()).candidate_is_left == ann.seen[place].candidate_is_left
        page.open(address)
        bea = Person(other, left_always, is_attentive=False)
        other.open(f"{server.address}?annotator=bea")
        for _ in range(60):
            ann.judge()
            bea.judge()
        while page.state() == "work":
            ann.judge()
        while other.state() == "work":
            bea.judge()
        said = server.stop()
    assert "ann: 230 of 230 judged" in said, "200 pairs, 20 repeats, 10 checks"
    assert "bea: 230 of 230 judged" in said
    session = Session.open(tmp_path / "s")
    history = session.history("ann")
    assert len(history) == 230, "nothing was lost and nothing twice"
    assert {key: session.last()[key] for key in before} == before
    check_report(session, ann, bea)
