"""The same question in other words: what may not change, does not; what a model loses is found."""

import itertools
import re

import pytest

from measured_answers import said
from scripted_probes import evaluated, play
from strop.errors import RecipeError
from strop.evals.probes import accuracy_drop, robustness_suite
from strop.evals.probes.perturbations import PERTURBATIONS, question_of
from strop.types import Task
from strop.worlds import get_world, world_names

WORLDS = [name for name in world_names() if name != "contest"]  # its verifier needs a sandbox


@pytest.mark.capability("RS-06")
@pytest.mark.parametrize("name", WORLDS)
def test_every_variant_asks_something_else_and_keeps_its_answer(name: str) -> None:
    world, suite = get_world(name), robustness_suite(name, 80, 0, {})
    for task in suite.tasks:
        assert suite.verifier(task, said(world.reference_text(task))).passed, task.id
    by_cluster: dict[str, list[Task]] = {}
    for task in suite.tasks:
        by_cluster.setdefault(task.cluster, []).append(task)
    for cluster in by_cluster.values():
        assert cluster[0].slices == {"perturbation": "none"}
        assert len({question_of(task) for task in cluster}) == len(cluster) >= 4


@pytest.mark.parametrize(
    ("world", "kinds"),
    [
        ("lookup", set(PERTURBATIONS)),
        ("arithmetic", set(PERTURBATIONS) - {"renamed"}),
        ("finance", set(PERTURBATIONS) - {"reordered"}),
    ],
)
def test_what_can_be_changed_in_a_world_is(world: str, kinds: set[str]) -> None:
    suite = robustness_suite(world, 200, 0, {})
    assert {task.slices["perturbation"] for task in suite.tasks} == kinds | {"none"}


def test_whole_clusters_come_up_to_the_number_of_items_and_one_at_least() -> None:
    suite = robustness_suite("arithmetic", 20, 0, {})
    assert len(suite.tasks) == 14  # two of seven
    assert len(robustness_suite("arithmetic", 2, 0, {}).tasks) == 7
    assert suite.digest == robustness_suite("arithmetic", 20, 0, {}).digest
    assert suite.digest != robustness_suite("arithmetic", 20, 1, {}).digest


def test_a_rename_goes_through_question_and_reference_and_keeps_names_apart() -> None:
    tasks = list(robustness_suite("lookup", 200, 0, {"keys": 8}).tasks)
    pairs = itertools.pairwise(tasks)
    renamed = [(plain, task) for plain, task in pairs if task.slices["perturbation"] == "renamed"]
    assert renamed
    for _, task in renamed:
        keys = re.findall(r"([A-Z]\w+) \d{4}", question_of(task))
        assert len(set(keys)) == 8
        assert task.reference["key"] in keys
        plain = next(one for one in tasks if one.cluster == task.cluster and one.slices["perturbation"] == "none")
        assert task.reference["key"] != plain.reference["key"]
        assert task.reference["value"] == plain.reference["value"]


def test_a_reordered_sum_is_worth_the_same() -> None:
    for task in robustness_suite("arithmetic", 140, 0, {"steps": 4}).tasks:
        if task.slices["perturbation"] == "reordered":
            terms, modulus = re.fullmatch(r"Compute (.*) mod (\d+)\.", question_of(task)).groups()  # type: ignore[union-attr]
            value = sum(int(term) for term in terms.replace("+ ", "+").replace("- ", "-").split())
            assert value % int(modulus) == int(task.reference["answer"])


@pytest.mark.capability("RS-06")
def test_a_model_that_knows_only_the_wording_loses_exactly_where_the_wording_changes() -> None:
    suite = robustness_suite("arithmetic", 140, 0, {})

    def parrot(task: Task) -> str:
        is_known = re.fullmatch(r"Compute \d+(?: [-+] \d+)* mod \d+\.", question_of(task))
        return f"Answer: {task.reference['answer']}" if is_known else "I do not understand."

    found = accuracy_drop(evaluated(suite, parrot))
    assert {name: one.difference for name, one in found.items() if one is not None and name} == {
        "reordered": 0.0,
        "reworded": -1.0,
        "distractor": -1.0,
        "polite": -1.0,
        "spacing": -1.0,
        "case": -1.0,
    }
    together = found[""]
    assert together is not None
    assert together.difference == pytest.approx(-5 / 6)
    assert together.interval is None  # every cluster loses five of six: the spread is unknown, not 0
    polite = found["polite"]
    assert polite is not None
    assert polite.interval is not None
    assert polite.interval.high < 0


@pytest.mark.capability("RS-06")
def test_a_model_that_knows_its_names_by_heart_loses_under_the_rename_alone() -> None:
    suite = robustness_suite("lookup", 120, 0, {})
    known = {task.reference["key"] for task in suite.tasks if task.slices["perturbation"] == "none"}

    def rote(task: Task) -> str:
        key = task.reference["key"]
        return f"{key} is {task.reference['value']}." if key in known else "I do not know that one."

    lost = {name: one.difference for name, one in accuracy_drop(play(suite, rote)).items() if one is not None and name}
    assert lost.pop("renamed") < -0.9
    assert set(lost) == set(PERTURBATIONS) - {"renamed"}
    assert set(lost.values()) == {0.0}


@pytest.mark.capability("RS-06")
def test_a_model_that_reads_loses_nothing() -> None:
    suite = robustness_suite("lookup", 80, 0, {})
    found = accuracy_drop(play(suite, lambda task: f"{task.reference['key']} is {task.reference['value']}."))
    assert {one.difference for one in found.values() if one is not None} == {0.0}


def test_an_unknown_world_is_refused() -> None:
    with pytest.raises(RecipeError, match="there is no world"):
        robustness_suite("fiance", 10, 0, {})
