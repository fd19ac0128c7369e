"""Training rows against suites: what leaked is named, and the worlds' own splits are clean."""

from dataclasses import replace

import pytest

from strop.evals import GateConfig, Suite, gate, task_suite, world_suite
from strop.evals.contamination import Contamination, find_contamination
from strop.types import Check, Conversation, Document, Message, Preference, Task
from strop.verifiers import NumberAnswer
from strop.worlds import get_world, world_names
from suite_outcomes import ones, result

STORY = (
    "Mara bakes twelve loaves every morning and sells each of them for four coins at the harbour market. On rainy days "
    "half of her customers stay at home, and she gives what is left to the sailors. How much does she earn in a week "
    "with three rainy days?"
)
OTHER = (
    "A carpenter cuts a plank of nine feet into pieces of two feet each, and uses the rest for wedges. Every wedge "
    "takes a quarter of a foot, and a chair needs six of them. How many chairs can he finish from twenty planks?"
)


def user(text: str) -> Message:
    return Message(role="user", content=text)


def said(text: str) -> Message:
    return Message(role="assistant", content=text)


def task(name: str, *turns: Message, cluster: str = "") -> Task:
    return Task(id=name, prompt=turns, reference={"answer": 1}, cluster=cluster)


def suite(*tasks: Task) -> Suite:
    return task_suite("held-out", tasks, NumberAnswer())


def row(*turns: Message, name: str = "r1") -> Conversation:
    return Conversation(id=name, messages=turns, source="rows.jsonl:7")


SUITE = suite(task("story", user(STORY)), task("planks", user(OTHER)), task("sum", user("What is 17 + 25?")))


def found(training: object, asked: Suite = SUITE) -> list[tuple[str, str]]:
    (leaks,) = find_contamination({"sft": [training]}, [asked]).suites
    return [(leak.item, leak.kind) for leak in leaks.leaks]


@pytest.mark.capability("EV-52")
@pytest.mark.parametrize(
    "training",
    [
        row(user("What is 17 + 25?"), said("42")),
        row(Message(role="system", content="Be brief."), user("  what is  17 + 25?"), said("42")),
        row(user("What is 17 + 25?"), said("42"), user("Thanks"), said("!")),
        Preference(id="p", prompt=(user("What is 17 + 25?"),), chosen=(said("42"),), rejected=(said("41"),)),
        task("another id", user("WHAT IS 17 + 25?")),
    ],
)
def test_an_item_that_was_trained_on_is_found_whatever_the_rows_shape(training: object) -> None:
    assert found(training) == [("sum", "exact")]


@pytest.mark.parametrize(
    "training",
    [
        row(user("What is 17 - 25?"), said("-8")),
        row(user("What is 17 + 26?"), said("43")),
        row(user("Add"), said("What?"), user("What is 17 + 25?"), said("42")),
        row(user("What is 17 + 25?")),
    ],
)
def test_another_question_and_one_that_no_answer_follows_are_no_leak(training: object) -> None:
    assert found(training) == []


@pytest.mark.capability("EV-52")
def test_a_question_quoted_in_a_document_a_pair_or_a_longer_turn_is_found() -> None:
    assert found(Document(id="d", text=f"Worksheet 3.\n\n1. {STORY}\n2. …")) == [("story", "quoted")]
    assert found(row(user(f"Solve this: {OTHER}"), said("4"))) == [("planks", "quoted")]
    assert found(row(user("Give me an exercise."), said(OTHER))) == [("planks", "quoted")]


