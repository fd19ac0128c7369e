"""A session: blind, seats drawn by counters, every judgement kept, nothing lost, several annotators at once."""

import sqlite3
import threading
from pathlib import Path

import pytest

from labelling import ASPECTS, judge_as, two
from strop.errors import MismatchError, RecipeError
from strop.evals.people import Aspect, Plan, Rubric, Session, parse_rubric, read_rubric
from strop.evals.people.rubric import DEFAULT

NONE = dict.fromkeys(ASPECTS, "none")


def make(folder: Path, num_items: int = 60, **plan: float) -> Session:
    return Session.create(folder, *two(num_items), plan=Plan(num_pairs=num_items, **plan))  # type: ignore[arg-type]


def test_seats_are_drawn_for_each_pair_and_annotator_and_stay_when_opened_again(tmp_path: Path) -> None:
    session = make(tmp_path, 400)
    first, second = session.places("ann"), session.places("bea")
    assert first == Session.open(tmp_path).places("ann")
    for places in (first, second):
        left = sum(place.candidate_is_left for place in places if place.pair.role == "pair")
        assert 160 <= left <= 240, "within 4 standard deviations of 200"
    seats = {place.pair.number: place.candidate_is_left for place in first}
    same = sum(seats[place.pair.number] == place.candidate_is_left for place in second)
    assert 170 <= same <= 290, "the second annotator's seats are drawn anew"
    assert [place.pair.number for place in first] != [place.pair.number for place in second]
    assert not {place.key for place in first} & {place.key for place in second}


def test_a_repeat_comes_much_later_with_seats_changed(tmp_path: Path) -> None:
    places = make(tmp_path, 100, repeat=0.2).places("ann")
    at = {place.pair.number: place for place in places}
    repeats = [place for place in places if place.pair.original is not None]
    assert len(repeats) == 20
    for repeat in repeats:
        original = at[repeat.pair.original or 0]
        assert repeat.number - original.number > 30
        assert repeat.candidate_is_left != original.candidate_is_left


def test_the_last_judgement_counts_and_the_earlier_ones_are_kept(tmp_path: Path) -> None:
    session = make(tmp_path)
    place = session.places("ann")[0]
    for choice in ("left", "right", "tie"):
        session.judge("ann", place, choice, NONE)
    assert [one.choice for one in Session.open(tmp_path).history("ann")] == ["left", "right", "tie"]
    assert session.last()["ann", place.pair.number].choice == "tie"
    with (
        pytest.raises(sqlite3.IntegrityError, match="only ever added"),
        sqlite3.connect(session.folder / "session.sqlite") as db,
    ):
        db.execute("UPDATE judgements SET choice = 'left'")


def test_many_annotators_write_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    make(tmp_path, 30)
    failed: list[BaseException] = []

    def work(name: str) -> None:
        try:
            judge_as(Session.open(tmp_path), name, lambda place: "candidate")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(f"annotator {i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    session = Session.open(tmp_path)
    assert not failed
    assert len(session.history()) == 6 * len(session.places("annotator 0"))


def test_an_incomplete_answer_is_refused(tmp_path: Path) -> None:
    session = make(tmp_path)
    place = session.places("ann")[0]
    for choice, aspects, why in [
        ("left", {}, "`information_density` was not answered"),
        ("left", {**NONE, "charm": "left"}, "charm"),
        ("left", {**NONE, "explanation_quality": "both"}, "explanation_quality"),
        ("up", NONE, "'up' is no choice"),
        ("cannot", {}, "needs a reason"),
    ]:
        with pytest.raises(RecipeError, match=why):
            session.judge("ann", place, choice, aspects)
    for name in ("", " ", "ann ", "a" * 41, "<b>", "a\nb", "a\u200bb", "a\u202eb", "e\u0301"):
        with pytest.raises(RecipeError, match="annotator"):
            session.places(name)
    for name in ("a" * 40, "Zoë", "अंजलि", "สมชาย", "ann.b+1@example"):
        assert session.places(name)
    assert session.history() == []


def test_the_same_command_continues_and_another_one_is_refused(tmp_path: Path) -> None:
    session = make(tmp_path)
    judge_as(session, "ann", lambda place: "tie")
    again = make(tmp_path)
    assert again.digest == session.digest
    assert again.token == session.token
    with pytest.raises(MismatchError, match="another session") as refused:
        make(tmp_path, 60, seed=5)
    assert "plan" in refused.value.why
    with pytest.raises(MismatchError, match="holds no session"):
        Session.open(tmp_path / "nowhere")
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "session.sqlite").write_text("not a database, but long enough to be taken for one" * 9)
    with pytest.raises(MismatchError, match="is no session"):
        Session.open(tmp_path / "junk")
    with sqlite3.connect(session.folder / "session.sqlite") as db:
        db.execute("DELETE FROM facts WHERE name = 'format'")
    with pytest.raises(MismatchError, match="format None, not 1"):
        Session.open(tmp_path)


def test_the_digest_is_of_the_questions_and_of_the_answers(tmp_path: Path) -> None:
    session = make(tmp_path)
    empty, plan = session.digest, session.plan_digest
    session.judge("ann", session.places("ann")[0], "left", NONE)
    assert session.digest != empty
    assert session.plan_digest == plan
    session.remember_port(1234)
    assert Session.open(tmp_path).digest == session.digest


@pytest.mark.capability("PR-02", "EV-59", "EV-60", "EV-61")
def test_the_rubric_is_stored_with_the_session_and_asks_the_three_aspects(tmp_path: Path) -> None:
    rubric = Session.open(make(tmp_path).folder).rubric
    assert rubric == DEFAULT
    labels = [aspect.label for aspect in rubric.aspects]
    assert labels == ["Information density", "Explanation quality", "High-risk boundary judgement"]


def test_a_rubric_of_ones_own_is_read_and_its_mistakes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rubric.toml"
    path.write_text(
        'name = "brand"\ninstructions = "Read."\n'
        '[[aspect]]\nname = "voice"\nlabel = "Voice"\nquestion = "Which sounds like us?"\nrequired = false\n'
    )
    voice = Aspect(name="voice", label="Voice", question="Which sounds like us?", required=False)
    assert read_rubric(path) == Rubric(name="brand", instructions="Read.", aspects=(voice,))
    session = Session.create(tmp_path / "s", *two(4), rubric=read_rubric(path))
    session.judge("ann", session.places("ann")[0], "left", {})
    for content, why in [
        ({"aspects": []}, "did you mean `aspect`"),
        ({"aspect": [{"name": "a b", "label": "x", "question": "y"}]}, "cannot be called"),
        ({"aspect": [{"name": "overall", "label": "x", "question": "y"}]}, "asked anyway"),
        ({"aspect": [{"name": "a", "label": "", "question": "y"}]}, "says nothing"),
        ({"aspect": [{"name": "a", "label": "x", "question": "y"}] * 2}, "two aspects `a`"),
        ({"name": 3}, "`name` is 3"),
    ]:
        with pytest.raises(RecipeError, match=why):
            parse_rubric(content)
