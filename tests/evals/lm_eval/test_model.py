"""A policy under lm-eval's interface gives the numbers of lm-eval's own Hugging Face model."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
lm_eval = pytest.importorskip("lm_eval", reason='lm-eval is not installed: pip install "strop[lm-eval]"')

from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402

from strop.errors import RecipeError  # noqa: E402
from strop.evals.gating.config import parse_gate_config  # noqa: E402
from strop.evals.gating.decide import gate  # noqa: E402
from strop.evals.lm_eval.model import StropLM  # noqa: E402
from strop.evals.lm_eval.samples import is_lm_eval, read_lm_eval  # noqa: E402
from strop.models import names  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
FOLDER = str(names.local_folder("strop:tiny"))
HEAD = "dataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {data}\ntest_split: test\n"
METRIC = (
    "metric_list:\n  - metric: {metric}\n    aggregation: mean\n    higher_is_better: true\nmetadata:\n  version: 1.0\n"
)
TASKS = {
    "tiny_mc": 'output_type: multiple_choice\ndoc_to_text: "{{q}} Answer:"\ndoc_to_choice: "{{choices}}"\n'
    "doc_to_target: gold\n" + METRIC.format(metric="acc"),
    "tiny_gen": 'output_type: generate_until\ndoc_to_text: "{{q}}"\ndoc_to_target: "{{choices[0]}}"\n'
    'generation_kwargs:\n  until: ["."]\n  max_gen_toks: 24\nfilter_list:\n  - name: strict\n    filter:\n'
    '      - function: regex\n        regex_pattern: "Answer: ([0-9]+)"\n      - function: take_first\n'
    '  - name: loose\n    filter:\n      - function: regex\n        regex_pattern: "([0-9]+)"\n'
    "      - function: take_first\n" + METRIC.format(metric="exact_match"),
    "tiny_text": 'output_type: loglikelihood_rolling\ndoc_to_text: ""\ndoc_to_target: "{{q}}"\n'
    "metric_list:\n  - metric: word_perplexity\n    aggregation: weighted_perplexity\n    higher_is_better: false\n"
    "metadata:\n  version: 1.0\n",
}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tasks over a local file, none of the hub."""
    folder = tmp_path_factory.mktemp("tasks")
    pairs = [(3, 4), (12, 9), (55, 21), (80, 30), (7, 7), (41, 2), (9, 90), (13, 13)]
    rows = [
        {"q": f"Compute {a} + {b} mod 100.", "choices": [str((a + b) % 100), str(a), str(b)], "gold": 0, "odd": a % 2}
        for a, b in pairs
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, body in TASKS.items():
        text = f"task: {name}\n" + HEAD.format(data=folder / "rows.jsonl") + body
        (folder / f"{name}.yaml").write_text(text)
    return folder


def run(tasks: Path, model: Any, output: Path | None = None, wanted: tuple[str, ...] = tuple(TASKS), **how: Any) -> Any:
    """A run of lm-eval; with ``output`` its files are written as its command line writes them."""
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    tracker = EvaluationTracker(output_path=str(output)) if output else None
    found = lm_eval.simple_evaluate(
        model=model,
        tasks=list(wanted),
        task_manager=manager,
        log_samples=True,
        bootstrap_iters=0,
        evaluation_tracker=tracker,
        **how,
    )
    if tracker is not None:
        kept = dict(found)
        samples = kept.pop("samples")
        tracker.save_results_aggregated(results=kept, samples=samples)
        for task in kept["configs"]:
            tracker.save_results_samples(task_name=task, samples=samples[task])
    return found


def theirs() -> HFLM:
    return HFLM(pretrained=FOLDER, device="cpu", dtype="float32", batch_size=4)


@pytest.mark.parametrize("is_chat", [False, True], ids=["plain text", "chat template"])
def test_every_answer_equals_that_of_the_hf_model(tasks: Path, is_chat: bool) -> None:
    """Log-probabilities to 1e-4 nats, greedy flags and texts the same, metrics the same."""
    ours = run(tasks, StropLM(FOLDER, batch_size=3), apply_chat_template=is_chat)
    hf = run(tasks, theirs(), apply_chat_template=is_chat)
    num_texts = 0
    for task in TASKS:
        for mine, other in zip(ours["samples"][task], hf["samples"][task], strict=True):
            assert mine["arguments"] == other["arguments"], "the same prompts, in the same template"
            if task == "tiny_gen":
                assert mine["resps"] == other["resps"]
                num_texts += bool(mine["resps"][0][0])
            elif task == "tiny_mc":
                for (a,), (b,) in zip(mine["resps"], other["resps"], strict=True):
                    assert a[0] == pytest.approx(b[0], abs=1e-4)
                    assert a[1] == b[1]
            else:
                assert mine["resps"][0][0] == pytest.approx(other["resps"][0][0], abs=1e-4)
    assert num_texts or not is_chat, "some answers say something"
    numbers = [
        {k: v for t in TASKS for k, v in found["results"][t].items() if isinstance(v, float)} for found in (ours, hf)
    ]
    assert numbers[0] == pytest.approx(numbers[1], abs=1e-3)


def requests(kind: str, *arguments: Any) -> list[Instance]:
    return [Instance(request_type=kind, doc={}, arguments=one, idx=i) for i, one in enumerate(arguments)]


def test_texts_longer_than_the_context_are_scored_in_the_same_windows() -> None:
    ours, hf = StropLM(FOLDER, batch_size=2), theirs()
    long = "Compute 3 + 4 mod 100. " * (ours.max_length // 8)
    assert len(ours.tok_encode(long)) > ours.max_length == hf.max_length
    mine = ours.loglikelihood_rolling(requests("loglikelihood_rolling", (long,), ("short",)))
    other = hf.loglikelihood_rolling(requests("loglikelihood_rolling", (long,), ("short",)))
    assert mine == pytest.approx(other, rel=1e-5)
    pair = (long, " Answer: 7")
    (a,), (b,) = (lm.loglikelihood(requests("loglikelihood", pair)) for lm in (ours, hf))
    assert a[0] == pytest.approx(b[0], abs=1e-4)
    empty = ("", "Compute")
    (a,), (b,) = (lm.loglikelihood(requests("loglikelihood", empty)) for lm in (ours, hf))
    assert a[0] == pytest.approx(b[0], abs=1e-4)


def test_sampled_answers_depend_on_the_seed_and_not_on_their_neighbours() -> None:
    how = {"until": ["\n"], "max_gen_toks": 16, "do_sample": True, "temperature": 4.0}
    context = StropLM(FOLDER).apply_chat_template([{"role": "user", "content": "Compute 3 + 4 mod 100."}])
    alone = StropLM(FOLDER, seed=1).generate_until(requests("generate_until", (context, how)))
    beside = StropLM(FOLDER, seed=1).generate_until(requests("generate_until", ("x", how), (context, how)))
    assert beside[1] == alone[0]
    many = StropLM(FOLDER, seed=1).generate_until(requests("generate_until", *[(context, how)] * 6))
    assert many[0] == alone[0]
    assert len(set(many)) > 1


def test_a_setting_that_we_do_not_have_is_refused() -> None:
    with pytest.raises(RecipeError, match="num_beams"):
        StropLM(FOLDER).generate_until(requests("generate_until", ("x", {"num_beams": 4, "max_gen_toks": 4})))
    with pytest.raises(RecipeError, match="peft"):
        StropLM(FOLDER, peft="x")


def test_two_runs_become_results_that_the_gate_pairs(tasks: Path, tmp_path: Path) -> None:
    """Our run and the hf run of one model: the same items, no difference, nothing blocked."""
    wanted = ("tiny_mc", "tiny_gen")
    found = run(tasks, StropLM(FOLDER), tmp_path / "ours", wanted)
    run(tasks, theirs(), tmp_path / "hf", wanted)
    assert is_lm_eval(tmp_path / "ours")
    ours, hf = (read_lm_eval(tmp_path / side, slices=("odd",)) for side in ("ours", "hf"))
    assert set(ours) == set(wanted)
    assert set(ours["tiny_gen"].metrics) == {"exact_match@strict", "exact_match@loose"}
    for task, metric, theirs_ in (
        ("tiny_mc", "acc", "acc,none"),
        ("tiny_gen", "exact_match@loose", "exact_match,loose"),
    ):
        assert ours[task].rate(metric).value == pytest.approx(float(found["results"][task][theirs_]))
        assert len(ours[task].items) == 8
        assert ours[task].slice_names() == ["odd=0", "odd=1"]
    decision = gate(ours, hf, parse_gate_config({"min_items": 8, "min_group_items": 4}))
    assert decision.outcome == "PASS", decision
