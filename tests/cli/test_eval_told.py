"""What ``strop eval`` and its neighbours say of sizes, repeats, odd scores and things that are not there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from strop.evals import SuiteResult
from tiny_models import make_model_folder

GROUPED = ("robustness:arithmetic", "--limit", 10)


def said(text: str) -> str:
    return " ".join(text.split())


def write_rows(path: Path, *rows: object) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("suite", ["world:finance", "robustness:arithmetic"])
def test_more_items_than_anyone_waits_for_are_refused_before_a_model_is_loaded(strop, suite: str) -> None:
    answer = strop("eval", "strop:tiny", "--suite", suite, "--limit", 99_999_999)
    assert answer.code == 2
    assert "99,999,999 items of" in said(answer.err)
    assert "at most 100,000" in said(answer.err)


def test_a_long_draw_is_told_and_so_are_the_questions_that_a_world_repeats(
    strop, chat_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the first 500 test tasks of the finance world 21 repeat another's prompt: counted with repr() and a set."""
    asked = ["eval", chat_folder, "--suite", "world:finance", "--max-new-tokens", 1]
    first = strop(*asked, "--limit", 4)
    assert "drawing" not in first.err
    assert "repeat" not in first.err
    monkeypatch.setattr("strop.cli.evaluate.LONG_DRAW", 4)
    assert "drawing 4 tasks of world:finance" in strop(*asked, "--limit", 4).err
    from strop.pipeline.evaluation import load_suites
    from strop.pipeline.recipe import SuiteTable
    from strop.pipeline.suite_notes import suite_notes
    from strop.pipeline.workspace import Workspace

    (run,) = load_suites([SuiteTable(tasks="world:finance", limit=500)], Workspace.here())
    (line,) = suite_notes(run.suite, "world:finance", 500)
    assert "21 of 500 items repeat" in line


def test_groups_that_are_kept_whole_are_told(strop, chat_folder: Path) -> None:
    answer = strop("eval", chat_folder, "--suite", *GROUPED, "--max-new-tokens", 1, "--output", "out")
    assert answer.code == 0, answer.err
    (path,) = Path("out").glob("results_*.json")
    num_items = json.loads(path.read_text())["num_items"]
    assert num_items < 10
    assert f"{num_items} of the 10 items asked for" in said(answer.err)


def test_a_question_that_stands_twice_in_a_file_is_one_piece_of_evidence_and_told(strop, chat_folder: Path) -> None:
    same = {"prompt": "How many?", "answer": "5"}
    rows = [{"id": "a", **same}, {"id": "a", **same}, {"id": "b", "prompt": "And here?", "answer": "5"}]
    write_rows(Path("own.jsonl"), *rows, {"id": "c", **same})
    asked = ["eval", chat_folder, "--suite", "own.jsonl", "--verifier", "exact", "--max-new-tokens", 2]
    answer = strop(*asked, "--output", "out")
    assert answer.code == 0, answer.err
    items = SuiteResult.load("out", "own").items
    assert [item.id for item in items] == ["a", "a#2", "b", "c"]
    assert items[0].cluster == items[1].cluster == items[3].cluster != items[2].cluster == "b"
    assert "warning: own: 1 item has the id of another" in said(answer.err)
    assert "warning: own: 2 items ask what another asks" in said(answer.err)
    write_rows(Path("own.jsonl"), rows[0], rows[2])
    assert "warning" not in strop(*asked).err


def test_scores_outside_0_to_1_are_told_with_what_passes(strop, chat_folder: Path) -> None:
    write_rows(Path("own.jsonl"), *({"prompt": f"say {n}", "answer": n} for n in range(3)))
    Path("mine.py").write_text("def score(answer):\n    return [17.0, 0.4, 1.0][answer]\n")
    asked = ["eval", chat_folder, "--suite", "own.jsonl", "--max-new-tokens", 2]
    answer = strop(*asked, "--verifier", "mine.py:score")
    assert answer.code == 0, answer.err
    assert "warning: own: 1 of 3 scores lies outside 0 to 1 (0.4 to 17)" in said(answer.err)
    assert "passed means a score of 0.5 or more" in said(answer.err)
    Path("mine.py").write_text("def score(answer):\n    return 1.0\n")
    assert "outside" not in strop(*asked, "--verifier", "mine.py:score").err


def test_help_says_what_latency_is(strop) -> None:
    assert "the time of the batch in which it was answered" in said(strop("eval", "--help").out.replace("│", " "))


def test_an_empty_suite_is_nothing_to_evaluate(strop, chat_folder: Path) -> None:
    Path("own.jsonl").write_text("")
    answer = strop("eval", chat_folder, "--suite", "own.jsonl", "--verifier", "exact")
    assert answer.code == 2
    assert "nothing to evaluate on" in said(answer.err)


def test_drift_of_a_folder_that_is_not_there_reaches_for_no_hub(
    strop, chat_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reached(*arguments: object, **options: object) -> str:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("huggingface_hub.snapshot_download", reached)
    answer = strop("drift", chat_folder, "nofolder")
    assert answer.code == 2
    assert "there is no folder nofolder" in said(answer.err)
    assert "nor is it a model of the hub that lies in the cache" in said(answer.err)


def test_a_folder_without_evidence_says_who_writes_it(strop, chat_folder: Path) -> None:
    asked = ["eval", chat_folder, "--suite", "world:arithmetic", "--limit", 3, "--max-new-tokens", 1]
    assert strop(*asked, "--output", "out").code == 0
    for folder in ("out", "nowhere"):
        answer = strop("gate", "out", "--baseline", "out", "--evidence", folder)
        assert answer.code == 2
        assert "Errno" not in answer.err
        assert "strop label report --output" in said(answer.err)
        assert "strop red-team report --output" in said(answer.err)
    assert "there is no such folder" in said(answer.err)


def test_the_version_is_printed_without_the_programs_libraries() -> None:
    program = (
        "import sys\nsys.argv = ['strop', '--version']\nfrom strop.cli import main\n"
        "try:\n    main()\nfinally:\n"
        "    print(sorted({'typer', 'rich', 'pydantic', 'strop.cli.app'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    import strop

    assert done.stdout.splitlines() == [f"strop {strop.__version__}", "[]"], done.stderr
    assert done.returncode == 0


def test_a_slice_in_which_nothing_failed_is_named_with_those_in_which_something_did(strop, tmp_path: Path) -> None:
    make_model_folder(tmp_path / "model")
    rows = [{"prompt": f"say {n}", "answer": n, "slices": {"side": "left" if n < 2 else "right"}} for n in range(5)]
    write_rows(Path("own.jsonl"), *rows)
    Path("mine.py").write_text("def score(answer):\n    return answer < 2\n")
    source = ["--suite", "own.jsonl", "--verifier", "mine.py:score"]
    done = strop("eval", "model", *source, "--max-new-tokens", 100, "--output", "out")
    assert done.code == 0, done.err
    result = SuiteResult.load("out", "own")
    assert [sample.score for sample in result.samples] == [1, 1, 0, 0, 0]
    asked = ["failures", "out", *source, "--as", "tasks", "--not-held-out", "--output", "x.jsonl", "--slice"]
    if all(item.samples[0].passed for item in result.items[:2]):
        answer = strop(*asked, "side=left")
        assert answer.code == 2
        assert "nothing failed in the slice side=left" in said(answer.err)
        assert "side=right (3)" in said(answer.err)
    assert strop(*asked, "side=right").code == 0
