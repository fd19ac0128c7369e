"""A server's completion ends where the embedded engine's would, whatever the server says of its end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from strop.models import Policy
from strop.sampling import TorchSampler
from strop.sampling.remote.completions import Asked, completion_of
from strop.sampling.remote.transport import Fault
from strop.types import Completion, Message, SamplingParams

NUM = 8
END = 2


def decode(token_ids: Sequence[int]) -> str:
    """Letters from a = 10 on."""
    return "".join(chr(ord("a") + token - 10) if token != END else "<end>" for token in token_ids)


def read(
    tokens: Sequence[int],
    told: str,
    *,
    stop: tuple[str, ...] = (),
    stop_token_ids: tuple[int, ...] = (END,),
    text: str | None = None,
    logprobs: Sequence[float] | None = None,
    decode: Any = decode,
) -> Completion:
    """What is made of a server's answer; with ``text`` there is no template, so that the server's text is all."""
    asked = Asked(
        model="base",
        prompt=(5,),
        params=SamplingParams(max_new_tokens=NUM, stop=stop),
        seed=0,
        stop_token_ids=stop_token_ids,
        dialect="vllm",
        vocab_size=None,
        weights=None,
        knows_stops=text is None,
    )
    values = [-float(i + 1) for i in range(len(tokens))] if logprobs is None else list(logprobs)
    choice = {
        "text": text or "",
        "finish_reason": told,
        "token_ids": list(tokens),
        "logprobs": {"token_logprobs": values},
    }
    return completion_of({"model": "base", "choices": [choice]}, asked, decode if text is None else None)


@pytest.mark.parametrize(
    ("tokens", "told", "stop", "num_tokens", "reason", "text"),
    [
        ((10, 11, END), "stop", (), 3, "stop", "ab"),
        ((10, 11, END, 12, 13), "stop", (), 3, "stop", "ab"),  # went on after its end
        ((10, END, 11, END), "stop", (), 2, "stop", "a"),
        ((10, 11, 12, 13, 14, 15, 16, END), "length", (), 8, "stop", "abcdefg"),  # the last one that was allowed
        ((10, 11, END, 12, 13, 14, 15, 16), "length", (), 3, "stop", "ab"),
        ((10, END), "length", (), 2, "stop", "a"),  # not cut short: it ended by itself
        ((10, 11, END), "deadline", (), 3, "stop", "ab"),
        ((10, 11, 12, 13, 14, 15, 16, 17), "length", ("h",), 8, "stop", "abcdefg"),
        ((10, 11, 12, 13, 14, 15, 16, 17), "length", ("cd",), 4, "stop", "ab"),
        ((10, 11, 12, 13), "stop", ("bc",), 3, "stop", "a"),
        ((10, 11, 12, 13, END), "stop", ("bc", "ab"), 2, "stop", ""),
        ((10, END, 11, 12), "stop", ("bc",), 2, "stop", "a"),
        ((10, 11, 12, 13, 14, 15, 16, 17), "length", ("x",), 8, "length", "abcdefgh"),
        ((10, 11), "deadline", ("x",), 2, "deadline", "ab"),
        ((), "deadline", ("x",), 0, "deadline", ""),
    ],
)
def test_it_ends_at_the_first_stop(
    tokens: tuple[int, ...], told: str, stop: tuple[str, ...], num_tokens: int, reason: str, text: str
) -> None:
    found = read(tokens, told, stop=stop)
    assert (found.token_ids, found.finish_reason, found.text) == (tokens[:num_tokens], reason, text)
    assert found.sampler_logprobs == tuple(-float(i + 1) for i in range(num_tokens))


def test_a_stop_that_is_none_and_a_length_that_is_short_stay_errors() -> None:
    with pytest.raises(Fault, match="says that it stopped, but token 2 of 8 is 11, which ends nothing"):
        read((10, 11), "stop", stop=("x",))
    with pytest.raises(Fault, match="cut at 2 of 8 tokens"):
        read((10, 11), "length", stop=("x",))


@pytest.mark.parametrize(
    ("tokens", "told", "text", "reason", "kept"),
    [
        ((10, 11), "stop", "ab", "stop", "ab"),  # an end that only the server knows
        ((10, 11, 12, 13, 14, 15, 16, 17), "length", "abcdefgh", "length", "abcdefgh"),
        ((10, 11, 12, 13, 14, 15, 16, 17), "length", "abcdefgx", "stop", "abcdefg"),
        ((10, 11, 12, 13, 14, 15, 16, END), "length", "abcdefg", "stop", "abcdefg"),
        ((10, 11), "stop", "ax", "stop", "a"),
    ],
)
def test_without_a_template_the_servers_text_tells_the_end(
    tokens: tuple[int, ...], told: str, text: str, reason: str, kept: str
) -> None:
    found = read(tokens, told, stop=("x",), text=text)
    assert (found.token_ids, found.finish_reason, found.text) == (tokens, reason, kept)


@pytest.mark.parametrize(
    ("tokens", "text"), [((10, END, 12, 13, 14, 15, 16, 17), "acdefgh"), ((10, 11, 12, 13, 14, 15, 16, 17), "axcdefgh")]
)
def test_without_a_template_a_completion_that_goes_on_after_a_stop_is_an_error(
    tokens: tuple[int, ...], text: str
) -> None:
    with pytest.raises(Fault, match="goes on after a stop") as caught:
        read(tokens, "length", stop=("x",), text=text)
    assert "template" in caught.value.do


@pytest.mark.capability("RL-01")
def test_it_is_what_the_embedded_engine_makes_of_the_same_tokens(chat_folder: Path) -> None:
    policy = Policy.load(chat_folder, device="cpu", dtype="float32")
    engine, template = TorchSampler(policy), policy.template
    prompts = [template.prompt_ids((Message(role="user", content=f"Compute {i} + 1"),)) for i in range(6)]
    seeds = list(range(6))
    free = engine.sample(prompts, SamplingParams(max_new_tokens=NUM), seeds=seeds)
    num_stops = 0
    for prompt, seed, whole in zip(prompts, seeds, free, strict=True):
        texts = [whole.text[i : i + 2] for i in range(len(whole.text) - 1)]
        for params in [
            *(SamplingParams(max_new_tokens=NUM, stop_token_ids=(token,)) for token in whole.token_ids),
            *(SamplingParams(max_new_tokens=NUM, stop=(text,)) for text in texts),
        ]:
            expected = engine.sample([prompt], params, seeds=[seed])[0]
            found = read(
                whole.token_ids,
                "length",  # what a server says that knows of no stop
                stop=params.stop,
                stop_token_ids=(*template.stop_token_ids, *params.stop_token_ids),
                logprobs=whole.sampler_logprobs,
                decode=lambda ids: template.tokenizer.decode(
                    list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
                ),
            )
            assert (found.token_ids, found.text) == (expected.token_ids, expected.text)
            assert found.finish_reason == expected.finish_reason
            assert found.sampler_logprobs == pytest.approx(expected.sampler_logprobs, abs=1e-5)
            num_stops += found.finish_reason == "stop"
    assert num_stops > 50
