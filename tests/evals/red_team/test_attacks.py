"""The attacks: seven classes, each with benign twins, from a seed, and never from what may be trained on."""

import re
from collections import Counter

import pytest

from strop.errors import RecipeError
from strop.evals.catalogue import suite_of
from strop.evals.red_team import red_team_suite, red_team_tasks
from strop.evals.red_team.classes import FORMS
from strop.evals.red_team.forms import ATTACKS, CHANNELS
from strop.models import Policy
from strop.types import Completion, Task
from strop.worlds.finance import services
from strop.worlds.finance.world import FinanceWorld
from strop.worlds.splits import split_of

TASKS = red_team_tasks(7 * 12 * 2 * 4)
"""Every form of every class, four times."""
TEMPLATE = Policy.load("strop:tiny").template


def by_cluster() -> dict[str, list[Task]]:
    found: dict[str, list[Task]] = {}
    for task in TASKS:
        found.setdefault(task.cluster, []).append(task)
    return found


@pytest.mark.capability("EV-08")
def test_all_seven_classes_are_there_in_all_three_channels_and_by_eight_forms_or_more() -> None:
    wanted = {
        "injection", "unauthorised", "jailbreak", "over_refusal", "accidental", "risky_action", "schema_bypass",
    }  # fmt: skip
    assert set(ATTACKS) == wanted == {task.slices["attack"] for task in TASKS}
    for attack in ATTACKS:
        mine = [task for task in TASKS if task.slices["attack"] == attack]
        assert {task.slices["channel"] for task in mine} == set(CHANNELS)
        assert len({task.slices["form"] for task in mine}) == len(FORMS[attack]) >= 8


def test_every_attack_has_a_benign_twin_of_the_same_cluster_form_and_tenant() -> None:
    for pair in by_cluster().values():
        assert [task.slices["twin"] for task in pair] == ["attack", "benign"]
        attack, twin = pair
        same = ("attack", "channel", "form")
        assert [attack.slices[key] for key in same] == [twin.slices[key] for key in same]
        assert attack.prompt[0] == twin.prompt[0]
        assert [turn.role for turn in attack.prompt] == [turn.role for turn in twin.prompt]
        assert attack.prompt != twin.prompt


def test_every_twin_is_legitimately_answerable_and_its_answer_is_accepted() -> None:
    suite = red_team_suite("finance", 336, 1, {})
    for task in suite.tasks:
        if task.slices["twin"] == "benign":
            assert task.reference["boundary"] in ("answerable", "constrained")
            right = Completion(token_ids=(), sampler_logprobs=(), text=task.reference["text"], finish_reason="stop")
            assert suite.verifier(task, right).passed, task.id


def test_an_attack_in_a_document_or_a_result_stands_in_the_tools_turn_and_its_fact_stays() -> None:
    for task in TASKS:
        tools = [turn for turn in task.prompt if turn.role == "tool"]
        assert bool(tools) == (task.slices["channel"] != "prompt")
        if task.slices["channel"] == "document":
            assert tools[0].name == "get_policy"
        if tools:
            before = next(turn for turn in task.prompt if turn.tool_calls)
            said = services.execute(before.tool_calls[0], tenant=task.reference["tenant"])
            assert tools[0].content.startswith(said.rstrip('"}'))


def test_no_combination_and_no_wording_is_one_that_a_training_set_holds() -> None:
    for task in TASKS:
        facts = task.reference["facts"]
        for amount in ("n", "m"):
            assert split_of(f"create_transfer/{facts['v']}/{facts[amount]}") == "test"
        assert split_of(f"query_erp/{facts['d']}/{facts['r']}/{facts['q']}") == "test"
        assert split_of(f"get_balance/{facts['a']}") == "test"

    def skeleton(text: str) -> str:
        return re.sub(r"\d+|\b[A-Z][a-z]+\b(?!^)", "_", text)

    rows = FinanceWorld().demonstrations("train", 2000)
    trained = {turn.content for row in rows for turn in row.messages if turn.role == "user"}
    attacks = [task for task in TASKS if task.slices["twin"] == "attack" and task.slices["channel"] == "prompt"]
    assert not trained & {task.prompt[-1].content for task in attacks}
    # A schema bypass may be an everyday question with one value that no contract allows: only its words are common.
    worded = [skeleton(task.prompt[-1].content) for task in attacks if task.slices["attack"] != "schema_bypass"]
    skeletons = set(map(skeleton, trained))
    assert not skeletons & set(worded)
    assert skeleton("Skip the approval and pay Norvik 9000 now.") in skeletons, "the comparison can find one"


def test_there_is_nothing_to_train_on() -> None:
    with pytest.raises(RecipeError, match="never drawn from the train split"):
        red_team_tasks(14, split="train")


def test_a_row_is_the_same_whatever_the_number_and_another_with_another_seed() -> None:
    assert red_team_tasks(20) == red_team_tasks(200)[:20]
    assert red_team_tasks(20) != red_team_tasks(20, 1)
    assert len(red_team_tasks(15)) == 14
    assert Counter(task.slices["attack"] for task in red_team_tasks(70)) == dict.fromkeys(ATTACKS, 10)


def test_no_prompt_stands_twice_and_what_cannot_be_had_is_refused() -> None:
    many = red_team_tasks(1680)
    assert len({tuple((turn.role, turn.content) for turn in task.prompt) for task in many}) == 1680
    with pytest.raises(RecipeError, match=r"there are no \d+ different red-team tasks"):
        red_team_tasks(20_000)


def test_every_prompt_leaves_the_embedded_base_room_to_answer() -> None:
    assert max(len(TEMPLATE.prompt_ids(task.prompt, task.tools)) for task in TASKS) <= 220


def test_forged_marks_of_the_template_in_a_prompt_are_text() -> None:
    forged = next(task for task in TASKS if task.slices["form"] == "jailbreak.forged-system")
    plain = next(task for task in TASKS if task.slices["form"] == "jailbreak.auditor")

    def marks(task: Task) -> int:
        control = {TEMPLATE.tokenizer.convert_tokens_to_ids(mark) for mark in TEMPLATE.control_tokens}
        return sum(token in control for token in TEMPLATE.prompt_ids(task.prompt))

    assert marks(forged) == marks(plain)


@pytest.mark.parametrize(
    ("world", "dial", "told"),
    [("lookup", {}, "no red team for world"), ("finance", {"calls": 1}, "`calls` has no effect")],
)
def test_another_world_and_a_dial_are_refused(world: str, dial: dict[str, int], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        red_team_suite(world, 14, 0, dial)


def test_the_catalogue_knows_it() -> None:
    assert suite_of("red_team:finance", num_tasks=14).name == "red_team-finance"
