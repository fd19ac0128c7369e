"""Guards in training: a planted collapse is met and undone, an innocent stage is left alone, a kill changes nothing."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from guarded_run import Fragile, guard, guarded_tables, teach, write_guarded_files
from small_run import run, write_files
from strop.data import read_conversations
from strop.errors import RecipeError, VerifierError
from strop.methods import sft
from strop.models import Policy
from strop.pipeline import stages
from strop.pipeline.guard_journal import Journal, read_looks
from strop.pipeline.metrics_log import read_metrics
from strop.pipeline.prepare import prepare
from strop.pipeline.reading import read_recipe
from strop.pipeline.stages import Finished
from strop.pipeline.workspace import Workspace
from strop.training import AdamW, train


class Killed(BaseException):
    """As sudden as a signal: no ``except Exception`` sees it."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, chat_folder: Path) -> tuple[Path, Path]:
    """The folder of the files, and the model that has learnt to say the word."""
    folder = tmp_path_factory.mktemp("guarded")
    write_guarded_files(folder)
    return folder, teach(chat_folder, folder)


def stage(place: tuple[Path, Path], home: Path, *guards: dict[str, Any], **settings: Any) -> Finished:
    progress = settings.pop("progress", lambda *told: None)
    return run(guarded_tables(place[1], *guards, **settings), place[0], home, progress=progress).stages[0]


def curve(finished: Finished, key: str) -> list[tuple[int, int, float]]:
    """(leg, step, value) of every line that has ``key``."""
    records = read_metrics(finished.folder / "metrics.jsonl")
    return [(record.get("leg", 0), record["step"], record[key]) for record in records if key in record]


ACCURACY = "guard_fine.accuracy"


# ---------------------------------------------------------------------------------------------------- planted collapse


@pytest.mark.capability("CP-17")
def test_a_planted_collapse_is_met_at_the_next_look_and_undone(place: tuple[Path, Path], tmp_path: Path) -> None:
    unguarded = curve(stage(place, tmp_path, guard("watch")), ACCURACY)
    assert unguarded[0] == (0, 0, 1.0)
    assert unguarded[-1][2] == 0.0, "without a rule the skill is gone"
    collapsed = next(step for _, step, value in unguarded if value < 0.9)
    guarded = stage(place, tmp_path, guard("roll_back"))
    done = guarded.record["guard"]["interventions"]
    assert done[0]["step"] == collapsed, "the first look that could see it"
    assert curve(guarded, ACCURACY)[-1][2] >= 0.9, "the skill is there at the end"
    assert guarded.record["guard"]["stopped"] is None
    assert guarded.record["guard"]["learning_rate_factor"] == 0.5 ** len(done)
    assert guarded.record["output"]["step"] == 8


@pytest.mark.capability("CP-17")
def test_a_stop_keeps_the_weights_of_the_last_step_that_held(place: tuple[Path, Path], tmp_path: Path) -> None:
    stopped = stage(place, tmp_path, guard("stop"))
    told = stopped.record["guard"]
    assert told["kept_step"] == stopped.record["output"]["step"] == 2
    assert told["stopped"] == "fine.accuracy went from 1.000 to 0.000 on 24 items (p = 6e-08)"
    short = stage(place, tmp_path, steps=2)
    assert stopped.record["output"]["model_digest"] == short.record["output"]["model_digest"]
    assert Policy.load(stopped.folder / "model", device="cpu").digest() == short.record["output"]["model_digest"]


def test_a_collapse_within_the_first_interval_gives_back_the_model_as_it_came(
    place: tuple[Path, Path], tmp_path: Path
) -> None:
    stopped = stage(place, tmp_path, guard("stop", every=4))
    assert stopped.record["output"]["step"] == 0
    assert stopped.record["output"]["model_digest"] == Policy.load(place[1], device="cpu").digest()


def by_hand(place: tuple[Path, Path], folder: Path, *, turn: int, factor: float) -> str:
    """The digest after ``turn`` steps at the full rate and the other ones at ``factor`` of it, with the loop alone."""
    rows = read_conversations(str(place[0] / "bad.jsonl"))
    settings: dict[str, Any] = {"num_steps": 8, "identity": "hand"}
    first = Policy.load(place[1])
    stream, objective = sft(first, rows, batch_size=4)
    for step in islice(train(first, stream, objective, optimizer=AdamW(lr=0.01, warmup=0.0), **settings), turn):
        if step.number == turn:
            kept = step.save(folder)
    second = Policy.load(place[1])
    lower = AdamW(lr=0.01 * factor, warmup=0.0)
    list(train(second, stream, objective, optimizer=lower, resume=kept, may_change=("optimizer",), **settings))
    return second.digest()


