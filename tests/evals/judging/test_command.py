"""``strop judge`` and ``strop gate --evidence``: a judge behind a real server, up to the gate's decision."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from judged_pairs import results
from scripted_judge import material_of, nonce_of
from strop.cli import main
from strop.evals.judging import write_anchors
from strop.types import Message, Task
from strop.verifiers.anchors import Anchor

Strop = Callable[..., tuple[int, str, str]]
GOOD, BAD = "a good answer", "a poor one"


class Judge(BaseHTTPRequestHandler):
    """Prefers what says good."""

    said = staticmethod(str)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = body["messages"][-1]["content"]
        first, second = (("good" in material_of(asked)[key]) for key in ("FIRST", "SECOND"))
        verdict = "TIE" if first == second else "FIRST" if first else "SECOND"
        said = self.said(f"VERDICT {nonce_of(asked)}: {verdict}")
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        content = json.dumps({"model": body["model"], "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def server() -> Iterator[str]:
    found = ThreadingHTTPServer(("127.0.0.1", 0), Judge)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_address[1]}/v1#my-judge"
    found.shutdown()
    found.server_close()


@pytest.fixture
def strop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Strop:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STROP_HOME", str(tmp_path / "home"))

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["strop", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


def save(folder: Path, texts: list[str], model: str) -> None:
    results(texts, model=model).save(folder)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A candidate that lost what the judge likes on 30 of 120 items, accuracy untouched."""
    save(tmp_path / "candidate", [BAD] * 30 + [GOOD] * 90, "new")
    save(tmp_path / "baseline", [GOOD] * 120, "old")
    anchors = [
        Anchor(task=Task(id=f"a{n}", prompt=(Message(role="user", content="?"),)), text=f"{text} {n}", label=label)
        for n in range(30)
        for text, label in ((GOOD, True), (BAD, False))
    ]
    write_anchors(tmp_path / "anchors.jsonl", anchors)
    return tmp_path


def judge(strop: Strop, server: str, output: str, *more: object) -> tuple[int, str, str]:
    asked = ("--with", server, "--criterion", "it is good", "--output", output)
    return strop("judge", "candidate", "baseline", *asked, *more)


@pytest.mark.capability("EV-58")
def test_a_judged_loss_blocks_at_the_gate_beside_an_accuracy_that_sees_nothing(
    strop: Strop, server: str, folders: Path
) -> None:
    code, out, err = judge(strop, server, "judged", "--anchors", "anchors.jsonl")
    assert (code, err) == (0, err)
    assert "win rate 0.375" in out  # 30 losses and 90 ties of 120: 45 / 120
    assert "beside accuracy 1.000 → 1.000" in out
    assert "agrees with people on 100%" in out
    assert "60 answers with people's labels make 30 anchors" in out
    names = {path.name for path in (folders / "judged").iterdir()}
    assert names == {"anchor_report.json", "evidence.json", "judgement_finance.json", "judgements_finance.jsonl"}
    code, out, _ = strop("gate", "candidate", "--baseline", "baseline", "--evidence", "judged")
    assert code == 1
    assert "judge of finance: the baseline is preferred" in out
    assert strop("gate", "candidate", "--baseline", "baseline")[0] == 0
    code, _, err = strop("gate", "baseline", "--baseline", "candidate", "--evidence", "judged")
    assert (code, "about another candidate" in err) == (2, True)


@pytest.mark.capability("EV-46")
@pytest.mark.slow
def test_without_anchors_and_after_a_drift_the_command_and_the_gate_say_insufficient(
    strop: Strop, server: str, folders: Path
) -> None:
    code, out, _ = judge(strop, server, "bare")
    assert code == 3
    assert "nothing follows: 0 anchors with people's labels; at least 30 are asked for" in out
    code, out, _ = strop("gate", "candidate", "--baseline", "baseline", "--evidence", "bare")
    assert code == 3
    assert "dimension helpfulness: judge of finance" in out
    assert judge(strop, server, "examined", "--anchors", "anchors.jsonl")[0] == 0
    report = json.loads((folders / "examined" / "anchor_report.json").read_text())
    assert (report["numbers"]["num_anchors"], report["numbers"]["agreement"]) == (30, 1.0)
    again = ("--anchors", "anchors.jsonl", "--examined", "examined/anchor_report.json")
    assert judge(strop, server, "again", *again)[0] == 0
    code, out, _ = judge(strop, server.replace("my-judge", "another"), "other", *again)
    assert (code, "people examined another judge or rubric" in out) == (3, True)


def test_bad_input_is_told_before_the_judge_is_asked(strop: Strop, server: str, folders: Path) -> None:
    for more, told in (
        (("--dimension", "beauty"), "choose from helpfulness"),
        (("--criterion", " "), "--criterion is empty"),
        (("--suite", "finanze"), "is not in both folders"),
        (("--anchors", "none.jsonl"), "cannot read the anchors"),
        (("--examined", "none.json"), "cannot use the anchor report"),
    ):
        code, _, err = judge(strop, server, "judged", *more)
        assert (code, told in err) == (2, True), err
    code, _, err = judge(strop, server.partition("#")[0], "judged")
    assert (code, "names no served model" in err) == (2, True)
    code, _, err = judge(strop, server.replace("//", "//me:hunter2@"), "judged")
    assert (code, "has a name or password in it" in err, "hunter2" in err) == (2, True, False)
    assert not (folders / "judged").exists()


@pytest.mark.slow
def test_why_items_are_ungraded_is_told_with_counts_and_an_example(
    strop: Strop, server: str, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Judge, "said", staticmethod(lambda verdict: "I would rather not say.\nBoth are fine."))
    save(folders / "candidate", [BAD, GOOD] * 60, "new")
    code, out, _ = judge(strop, server, "judged", "--anchors", "anchors.jsonl")
    assert code == 3
    assert "ungraded: 60 because the judge gave nothing\n" in out  # the other 60 answers are the same
    assert "of i000 the judge said: I would rather not say. Both are fine." in out
    assert "kind=odd" in out
    assert "kind=even" not in out
    assert "1 of 2 slices have no item that could be judged" in out


@pytest.mark.slow
def test_the_embedded_model_is_no_judge_and_decides_nothing(strop: Strop, folders: Path) -> None:
    """It answers nothing readable: what it was asked is ungraded, and nothing of it counts as a tie."""
    save(folders / "candidate", [BAD, GOOD], "new")
    save(folders / "baseline", [GOOD, GOOD], "old")
    code, out, _ = judge(strop, "strop:tiny", "judged", "--max-new-tokens", 8)
    assert code == 3
    assert "0 wins, 0 losses, 1 ties, 0 undecided, 1 ungraded" in out
