"""The client of a server: how it starts, what it is set to, and how it ends."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from strop.errors import RecipeError, RemoteError
from strop.sampling.remote import RemoteSampler
from strop.types import SamplingParams

PARAMS = SamplingParams(max_new_tokens=8)
PROMPT = (5, 6, 7)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_a_server_that_starts_slowly_is_waited_for() -> None:
    port, program = free_port(), Path(__file__).parent / "api_server.py"
    process = subprocess.Popen(
        [sys.executable, str(program), "--port", str(port), "--delay", "0.4"], stdout=subprocess.DEVNULL
    )
    sampler = RemoteSampler(f"http://127.0.0.1:{port}/v1", "base", backoff_s=0.1, max_retries=30, max_backoff_s=0.2)
    try:
        assert sampler.sample([PROMPT], PARAMS, seeds=[3])[0].token_ids == (13, 11, 2)
        assert sampler.traffic.retries["unreachable"] >= 1
    finally:
        sampler.close()
        process.kill()
        process.wait()


def test_a_server_that_is_not_there_is_named() -> None:
    sampler = RemoteSampler(f"http://127.0.0.1:{free_port()}/v1", "base", backoff_s=0.01, max_retries=1)
    with pytest.raises(RemoteError, match=r"cannot connect(.|\n)*tried 2 times") as caught:
        sampler.sample([PROMPT] * 3, PARAMS, seeds=[0, 1, 2])
    assert "127.0.0.1" in caught.value.where
    sampler.close()


def test_the_key_comes_from_the_environment(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STROP_TEST_KEY", raising=False)
    with pytest.raises(RecipeError, match="STROP_TEST_KEY is not set"):
        server.sampler(api_key_env="STROP_TEST_KEY")
    monkeypatch.setenv("STROP_TEST_KEY", "secret")
    for settings, sent in (({"api_key_env": "STROP_TEST_KEY"}, "Bearer secret"), ({}, None)):
        server.script()
        server.sampler(**settings).sample([PROMPT], PARAMS, seeds=[3])
        assert server.seen()["requests"][0]["authorization"] == sent


@pytest.mark.parametrize("url", ["127.0.0.1:8000/v1", "ftp://host/v1", "http://", "", "http://[::1"])
def test_an_impossible_url_is_refused(url: str) -> None:
    with pytest.raises(RecipeError, match="base_url"):
        RemoteSampler(url, "base")


@pytest.mark.parametrize(
    "setting",
    [
        {"max_concurrency": 0},
        {"max_retries": -1},
        {"backoff_s": -0.1},
        {"max_backoff_s": float("nan")},
        {"timeout_s": 0.0},
        {"deadline_s": float("nan")},
        {"overall_deadline_s": -1.0},
    ],
)
def test_impossible_settings_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=next(iter(setting))):
        RemoteSampler("http://127.0.0.1:1/v1", "base", **setting)


def test_calls_from_several_threads_share_one_client(server: Any) -> None:
    sampler = server.sampler()
    found: dict[int, tuple[int, ...]] = {}

    def work(seed: int) -> None:
        found[seed] = sampler.sample([PROMPT], PARAMS, seeds=[seed])[0].token_ids

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {seed: (10 + seed, 11, 2) for seed in range(5)}


def test_a_closed_client_leaves_no_thread(server: Any) -> None:
    before = threading.active_count()
    sampler = server.sampler()
    sampler.sample([PROMPT], PARAMS, seeds=[0])
    assert threading.active_count() == before + 1
    sampler.close()
    for _ in range(100):
        if threading.active_count() == before:
            break
        time.sleep(0.01)
    assert threading.active_count() == before
    with pytest.raises(AssertionError, match="the client was closed"):
        sampler.sample([PROMPT], PARAMS, seeds=[0])