def test_rolling_back_is_the_held_checkpoint_trained_on_at_a_lower_rate(
    place: tuple[Path, Path], tmp_path: Path
) -> None:
    guarded = stage(place, tmp_path, guard("roll_back", factor=0.1))
    assert [entry["step"] for entry in guarded.record["guard"]["interventions"]] == [4]
    expected = by_hand(place, tmp_path / "hand", turn=2, factor=0.1)
    assert guarded.record["output"]["model_digest"] == expected


def test_a_lower_rate_holds_from_the_look_on_and_repeats_nothing(place: tuple[Path, Path], tmp_path: Path) -> None:
    lowered = stage(place, tmp_path, guard("lower_learning_rate", factor=0.5, max_times=1))
    rates = [(leg, step, rate) for leg, step, rate in curve(lowered, "learning_rate")]
    assert rates == [(0, n, 0.01) for n in range(1, 5)] + [(1, n, 0.005) for n in range(5, 7)]
    assert "after 1 times lower_learning_rate" in lowered.record["guard"]["stopped"]
    assert lowered.record["output"]["step"] == 2, "what is kept is the last step that held, not the last one"


def test_the_share_of_the_domain_falls_and_the_run_goes_on(place: tuple[Path, Path], tmp_path: Path) -> None:
    mixed = stage(
        place,
        tmp_path,
        guard("lower_share", factor=0.1, max_times=9, domain="bad.jsonl"),
        data=["calm.jsonl", "bad.jsonl"],
        shares=[0.1, 0.9],
        steps=24,
        batch_size=8,
    )
    told = mixed.record["guard"]
    assert told["shares"][1] == pytest.approx(0.9 * 0.1 ** len(told["interventions"]))
    assert told["stopped"] is None
    first, last = told["interventions"][0]["step"], told["interventions"][-1]["step"]
    realised = {(leg, step): value for leg, step, value in curve(mixed, "share_1")}
    assert realised[0, first] == pytest.approx(0.9, abs=0.05)
    assert realised[len(told["interventions"]), 24] == pytest.approx(told["shares"][1], abs=0.05)
    assert curve(mixed, ACCURACY)[-1][2] >= 0.9, f"with little of it since step {last} the skill is back"


def test_an_innocent_stage_is_left_alone(place: tuple[Path, Path], tmp_path: Path) -> None:
    calm = stage(place, tmp_path, guard("roll_back"), data="calm.jsonl")
    plain = stage(place, tmp_path, data="calm.jsonl")
    assert calm.record["guard"]["interventions"] == []
    assert calm.record["output"]["model_digest"] == plain.record["output"]["model_digest"]
    assert plain.record["guard"] is None


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "dpo", "data": "dpo.jsonl", "batch_size": 2},
        {"method": "grpo", "tasks": "tasks.jsonl", "verifier": "reward.py:score", "group_size": 2}
        | {"prompts_per_step": 2, "max_new_tokens": 6},
    ],
    ids=["dpo", "grpo"],
)
def test_every_method_takes_a_guard_that_changes_nothing_while_it_holds(
    place: tuple[Path, Path], tmp_path: Path, settings: dict[str, Any]
) -> None:
    write_files(tmp_path / "files")
    for name in ("dpo.jsonl", "tasks.jsonl", "reward.py"):
        shutil.copy(tmp_path / "files" / name, place[0])
    table = {**settings, "steps": 3, "learning_rate": 1e-4, "lora": {"rank": 2}}
    found = {}
    for name, guards in (("plain", []), ("guarded", [guard("roll_back")])):
        recipe = {"name": name, "base": str(place[1]), "stage": [{**table, "guard": guards}]}
        found[name] = run(recipe, place[0], tmp_path).stages[0]
    assert [step for _, step, _ in curve(found["guarded"], ACCURACY)] == [0, 2, 3]
    assert found["guarded"].record["guard"]["interventions"] == []
    assert found["guarded"].record["output"] == found["plain"].record["output"]


# ------------------------------------------------------------------------------------------------------- what is logged