def test_a_near_copy_is_marked_and_the_same_words_in_another_order_are_not() -> None:
    near = STORY.replace("sailors", "fishermen")
    assert found(row(user(near), said("288"))) == [("story", "similar")]
    shuffled = " ".join(sorted(STORY.split()))
    assert found(row(user(shuffled), said("288"))) == []
    assert found(row(user(STORY[: len(STORY) // 2]), said("?"))) == []


def test_a_form_filled_otherwise_is_another_question() -> None:
    """Eleven of twelve words are the same, and so are two of the three names."""
    asked = [
        f"What did the team {team} in {place} spend on travel in the {part} quarter?" for team, place, part in CELLS
    ]
    trained = "What did the team audit in North spend on travel in the third quarter?"
    assert found(row(user(trained), said("5")), suite(*(task(one, user(one)) for one in asked))) == []


CELLS = [
    ("audit", "North", "first"),
    ("audit", "South", "third"),
    ("legal", "North", "third"),
    ("rent", "West", "last"),
]


def test_the_system_message_counts_where_it_tells_items_apart() -> None:
    tenants = [Message(role="system", content=f"Bank {name}.") for name in "AB"]
    asked = suite(*(task(tenant.content, tenant, user("Balance?")) for tenant in tenants))
    assert found(row(tenants[1], user("Balance?"), said("5")), asked) == [("Bank B.", "exact")]
    assert len(found(row(user("Balance?"), said("5")), asked)) == 2, "without one, either may be meant"
    alike = suite(task("a", tenants[0], user("Balance?")), task("b", tenants[0], user("Limit?")))
    assert found(row(tenants[1], user("Balance?"), said("5")), alike) == [("a", "exact")]


@pytest.mark.capability("EV-52")
def test_a_cluster_on_both_sides_of_the_split_is_found() -> None:
    asked = suite(task("reworded", user("Seventeen and twenty-five?"), cluster="c1"), task("free", user("1 + 1?")))
    assert found(task("t", user("What is 17 + 25?"), cluster="c1"), asked) == [("reworded", "cluster")]
    assert found(task("t", user("What is 17 + 25?"), cluster="c2"), asked) == []


def check(contamination: Contamination) -> Check:
    (only,) = contamination.findings()
    return only


@pytest.mark.capability("PI-65")
@pytest.mark.capability("EV-52")
def test_a_leak_blocks_the_gate_and_names_items_and_rows() -> None:
    leak = find_contamination({"dpo": [], "sft": [row(user("What is 17 + 25?"), said("42"))]}, [SUITE])
    asked = check(leak)
    assert (asked.outcome, asked.numbers["items"]) == ("BLOCK", ["sum"])
    assert "sum in sft: r1 (rows.jsonl:7)" in asked.reason
    candidate = {"finance": result(ones(100, 100))}
    config = GateConfig(min_items=1, thresholds={"finance.accuracy": {"min": 0.5}})
    assert gate(candidate, None, config).outcome == "PASS"
    blocked = gate(candidate, None, config, [leak])
    assert blocked.outcome == "BLOCK"
    assert [one.name for one in blocked.checks if one.outcome == "BLOCK"] == ["held-out: not trained on"]
    near = find_contamination({"sft": [row(user(STORY.replace("loaves", "pies")), said("1"))]}, [SUITE])
    assert check(near).outcome == "INSUFFICIENT"
    assert gate(candidate, None, config, [near]).outcome == "INSUFFICIENT"
    clean = find_contamination({"sft": [row(user("Hello"), said("Hi"))]}, [SUITE])
    assert check(clean).outcome == "PASS"
    assert len({leak.digest, near.digest, clean.digest}) == 3


def test_a_suite_and_its_greedy_twin_are_both_told() -> None:
    twin = replace(SUITE, name="twin")
    leak = find_contamination({"sft": [row(user("What is 17 + 25?"), said("42"))]}, [SUITE, twin])
    assert [one.outcome for one in leak.findings()] == ["BLOCK", "BLOCK"]


@pytest.mark.capability("PI-65")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "treasury")) for name in world_names()]
)
def test_a_worlds_training_rows_hold_none_of_its_held_out_items_and_its_test_rows_do(name: str) -> None:
    world = get_world(name)
    asked = world_suite(world, num_tasks=150)
    training = [*world.demonstrations("train", 300), *world.tasks("train", 300)]
    assert find_contamination({"all": training}, [asked]).is_clean
    leaked = find_contamination({"all": [*training, *world.tasks("test", 20)]}, [asked])
    assert len(leaked.suites[0].of("exact")) >= 20
