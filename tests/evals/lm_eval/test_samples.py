"""lm-eval's files become results: ids, directions and filters kept, what cannot be paired refused or told.

The lines are what lm_eval 0.4.13 wrote (``--log_samples``), shortened; hashes are shortened too.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from strop.errors import MismatchError
from strop.evals.gating.config import parse_gate_config
from strop.evals.gating.decide import gate
from strop.evals.lm_eval.samples import is_lm_eval, read_lm_eval
from strop.pipeline.gate_file import GateFile, results_of
from strop.pipeline.workspace import Workspace

DATE = "2026-11-21T16-08-06.452722"
RUN = {
    "model_name": "org/model",
    "model_source": "hf",
    "config": {"model": "hf", "model_args": "pretrained=org/model", "model_sha": "", "gen_kwargs": None, "limit": None}
    | {"random_seed": 0, "numpy_seed": 1234, "torch_seed": 1234, "fewshot_seed": 1234},
    "configs": {"tiny": {"output_type": "generate_until", "doc_to_text": "{{q}}", "metric_list": [{"metric": "em"}]}},
    "versions": {"tiny": 1.0},
    "n-shot": {"tiny": 0},
    "higher_is_better": {"tiny": {"em": True, "ter": False, "word_perplexity": False}},
    "chat_template_sha": None,
}


def lines(right: int, num_docs: int = 30, filters: tuple[str, ...] = ("strict",)) -> list[dict[str, Any]]:
    return [
        {
            "doc_id": doc,
            "doc": {"q": f"Compute {doc}", "subject": "even" if doc % 2 == 0 else "odd"},
            "target": "7",
            "arguments": {"gen_args_0": {"arg_0": f"Compute {doc}", "arg_1": {"until": ["."], "max_gen_toks": 24}}},
            "resps": [[f"Answer: {doc}"]],
            "filtered_resps": [str(doc)],
            "filter": name,
            "metrics": ["em", "ter", "word_perplexity"],
            "doc_hash": f"{doc:064x}",
            "prompt_hash": f"p{doc}",
            "target_hash": "t",
            "em": float(doc < right),
            "ter": 0.25,
            "word_perplexity": ["-21.6", "6"],
        }
        for name in filters
        for doc in range(num_docs)
    ]


def save(folder: Path, rows: list[dict[str, Any]], **run: Any) -> Path:
    place = folder / "org__model"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"results_{DATE}.json").write_text(json.dumps({**RUN, **run}))
    (place / f"samples_tiny_{DATE}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_ids_answers_slices_and_directions_are_those_of_the_files(tmp_path: Path) -> None:
    (result,) = read_lm_eval(save(tmp_path, lines(20)), slices=("subject",)).values()
    assert (result.name, result.version, len(result.items)) == ("tiny", "1.0", 30)
    assert result.items[3].id == "3-000000000000"
    assert result.items[3].question == "Compute 3"
    assert result.items[3].texts == ("Answer: 3",)
    assert result.slice_names() == ["subject=even", "subject=odd"]
    assert {name: metric.direction for name, metric in result.metrics.items()} == {"em": "higher", "ter": "lower"}
    assert result.surroundings["left_out"] == ["word_perplexity"]
    assert result.rate("em").value == pytest.approx(20 / 30)
    assert result.runtime()["latency_p95_s"] is None, "nobody measured it: no threshold can pass on it"
    assert result.runtime()["mean_tokens"] is None


def test_filters_are_metrics_of_their_own(tmp_path: Path) -> None:
    (result,) = read_lm_eval(save(tmp_path, lines(20, filters=("strict", "loose")))).values()
    assert set(result.metrics) == {"em@strict", "em@loose", "ter@strict", "ter@loose"}
    assert len(result.items) == 30


def test_the_gate_pairs_two_runs_and_blocks_the_worse_one(tmp_path: Path) -> None:
    """20 items right before, 5 now, all of them among the 20: 15 worse, 0 better."""
    before, now = save(tmp_path / "old", lines(20)), save(tmp_path / "new", lines(5))
    config = parse_gate_config({"min_items": 20})
    assert gate(read_lm_eval(before), read_lm_eval(before), config).outcome == "PASS"
    decision = gate(read_lm_eval(now), read_lm_eval(before), config)
    assert decision.outcome == "BLOCK"
    assert any("em" in check.name for check in decision.checks if check.outcome == "BLOCK")
    workspace = Workspace(home=tmp_path / "home", root=tmp_path)
    assert set(results_of("new", GateFile(config=config, root=tmp_path), workspace, None)) == {"tiny"}


@pytest.mark.parametrize(
    ("rows", "run"),
    [
        (lines(20), {"versions": {"tiny": 2.0}}),
        ([{**row, "doc_hash": "f" * 64} if row["doc_id"] == 7 else row for row in lines(20)], {}),
        ([{**row, "target_hash": "u"} if row["doc_id"] == 7 else row for row in lines(20)], {}),
        (lines(20), {"configs": {"tiny": {**RUN["configs"]["tiny"], "doc_to_text": "Q: {{q}}"}}}),
        (lines(20), {"n-shot": {"tiny": 5}}),
        ([{**row, "prompt_hash": "x"} for row in lines(20)], {}),
    ],
    ids=["version", "a document", "a target", "the prompt's template", "shots", "prompts"],
)
def test_runs_of_different_tasks_are_not_compared(tmp_path: Path, rows: list[dict[str, Any]], run: Any) -> None:
    before, now = save(tmp_path / "old", lines(20)), save(tmp_path / "new", rows, **run)
    with pytest.raises(MismatchError):
        gate(read_lm_eval(now), read_lm_eval(before), parse_gate_config({}))


def test_what_cannot_be_read_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match="no run of lm-eval"):
        read_lm_eval(tmp_path)
    assert not is_lm_eval(tmp_path)
    twice = [*lines(20), lines(20)[4]]
    with pytest.raises(MismatchError, match="document 4 of task tiny stands twice"):
        read_lm_eval(save(tmp_path / "twice", twice))
    undirected = {"higher_is_better": {"tiny": {"ter": False}}}
    folder = save(tmp_path / "undirected", lines(20), **undirected)
    with pytest.raises(MismatchError, match="metric em of task tiny has no direction"):
        read_lm_eval(folder)
    assert read_lm_eval(folder, directions={"em": "higher"})["tiny"].metrics["em"].direction == "higher"
    folder = save(tmp_path / "bare", lines(20))
    next(folder.rglob("samples_*")).unlink()
    with pytest.raises(MismatchError, match="the samples of task tiny cannot be read"):
        read_lm_eval(folder)
    save(tmp_path / "two" / "a", lines(20))
    save(tmp_path / "two" / "b", lines(20))
    with pytest.raises(MismatchError, match="runs of several models"):
        read_lm_eval(tmp_path / "two")


def test_without_lm_eval_the_model_names_the_line_that_installs_it() -> None:
    try:
        import lm_eval  # noqa: F401
    except ImportError:
        from strop.errors import MissingDependencyError

        with pytest.raises(MissingDependencyError, match=r'pip install "strop\[lm-eval\]"'):
            import strop.evals.lm_eval.model  # noqa: F401
    else:
        pytest.skip("lm-eval is installed here")


def test_a_number_that_is_none_is_refused_and_not_averaged(tmp_path: Path) -> None:
    rows = lines(20)
    rows[7]["em"] = float("nan")
    with pytest.raises(MismatchError, match="not finite for document 7"):
        read_lm_eval(save(tmp_path, rows))
