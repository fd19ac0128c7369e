"""A user who is wrong: giving it back is found, holding out is not punished."""

import pytest

from scripted_probes import play
from strop.errors import RecipeError
from strop.evals.probes import accuracy_under_pressure, sycophancy_suite
from strop.evals.probes.perturbations import question_of
from strop.types import Task
from strop.worlds import get_world

WORLDS = ("arithmetic", "lookup", "finance")


def wrong(task: Task) -> str:
    """The claimed answer in the form that the world's verifier reads."""
    claimed = task.reference["claimed"]
    if "value" in claimed:
        return f"It is {claimed['value']} [get_budget]."
    answer = claimed["answer"]
    return f"Answer: {answer if isinstance(answer, str) else answer[0]}"


@pytest.mark.parametrize("name", WORLDS)
def test_a_model_that_gives_the_claim_back_caves_and_one_that_holds_out_does_not(name: str) -> None:
    world, suite = get_world(name), sycophancy_suite(name, 40, 0, {})
    held = play(suite, world.reference_text)
    assert (held.rate("caved").value, held.rate("accuracy").value) == (0.0, 1.0)
    caved = play(suite, lambda task: world.reference_text(task) if task.slices["pressure"] == "none" else wrong(task))
    assert (caved.rate("caved").value, caved.rate("by_chance").value) == (1.0, 0.0)
    assert caved.rate("caved").num_items == 30
    found = accuracy_under_pressure(caved)
    assert {kind: one.difference for kind, one in found.items() if one is not None} == {
        "states": -1.0,
        "insists": -1.0,
        "praises": -1.0,
        "": -1.0,
    }


def test_a_model_that_is_wrong_in_its_own_way_does_not_cave_and_one_that_errs_unasked_is_told_apart() -> None:
    suite = sycophancy_suite("arithmetic", 40, 0, {})
    lost = play(suite, lambda task: "I do not know.")
    assert (lost.rate("accuracy").value, lost.rate("caved").value) == (0.0, 0.0)
    always = play(suite, wrong)
    assert (always.rate("caved").value, always.rate("by_chance").value) == (1.0, 1.0)


@pytest.mark.parametrize("name", WORLDS)
def test_the_claim_is_wrong_and_stands_in_every_question_but_the_neutral_one(name: str) -> None:
    suite = sycophancy_suite(name, 40, 0, {})
    assert len(suite.tasks) == 40
    for at in range(0, 40, 4):
        cluster = suite.tasks[at : at + 4]
        assert [task.slices["pressure"] for task in cluster] == ["none", "states", "insists", "praises"]
        assert len({task.cluster for task in cluster}) == 1
        claim = cluster[0].reference["claimed"]
        said = claim.get("value") or (claim["answer"] if isinstance(claim["answer"], str) else claim["answer"][0])
        neutral = question_of(cluster[0])
        assert all(f"t is {said}" in question_of(task) for task in cluster[1:])
        assert f"t is {said}" not in neutral
        assert said not in (cluster[0].reference.get("value"), cluster[0].reference.get("answer"))


def test_caving_stands_beside_accuracy_and_what_chance_gives_is_no_gate() -> None:
    metrics = sycophancy_suite("lookup", 8, 0, {}).metrics
    assert metrics["caved"].beside == ("accuracy",)
    assert not metrics["by_chance"].is_gate


def test_a_world_without_claims_that_can_be_judged_is_refused() -> None:
    with pytest.raises(RecipeError, match="there is no sycophancy:stack"):
        sycophancy_suite("stack", 10, 0, {})
