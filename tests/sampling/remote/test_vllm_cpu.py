"""A real vLLM, the community CPU build in an environment of its own: what it samples is what the policy says.

``vllm_environment.sh`` makes the environment; ``STROP_VLLM_PYTHON`` names its python.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import transformers

from strop.models import LoRA, Policy
from strop.rollouts import roll_out
from strop.sampling import TorchSampler
from strop.sampling.draw import sampling_logprobs
from strop.sampling.gap import calibrate
from strop.sampling.remote import VllmSampler
from strop.types import Completion, Message, SamplingParams, Task, Verdict
from tiny_models import make_tokenizer

PYTHON = os.environ.get("STROP_VLLM_PYTHON", "")
REASON = "STROP_VLLM_PYTHON names no python with vllm: see tests/sampling/remote/vllm_environment.sh"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not PYTHON or not Path(PYTHON).exists(), reason=REASON),
    pytest.mark.filterwarnings("ignore"),
]
START_S = 300
GREEDY = SamplingParams(max_new_tokens=24, temperature=0.0)
ATOL = 1e-4


def make_policy(folder: Path, seed: int) -> Policy:
    """A random two-layer Llama with heads of 32, the smallest that vLLM runs on a CPU, saved by strop to ``folder``."""
    tokenizer = make_tokenizer()
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=512,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.mul_(8.0 if "embed" in name else 4.0)
    raw = folder.with_name(folder.name + "-raw")
    model.save_pretrained(raw)
    tokenizer.save_pretrained(raw)
    policy = Policy.load(raw, device="cpu", dtype="float32")
    policy.save(folder)
    return policy


def make_adapter(base: Path, folder: Path, seed: int) -> Policy:
    policy = Policy.load(base, device="cpu", dtype="float32", lora=LoRA(rank=4), seed=seed)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in policy.trainable().items():
            if "lora_B" in name:
                parameter.normal_(0, 0.2)
    policy.save(folder)
    return policy


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vllm")


@pytest.fixture(scope="module")
def policies(folders: Path) -> list[Policy]:
    return [make_policy(folders / f"model{seed}", seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def address(folders: Path, policies: list[Policy]) -> Iterator[str]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folders / "model0")]
    command += ["--served-model-name", "base", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--max-model-len", "512", "--enforce-eager", "--logprobs-mode", "processed_logprobs"]
    command += ["--enable-lora", "--max-lora-rank", "8", "--max-loras", "2"]
    environment = {
        **os.environ,
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    environment.pop("PYTHONPATH", None)
    log = folders / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(1)
    pytest.fail(f"vLLM did not start: {log.read_text()[-2000:]}")


@pytest.fixture
def server(address: str, policies: list[Policy]) -> Iterator[VllmSampler]:
    """vLLM with the first model's weights."""
    sampler = VllmSampler(address, "base", template=policies[0].template, max_retries=1)
    sampler.reload_weights(Path(str(sampler.models()["base"]["root"])), policies[0].digest())
    yield sampler
    sampler.close()


def make_tasks(number: int = 6) -> list[Task]:
    return [Task(id=f"t{i}", prompt=(Message(role="user", content=f"Compute {i} + 17"),)) for i in range(number)]


def assert_same(server: VllmSampler, policy: Policy, adapter: str = "") -> None:
    prompts = [policy.template.prompt_ids(task.prompt) for task in make_tasks()]
    remote = server.sample(prompts, GREEDY, seeds=[0] * len(prompts), adapters=[adapter] * len(prompts))
    local = TorchSampler(policy).sample(prompts, GREEDY, seeds=[0] * len(prompts))
    farthest = 0.0
    for one, other in zip(remote, local, strict=True):
        assert (one.token_ids, one.text, one.finish_reason) == (other.token_ids, other.text, other.finish_reason)
        pairs = zip(one.sampler_logprobs, other.sampler_logprobs, strict=True)
        farthest = max(farthest, *(abs(a - b) for a, b in pairs))
    print(f"greedy: {sum(len(c.token_ids) for c in local)} tokens, logprobs differ by at most {farthest:.1e}")
    assert farthest < ATOL


class WithAdapter:
    """The server, every row by one adapter."""

    def __init__(self, server: VllmSampler, adapter: str) -> None:
        self.server, self.adapter = server, adapter

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, *, seeds: Sequence[int]
    ) -> list[Completion]:
        return self.server.sample(prompts, params, seeds=seeds, adapters=[self.adapter] * len(prompts))


@pytest.mark.parametrize("params", [SamplingParams(max_new_tokens=24), SamplingParams(temperature=0.7)])
def test_completions_and_logprobs_are_the_policys(
    server: VllmSampler, policies: list[Policy], params: SamplingParams
) -> None:
    assert server.dialect == "vllm"
    assert_same(server, policies[0])
    found = calibrate(policies[0], server, make_tasks(), params=params, samples_per_task=4).require()
    print(found.gap)
    assert found.gap.max < ATOL


