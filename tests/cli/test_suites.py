"""``strop eval`` on suites: what they cost, several samples, a server's answers, fresh sets, and what is refused."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from strop.evals import SuiteResult

SERVER = Path(__file__).parent.parent / "sampling" / "remote" / "api_server.py"


@pytest.fixture
def server() -> Iterator[str]:
    """A scripted server's address."""
    process = subprocess.Popen([sys.executable, str(SERVER)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    process.kill()
    process.wait()


def test_tokens_money_and_what_k_answers_are_worth_are_told(strop, chat_folder: Path) -> None:
    asked = ["eval", chat_folder, "--suite", "world:arithmetic", "--limit", 4, "--max-new-tokens", 4]
    priced = ["--price-prompt", 0, "--price-completion", 1e6, "--temperature", 1, "--samples-per-task", 2]
    answer = strop(*asked, *priced, "--output", "out")
    assert answer.code == 0, answer.err
    tokens = sum(sample.num_tokens for sample in SuiteResult.load("out", "arithmetic").samples)
    assert f"cost {tokens:.4g}" in answer.out
    assert "k = 2" in answer.out
    assert "pass^k" in answer.out
    half = strop(*asked, "--price-prompt", 1)
    assert half.code == 2
    assert "a price has two parts" in half.err


def test_a_server_answers_a_suite_and_its_answers_are_never_the_folders_own(
    strop, chat_folder: Path, server: str
) -> None:
    asked = ["eval", chat_folder, "--suite", "world:arithmetic", "--limit", 3, "--max-new-tokens", 4]
    here = strop(*asked, "--output", "here")
    there = strop(*asked, "--server", f"{server}#base", "--output", "there")
    assert (here.code, there.code) == (0, 0), there.err
    own, served = SuiteResult.load("here", "arithmetic"), SuiteResult.load("there", "arithmetic")
    assert [sample.num_tokens for sample in served.samples] == [3, 3, 3]  # the script's two tokens and the end
    assert own.digests["model"] != served.digests["model"]
    assert {name for name in own.digests if own.digests[name] != served.digests[name]} == {"model"}
    assert strop(*asked, "--server", server).code == 2


def test_a_fresh_set_is_another_one_every_time_and_its_seed_draws_it_again(strop, chat_folder: Path) -> None:
    asked = ["eval", chat_folder, "--limit", 3, "--max-new-tokens", 4, "--suite"]
    for folder in ("one", "two"):
        assert strop(*asked, "fresh:arithmetic", "--output", folder).code == 0
    one, two = (SuiteResult.load(folder, "fresh-arithmetic") for folder in ("one", "two"))
    assert one.version != two.version
    assert not {item.id for item in one.items} & {item.id for item in two.items}
    seed = one.version.removeprefix("fresh-")
    assert strop(*asked, f"fresh:arithmetic@{seed}", "--output", "again").code == 0
    assert SuiteResult.load("again", "fresh-arithmetic").digest == one.digest


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("fersh:arithmetic", "did you mean `fresh:arithmetic`"),
        ("fresh:", "it has no world behind the colon"),
        ("fresh:arithmetik", "did you mean 'arithmetic'"),
        ("fresh:arithmetic@x", "'x' is no number"),
    ],
)
def test_an_unknown_kind_world_or_seed_is_told_with_the_nearest(
    strop, chat_folder: Path, source: str, told: str
) -> None:
    answer = strop("eval", chat_folder, "--suite", source, "--limit", 3)
    assert answer.code == 2
    assert told in answer.err
    assert "Traceback" not in answer.err


def test_a_suite_of_a_world_takes_no_verifier_and_a_dial(strop, chat_folder: Path) -> None:
    refused = strop("eval", chat_folder, "--suite", "fresh:arithmetic", "--verifier", "number")
    assert refused.code == 2
    assert "`verifier` has no effect on `fresh:arithmetic`" in refused.err
    set_ = strop("eval", chat_folder, "--suite", "fresh:arithmetic", "--world", "steps=2", "--limit", 2)
    assert set_.code == 0, set_.err


@pytest.mark.parametrize(
    ("file", "name"), [("my eval (2).jsonl", "my-eval-2"), (".hidden.jsonl", "hidden"), ("données.v2.jsonl", "donn-es")]
)
def test_a_file_of_any_name_can_be_asked(strop, tmp_path: Path, file: str, name: str) -> None:
    (tmp_path / file).write_text('{"prompt": "Say 1.", "answer": "1"}\n')
    asked = ("--suite", file, "--verifier", "exact", "--max-new-tokens", 2, "--output", "out")
    answer = strop("eval", "strop:tiny", *asked)
    assert answer.code == 0, answer.err
    assert (tmp_path / "out" / f"results_{name}.json").is_file()
