"""A server process for the tests of this folder, and how to tell it what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from strop.sampling.remote import RemoteSampler, VllmSampler

PROGRAM = Path(__file__).parent / "api_server.py"
PATIENCE: dict[str, Any] = {"timeout_s": 5.0, "backoff_s": 0.01, "max_retries": 3}


@dataclass
class Server:
    """A running server and the samplers made for it."""

    process: subprocess.Popen[str]
    port: int
    samplers: list[RemoteSampler]

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def script(self, *faults: dict[str, Any]) -> None:
        """What the next completions do; forgets what was seen."""
        httpx.post(f"{self.root}/script", content=json.dumps(faults)).raise_for_status()

    def seen(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.root}/seen").json()
        return found

    def sampler(self, **settings: Any) -> RemoteSampler:
        return self._made(RemoteSampler, settings)

    def vllm(self, **settings: Any) -> VllmSampler:
        found = self._made(VllmSampler, settings)
        assert isinstance(found, VllmSampler)
        return found

    def _made(self, kind: type[RemoteSampler], settings: dict[str, Any]) -> RemoteSampler:
        self.samplers.append(kind(f"{self.root}/v1", "base", **{**PATIENCE, **settings}))
        return self.samplers[-1]


def start(*arguments: str) -> Server:
    process = subprocess.Popen([sys.executable, str(PROGRAM), *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return Server(process, int(process.stdout.readline()), [])


def running(*arguments: str) -> Iterator[Server]:
    server = start(*arguments)
    yield server
    for sampler in server.samplers:
        sampler.close()
    server.process.kill()
    server.process.wait()


@pytest.fixture(scope="session")
def _scripted() -> Iterator[Server]:
    yield from running()


@pytest.fixture
def server(_scripted: Server) -> Server:
    """A server that answers (10 + seed mod 7, 11, 2) and says that it is vLLM."""
    _scripted.script()
    return _scripted


@pytest.fixture(scope="session")
def plain_server() -> Iterator[Server]:
    """The same without vLLM's extensions: token ids only as names."""
    yield from running("--plain")


@pytest.fixture(scope="session")
def model_server(chat_folder: Path) -> Iterator[Server]:
    """A server with a real two-layer model."""
    yield from running("--model", str(chat_folder))