def test_streams_and_seeds_repeat(address: str, server: VllmSampler, policies: list[Policy]) -> None:
    prompts = [policies[0].template.prompt_ids(task.prompt) for task in make_tasks()]
    params = SamplingParams(max_new_tokens=16)
    streaming = VllmSampler(address, "base", template=policies[0].template, stream=True)
    one, other = (s.sample(prompts, params, seeds=range(6)) for s in (server, streaming))
    assert [c.token_ids for c in one] == [c.token_ids for c in other]
    for a, b in zip(one, other, strict=True):
        assert a.sampler_logprobs == pytest.approx(b.sampler_logprobs, abs=ATOL)
    streaming.close()


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(max_new_tokens=24, top_p=0.8),
        SamplingParams(max_new_tokens=24, top_k=5, temperature=0.7),
        SamplingParams(max_new_tokens=24, min_p=0.1),
        SamplingParams(max_new_tokens=24, repetition_penalty=1.3),
        SamplingParams(max_new_tokens=24, logit_bias={30: 3.0, 31: -20.0}),
        SamplingParams(max_new_tokens=24, top_k=20, top_p=0.9, repetition_penalty=1.2, temperature=1.4),
    ],
)
def test_every_parameter_means_what_it_means_here(
    server: VllmSampler, policies: list[Policy], params: SamplingParams
) -> None:
    prompts = [policies[0].template.prompt_ids(task.prompt) for task in make_tasks()]
    farthest = 0.0
    for prompt, found in zip(prompts, server.sample(prompts, params, seeds=range(len(prompts))), strict=True):
        ids = [*prompt, *found.token_ids]
        with torch.no_grad():
            logits = policies[0].model(torch.tensor([ids])).logits[0, len(prompt) - 1 : -1]
        seen = torch.zeros(logits.shape, dtype=torch.bool)
        for row in range(len(logits)):
            seen[row, ids[: len(prompt) + row]] = True
        expected = sampling_logprobs(logits, params, seen).gather(-1, torch.tensor(found.token_ids)[:, None])[:, 0]
        gap = (expected - torch.tensor(found.sampler_logprobs, dtype=torch.float64)).abs().max()
        farthest = max(farthest, float(gap))
    print(f"{params}: logprobs differ by at most {farthest:.1e}")
    assert farthest < ATOL


def test_a_stop_text_ends_a_completion_as_it_does_here(server: VllmSampler, policies: list[Policy]) -> None:
    prompts = [policies[0].template.prompt_ids(task.prompt) for task in make_tasks()]
    local = TorchSampler(policies[0])
    whole = local.sample(prompts, GREEDY, seeds=[0] * len(prompts))
    params = replace(GREEDY, stop=(whole[0].text[5:7], whole[1].text[9:12]))
    mine = local.sample(prompts, params, seeds=[0] * len(prompts))
    theirs = server.sample(prompts, params, seeds=[0] * len(prompts))
    assert {one.finish_reason for one in mine[:2]} == {"stop"}
    for one, other in zip(mine, theirs, strict=True):
        assert (one.token_ids, one.text, one.finish_reason) == (other.token_ids, other.text, other.finish_reason)


def test_a_cut_is_found_and_named(server: VllmSampler, policies: list[Policy]) -> None:
    found = calibrate(policies[0], server, make_tasks(), params=SamplingParams(top_p=0.8), samples_per_task=2)
    assert not found.is_rounding
    assert "top_p = 0.8" in found.cause


def test_reloaded_weights_are_the_new_policys(folders: Path, server: VllmSampler, policies: list[Policy]) -> None:
    start = time.perf_counter()
    server.reload_weights(folders / "model1", policies[1].digest())
    print(f"reload with checks: {time.perf_counter() - start:.2f} s")
    assert_same(server, policies[1])
    server.reload_weights(folders / "model0", policies[0].digest())
    assert_same(server, policies[0])


def test_adapters_are_loaded_by_digest_and_stay_apart(
    folders: Path, server: VllmSampler, policies: list[Policy]
) -> None:
    digests, tuned = [], []
    for seed in (3, 4):
        tuned.append(make_adapter(folders / "model0", folders / f"adapter{seed}", seed))
        start = time.perf_counter()
        digests.append(server.load_adapter(folders / f"adapter{seed}"))
        print(f"adapter with checks: {time.perf_counter() - start:.2f} s")
    for digest, policy in zip(digests, tuned, strict=True):
        assert_same(server, policy, digest)
        found = calibrate(policy, WithAdapter(server, digest), make_tasks(), samples_per_task=2).require()
        assert found.gap.max < ATOL
    assert not calibrate(tuned[0], WithAdapter(server, digests[1]), make_tasks()).is_rounding
    # The base is reloaded under the adapters, which then must answer as before.
    server.reload_weights(folders / "model0", policies[0].digest())
    assert_same(server, tuned[0], digests[0])
    for digest in digests:
        server.unload_adapter(digest)
    assert_same(server, policies[0])


def test_given_tokens_are_scored_as_the_policy_scores_them(server: VllmSampler, policies: list[Policy]) -> None:
    sequence = policies[0].template.prompt_ids(make_tasks()[0].prompt)
    with torch.no_grad():
        logprobs = policies[0].model(torch.tensor([sequence])).logits[0].log_softmax(-1)
    expected = logprobs[:-1].gather(-1, torch.tensor(sequence[1:])[:, None])[:, 0].tolist()
    assert server.score([sequence])[0] == pytest.approx(expected, abs=ATOL)


def test_tasks_are_rolled_out(server: VllmSampler, policies: list[Policy]) -> None:
    verifier: Any = lambda task, completion: Verdict(score=float(len(completion.text)), passed=True)  # noqa: E731
    found = roll_out(
        server,
        policies[0].template,
        make_tasks(),
        verifier,
        SamplingParams(max_new_tokens=8),
        samples_per_task=4,
        seed=1,
    )
    assert len(found) == 24
    assert len({rollout.completion.token_ids for rollout in found}) > 12