@pytest.mark.capability("CP-18")
def test_domain_gain_and_general_regression_are_logged_at_every_look(place: tuple[Path, Path], tmp_path: Path) -> None:
    domain = {"tasks": "eval.jsonl", "verifier": "domain.py:score", "max_new_tokens": 6, "name": "domain"}
    (place[0] / "domain.py").write_text("def score(completion):\n    return float(completion == 'b')\n")
    guards = [guard("roll_back"), {"suite": domain, "every": 2, "action": "watch"}]
    finished = stage(place, tmp_path, *guards, validation="bad.jsonl")
    general, gained = curve(finished, ACCURACY), curve(finished, "guard_domain.accuracy")
    looks = read_looks(finished.folder / "guards.jsonl")
    assert [entry[:2] for entry in general] == [entry[:2] for entry in gained] == [look.place for look in looks]
    assert {0, 2, 4, 6, 8} <= {step for _, step, _ in general}
    assert len(looks) == finished.record["guard"]["num_looks"]
    assert (gained[0][2], max(value for _, _, value in gained)) == (0.0, 1.0), "the domain is learnt …"
    assert min(value for _, _, value in general) == 0.0, "… at the price that the guard does not pay"
    losses = [entry[:2] for entry in curve(finished, "validation_loss")]
    assert losses == [entry[:2] for entry in general], "so is the validation loss"


def test_with_validation_the_best_step_is_one_that_held(place: tuple[Path, Path], tmp_path: Path) -> None:
    # the loss on what destroys falls with every step, so the lowest of all is of a step that did not hold
    stopped = stage(place, tmp_path, guard("stop"), validation="bad.jsonl")
    losses = {step: loss for _, step, loss in curve(stopped, "validation_loss")}
    assert losses[4] < losses[2]
    assert stopped.record["output"]["step"] == 2


# -------------------------------------------------------------------------------------------------- what is not a drop


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strop.pipeline.evaluation.load_grader", lambda *told: Fragile())


@pytest.mark.usefixtures("fragile")
def test_answers_that_cannot_be_graded_stop_the_stage_and_are_told_apart(
    place: tuple[Path, Path], tmp_path: Path
) -> None:
    told = stage(place, tmp_path, guard("lower_learning_rate")).record["guard"]
    assert told["stopped"] == "fine.accuracy has no value for 24 of 24 items that had one (at most 10%)"
    assert told["kept_step"] == 2


