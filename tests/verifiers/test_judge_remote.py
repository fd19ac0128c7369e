"""A judge behind a real server, asked over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from scripted_judge import material_of, nonce_of
from strop.sampling.remote import RemoteSampler
from strop.types import Completion, Message, Task
from strop.verifiers import judge_all
from strop.verifiers.judge import Criterion, JudgeVerifier, PairwiseJudge, Rubric
from strop.verifiers.judge_model import JudgeModel

RUBRIC = Rubric(criteria=(Criterion(name="right", text="Is it right?"),))
TASK = Task(id="t", prompt=(Message(role="user", content="What is 2 + 2?"),), reference={"answer": "five"})


class Handler(BaseHTTPRequestHandler):
    """The chat endpoint of a judge that knows the answer and does what the answers ask of it otherwise."""

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = body["messages"][-1]["content"]
        material, nonce = material_of(asked), nonce_of(asked)
        reason = "stop"
        if "FIRST" in material:
            said = f"VERDICT {nonce}: {'FIRST' if material['FIRST'] == '4' else 'SECOND'}"
        else:
            said = f"I think so.\nVERDICT {nonce} right: {10 if material['ANSWER'] == '4' else 2}"
            if material["ANSWER"] == "break":
                return self.send_error(400)
            if material["ANSWER"] == "echo":
                said = asked
            reason = "length" if material["ANSWER"] == "long" else "stop"
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": reason}
        content = json.dumps({"model": body["model"], "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        return None


@pytest.fixture
def judge() -> Iterator[JudgeModel]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sampler = RemoteSampler(f"http://127.0.0.1:{server.server_address[1]}/v1", "judge", max_retries=0, timeout_s=10.0)
    yield JudgeModel(sampler=sampler, model="judge")
    sampler.close()
    server.shutdown()
    server.server_close()


def answers(*texts: str) -> list[tuple[Task, Completion]]:
    return [(TASK, Completion(token_ids=(), sampler_logprobs=(), text=text, finish_reason="stop")) for text in texts]


@pytest.mark.capability("EV-58")
def test_a_server_judges_and_what_it_fails_at_is_no_zero(judge: JudgeModel) -> None:
    verifier = JudgeVerifier(judge=judge, rubric=RUBRIC)
    found = judge_all(verifier, answers("4", "5", "break", "echo", "long", "4"))
    assert [(verdict.state, verdict.score) for verdict in found] == [
        ("graded", 1.0),
        ("graded", 0.2),
        ("infrastructure", None),
        ("unparsable", None),
        ("unparsable", None),
        ("graded", 1.0),
    ]
    assert "could not be asked" in found[2].reasons[0]
    assert "400" in found[2].reasons[0]


def test_a_server_compares_in_both_orders(judge: JudgeModel) -> None:
    verifier = PairwiseJudge(judge=judge, criterion="it is right")
    found = judge_all(verifier, answers("4", "7"))
    assert [(verdict.score, verdict.reasons[0]) for verdict in found] == [
        (1.0, "win"),
        (0.5, "undecided: the preference follows the place"),
    ]


def test_a_server_that_is_gone_is_infrastructure() -> None:
    sampler = RemoteSampler("http://127.0.0.1:9/v1", "judge", max_retries=0, timeout_s=2.0)
    verifier = JudgeVerifier(judge=JudgeModel(sampler=sampler, model="judge"), rubric=RUBRIC)
    found = judge_all(verifier, answers("4", "5"))
    assert [(verdict.state, verdict.score) for verdict in found] == [("infrastructure", None)] * 2
    sampler.close()