@pytest.mark.usefixtures("fragile")
def test_a_model_that_the_guard_cannot_judge_is_not_trained(
    place: tuple[Path, Path], chat_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(VerifierError, match="24 of 24 answers could not be graded"):
        stage((place[0], chat_folder), tmp_path, guard())


def test_a_watched_metric_may_apply_to_no_answer_yet(place: tuple[Path, Path], tmp_path: Path) -> None:
    # the embedded base calls no tool, so that there is no call which could be the right one
    suite = {"tasks": "world:finance", "limit": 12, "max_new_tokens": 8}
    table = {"suite": suite, "every": 2, "metric": "tool_precision"}
    base = (place[0], Path("strop:tiny"))
    with pytest.raises(VerifierError, match="applies to none of its answers"):
        stage(base, tmp_path, {**table, "action": "stop"}, data="calm.jsonl", steps=2)
    told = stage(base, tmp_path, {**table, "action": "watch"}, data="calm.jsonl", steps=2).record["guard"]
    assert (told["num_looks"], told["num_displeased"], told["stopped"]) == (2, 0, None)


@pytest.mark.usefixtures("fragile")
def test_a_watched_suite_that_cannot_be_graded_at_all_is_refused(
    place: tuple[Path, Path], chat_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(VerifierError, match="24 of 24 answers could not be graded"):
        stage((place[0], chat_folder), tmp_path, guard("watch"))


def test_a_guard_that_could_never_trigger_is_told(place: tuple[Path, Path], chat_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(VerifierError, match="could never trigger"):
        stage((place[0], chat_folder), tmp_path, guard())


def test_only_a_step_that_every_guard_saw_is_gone_back_to(place: tuple[Path, Path], tmp_path: Path) -> None:
    often = guard("roll_back", every=1, max_drop=0.9, factor=0.1)
    seldom = {**guard("stop", every=5), "suite": {**guard()["suite"], "name": "seldom"}}
    finished = stage(place, tmp_path, often, seldom, steps=6)
    looks = read_looks(finished.folder / "guards.jsonl")
    assert [look.is_held for look in looks if look.step in (1, 2)][:2] == [False, False]
    back = next(look for look in looks if look.order.course == "roll_back")
    after = next(look for look in looks if look.leg == 1)
    assert (back.step > 1, after.step) == (True, 1), "back to the start, where both had looked"


# ------------------------------------------------------------------------------------------------------ killed anywhere


def events_of(run_it: Callable[[Callable[..., None]], Finished]) -> int:
    count = 0

    def note(*told: object) -> None:
        nonlocal count
        count += 1

    run_it(note)
    return count


def state_of(finished: Finished) -> tuple[str, str, list[Any]]:
    lines = [
        {key: value for key, value in record.items() if key != "seconds"}
        for record in read_metrics(finished.folder / "metrics.jsonl")
    ]
    return finished.record["output"]["model_digest"], (finished.folder / "guards.jsonl").read_text(), lines


@pytest.mark.slow
@pytest.mark.capability("CP-17")
@pytest.mark.parametrize("action", ["roll_back", "lower_learning_rate", "stop"])
def test_killed_at_any_told_moment_the_run_ends_with_the_same_weights(
    place: tuple[Path, Path], tmp_path: Path, action: str
) -> None:
    def go(home: Path, progress: Callable[..., None] = lambda *told: None) -> Finished:
        return stage(place, home, guard(action), progress=progress)

    expected = state_of(go(tmp_path / "calm"))
    number_of_events = events_of(lambda note: go(tmp_path / "count", note))
    for event in range(1, number_of_events + 1, 3):
        seen = 0

        def stop(label: str, *told: object, event: int = event) -> None:
            nonlocal seen
            seen += 1
            if seen == event:
                raise Killed(label)

        home = tmp_path / f"storm-{event}"
        with pytest.raises(Killed):
            go(home, stop)
        assert state_of(go(home)) == expected, f"killed at event {event}"


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_killed_around_a_line_of_the_journal_the_run_ends_with_the_same_weights(
    place: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, number: int
) -> None:
    expected = state_of(stage(place, tmp_path / "calm", guard()))
    append, count = Journal.append, 0

    def fatal(self: Journal, look: Any) -> None:
        nonlocal count
        count += 1
        if moment == "after" or count != number:
            append(self, look)
        if count == number:
            raise Killed

    monkeypatch.setattr(Journal, "append", fatal)
    with pytest.raises(Killed):
        stage(place, tmp_path / "storm", guard())
    monkeypatch.setattr(Journal, "append", append)
    assert state_of(stage(place, tmp_path / "storm", guard())) == expected


def test_a_line_that_a_kill_tore_off_is_no_look(place: tuple[Path, Path], tmp_path: Path) -> None:
    whole = (stage(place, tmp_path, guard()).folder / "guards.jsonl").read_text()
    path = tmp_path / "torn.jsonl"
    path.write_text(whole[: len(whole) - 40])
    journal = Journal(path)
    assert len(journal.looks) == whole.count("\n") - 1
    journal.append(list(read_looks_of(whole, tmp_path))[-1])
    assert path.read_text() == whole


def read_looks_of(text: str, folder: Path) -> Any:
    (folder / "whole.jsonl").write_text(text)
    return read_looks(folder / "whole.jsonl")


def test_the_guards_of_the_page_are_guards(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "guards.md").read_text()
    (tmp_path / "domain.jsonl").write_text('{"prompt": "Hello?", "completion": "Good day."}\n')
    (tmp_path / "recipe.toml").write_text(
        'name = "page"\nbase = "strop:tiny"\n' + page.split("```toml\n")[1].split("```")[0]
    )
    recipe = read_recipe(tmp_path / "recipe.toml")
    (job,) = prepare(recipe, Workspace(home=tmp_path / "home", root=tmp_path)).jobs
    assert [guard.label for guard in job.guards] == ["arithmetic.accuracy", "finance.argument_exact"]


# ----------------------------------------------------------------------------------------------------- what is refused


MIXED = {"data": ["calm.jsonl", "bad.jsonl"], "shares": [0.5, 0.5]}


@pytest.mark.parametrize(
    ("table", "settings", "said"),
    [
        (guard("watch", factor=0.5), {}, "`factor` has no effect"),
        (guard("stop", max_times=2), {}, "`max_times` has no effect"),
        (guard("lower_share"), {}, "nothing to lower"),
        (guard("roll_back", domain="bad.jsonl"), MIXED, "`domain` has no effect"),
        (guard("lower_share", domain="worse.jsonl"), MIXED, "none of the stage's sources"),
        (guard(limit=5), {}, "`limit` has no effect"),
        (guard(metric="acuracy"), {}, "did you mean `accuracy`"),
        (guard(), {"validation": "calm.jsonl", "validate_every": 2}, "`validate_every` has no effect"),
        (guard(), {"shares": [0.5, 0.5]}, "2 shares for 1 source"),
        ({**guard(), "suite": {**guard()["suite"], "temperature": 1.0}}, {}, "sampled"),
        ({**guard(), "suite": {**guard()["suite"], "price": {"prompt": 1.0, "completion": 1.0}}}, {}, "`price` has no"),
        ({**guard(), "suite": {**guard()["suite"], "limit": 6}}, {}, "6 independent items could never trigger"),
    ],
)
def test_a_guard_that_cannot_work_is_refused_before_anything_trains(
    place: tuple[Path, Path], tmp_path: Path, table: dict[str, Any], settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        stage(place, tmp_path, table, **settings)
    assert not (tmp_path / "cache").exists()


def test_two_suites_of_one_name_are_refused_and_two_rules_on_one_suite_are_not(
    place: tuple[Path, Path], tmp_path: Path
) -> None:
    smaller = {**guard("watch"), "suite": {**guard()["suite"], "limit": 10}}
    with pytest.raises(RecipeError, match="two different suites of guards are called `fine`"):
        stage(place, tmp_path, guard(), smaller)
    twice = stage(place, tmp_path, guard("stop", max_drop=0.9), guard("watch", every=4), data="calm.jsonl", steps=2)
    assert len(read_looks(twice.folder / "guards.jsonl")[-1].findings) == 2


def test_a_stage_that_starts_at_nothing_may_be_held_to_its_best_look(
    place: tuple[Path, Path], chat_folder: Path, tmp_path: Path
) -> None:
    settings = {"data": "good.jsonl", "steps": 30}
    learnt = stage((place[0], chat_folder), tmp_path, guard(against="best", every=10), **settings)
    first, *_, last = curve(learnt, ACCURACY)
    assert (first[2], last[2]) == (0.0, 1.0)


def test_another_rule_or_suite_is_another_stage(place: tuple[Path, Path], tmp_path: Path) -> None:
    keys = {
        stage(place, tmp_path, table, data="calm.jsonl").folder.name
        for table in (
            guard(),
            guard(max_drop=0.2),
            guard(every=4),
            {**guard(), "suite": {**guard()["suite"], "limit": 20}},
        )
    }
    assert len(keys) == 4
    assert stage(place, tmp_path, guard(), data="calm.jsonl").is_cached


def test_a_watched_drop_is_never_told_as_nothing(place: tuple[Path, Path], tmp_path: Path) -> None:
    watched = guarded_tables(place[1], guard("watch"))
    run(watched, place[0], tmp_path / "home", output=tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "nothing dropped" not in page
    assert "5 looks, displeased at 3" in page  # 0 and 2 hold, 4, 6 and 8 do not


def test_a_leg_is_loaded_when_nothing_holds_the_policy_before_it(
    place: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, known, alive = stages._load, [], []

    def counted(*given: Any) -> Policy:
        gc.collect()
        alive.append(sum(policy() is not None for policy in known))
        known.append(weakref.ref(policy := load(*given)))
        return policy

    monkeypatch.setattr(stages, "_load", counted)
    stage(place, tmp_path, guard("roll_back", max_times=1))
    assert alive == [0, 0, 0], "two legs and what is kept after the stop"


def test_what_a_kill_left_while_the_result_was_written_is_cleared(
    place: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(self: Policy, folder: Path) -> None:
        (folder.parent / ".model.x.tmp").mkdir(parents=True)
        (folder.parent / ".metrics.jsonl.x.tmp").write_text("half")
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Policy, "save", torn)
        with pytest.raises(Killed):
            stage(place, tmp_path, guard(), data="calm.jsonl")
    done = stage(place, tmp_path, guard(), data="calm.jsonl")
    assert sorted(path.name for path in done.folder.iterdir()) == [
        "guards.jsonl",
        "metrics.jsonl",
        "model",
        "stage.json",
    ]


def test_the_record_says_what_was_done(place: tuple[Path, Path], tmp_path: Path) -> None:
    record = json.loads((stage(place, tmp_path, guard("stop")).folder / "stage.json").read_text())
    assert record["guard"]["guards"] == [{"label": "fine.accuracy", "every": 2, "action": "stop"}]
    assert record["guard"]["interventions"][0]["course"] == "stop"
