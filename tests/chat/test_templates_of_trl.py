"""Every chat template inside the installed ``trl``: rendered as ``transformers`` does, masked, or refused."""

from __future__ import annotations

import datetime
import re
from functools import lru_cache
from types import SimpleNamespace

import pytest
import transformers.utils.chat_template_utils as chat_template_utils

from strop.chat import GOLDENS, ChatTemplate, Golden, Rendered
from strop.chat.shape import as_dicts
from strop.errors import TemplateError
from trl_templates import NAMES, source, tokenizer_for

WITH_MARKERS = [name for name in NAMES if re.search(r"\{%-?\s*generation", source(name))]
# What the templates make the model write around an answer, worked out from the templates by hand.
BEFORE = re.compile(r"(\n?<think>\n*</think>|\n*</think>|<\|channel\|>final<\|message\|>| to=user<\|message\|>)?\s*")
END = {
    "cohere2": "<|END_RESPONSE|><|END_OF_TURN_TOKEN|>", "cohere": "<|END_OF_TURN_TOKEN|>",
    "deepseek": "<｜end▁of▁sentence｜>", "gemma4": "<turn|>", "diffusion_gemma": "<turn|>",
    "gemma": "<end_of_turn>", "glm4moe": "(<|user|>)", "gptoss": "<|return|>",
    "idefics3": "<end_of_utterance>", "smolvlm": "<end_of_utterance>", "llama3": "<|eot_id|>", "llava": "</s>",
    "muse": "<|eot|>", "phi3": "<|end|>",
}  # fmt: skip


@lru_cache
def load(name: str) -> ChatTemplate:
    return ChatTemplate.from_tokenizer(tokenizer_for(name))


@lru_cache
def without_markers(name: str) -> ChatTemplate:
    """The same template with its generation tags turned into comments, which Jinja treats alike for white space."""
    tokenizer = tokenizer_for(name)
    text = re.sub(r"\{#.*?#\}", lambda comment: re.sub(r"\{%|%\}", "", comment.group()), source(name), flags=re.DOTALL)
    tokenizer.chat_template = re.sub(r"\{%(-?\s*(?:end)?generation\s*-?)%\}", r"{#\1#}", text)
    return ChatTemplate.from_tokenizer(tokenizer)


@lru_cache
def outcomes(name: str) -> list[tuple[Golden, Rendered | TemplateError]]:
    template, found = load(name), []
    for golden in GOLDENS:
        try:
            found.append((golden, template.render(golden.messages, golden.tools, add_generation_prompt=golden.prompt)))
        except TemplateError as error:
            found.append((golden, error))
    return found


def rendered(name: str) -> list[tuple[Golden, Rendered]]:
    return [(golden, result) for golden, result in outcomes(name) if isinstance(result, Rendered)]


@pytest.fixture
def pinned_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock that ``transformers`` gives to templates, at the date that strop pins."""
    clock = SimpleNamespace(now=lambda: datetime.datetime(2025, 1, 1))
    monkeypatch.setattr(chat_template_utils, "datetime", clock)
    chat_template_utils._compile_jinja_template.cache_clear()


@pytest.mark.capability("CT-04")
@pytest.mark.parametrize("name", NAMES)
def test_ids_are_those_of_apply_chat_template(name: str, pinned_date: None) -> None:
    template = load(name)
    if template.frame.shape.no_content == "none":
        pytest.skip("apply_chat_template drops the None that this template needs beside calls")
    for golden, result in rendered(name):
        reference = template.tokenizer.apply_chat_template(
            as_dicts(golden.messages, template.frame.shape),
            tools=list(golden.tools) or None,
            add_generation_prompt=golden.prompt,
        )
        assert list(result.token_ids) == reference["input_ids"], golden.name


@pytest.mark.capability("CT-02")
@pytest.mark.parametrize("name", NAMES)
def test_what_is_refused_is_really_dropped_or_raised_by_the_template(name: str) -> None:
    template = load(name)
    for golden, error in outcomes(name):
        if not isinstance(error, TemplateError) or "begins" in error.what:
            continue
        assert error.why, golden.name
        try:
            text = template.tokenizer.apply_chat_template(
                as_dicts(golden.messages, template.frame.shape), tools=list(golden.tools) or None, tokenize=False
            )
        except Exception:
            continue
        wanted = [part for message in golden.messages for part in (message.content, message.reasoning) if part]
        calls = [call for message in golden.messages for call in message.tool_calls]
        is_dropped = any(part.strip() not in text for part in wanted)
        has_lost_calls = text.count('"year": 2025') + text.count("2025") < 2 * len(calls)
        assert is_dropped or has_lost_calls or golden.tools, (golden.name, error.what)
        if "drops the tools" in error.what:
            assert "The budget of a department" not in text


@pytest.mark.parametrize("name", NAMES)
def test_every_template_renders_plain_dialogues(name: str) -> None:
    assert {"prompt", "one turn", "several turns", "white space", "unicode", "markup"} <= {
        golden.name for golden, _ in rendered(name)
    }


@pytest.mark.capability("SF-11", "SF-14")
@pytest.mark.parametrize("name", NAMES)
def test_exactly_the_answers_and_their_ends_are_trained(name: str) -> None:
    template = load(name)
    end = next((token for prefix, token in END.items() if name.startswith(prefix)), "<|im_end|>")
    golden, result = next(pair for pair in rendered(name) if pair[0].name == "several turns")
    mask = result.loss_mask()
    for turn, message in enumerate(golden.messages):
        own = [i for s in result.spans if s.turn == turn for i in range(s.start, s.end) if mask[i]]
        text = template.tokenizer.decode([result.token_ids[i] for i in own])
        if message.role != "assistant":
            assert not own
            continue
        ends = {end, "<|end|>"} if name.startswith("gptoss") else {end.strip("()"), ""} if "(" in end else {end}
        found = next(e for e in sorted(ends, key=len, reverse=True) if text.endswith(e))
        answer = text.removesuffix(found)
        assert answer.endswith(message.content), (turn, text)
        assert BEFORE.fullmatch(answer.removesuffix(message.content)), (turn, text)


@pytest.mark.capability("CT-05", "SF-11")
@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_others_said_is_trained(name: str) -> None:
    for golden, result in rendered(name):
        mask = result.loss_mask()
        trained = load(name).tokenizer.decode([t for t, m in zip(result.token_ids, mask) if m])
        for message in golden.messages:
            if message.role != "assistant":
                assert message.content.strip() not in trained, golden.name
        assert all(span.role == "assistant" for span in result.spans if any(mask[span.start : span.end]))


# What transformers' own mask holds beyond the contract: what inference supplies, and what follows the stop token.
BEYOND = re.compile(
    r"\s*|<｜Assistant｜>(<think>\n)?|<think>\n*(</think>\n+)?|<\|start\|>assistant|<｜tool▁outputs▁end｜>"
    r"|\s*<\|endoftext\|>"
)


@pytest.mark.parametrize("name", WITH_MARKERS)
def test_spans_found_without_markers_are_the_markers(name: str) -> None:
    template, bare = load(name), without_markers(name)
    for golden, result in rendered(name):
        if (name, golden.name) == ("diffusion_gemma_training", "content and call"):
            continue  # without markers it is refused: the answer stands after the tool's result, without a header
        other = bare.render(golden.messages, golden.tools, add_generation_prompt=golden.prompt)
        assert other.text == result.text
        allowed = {"<|tool_response>"} if name == "diffusion_gemma_training" else set()
        ours, found = result.loss_mask(), other.loss_mask()
        surplus = [t for t, a, b in zip(result.token_ids, ours, found) if b and not a]
        assert not any(a and not b for a, b in zip(ours, found)), golden.name
        assert set(template.tokenizer.convert_ids_to_tokens(surplus)) <= allowed, golden.name


@pytest.mark.parametrize("name", WITH_MARKERS)
def test_the_mask_is_that_of_transformers_but_for_prompts_and_what_follows_the_stop_token(
    name: str, pinned_date: None
) -> None:
    template = load(name)
    if template.frame.shape.no_content == "none":
        pytest.skip("apply_chat_template drops the None that this template needs beside calls")
    for golden, result in rendered(name):
        out = template.tokenizer.apply_chat_template(
            as_dicts(golden.messages, template.frame.shape),
            tools=list(golden.tools) or None,
            add_generation_prompt=golden.prompt,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        theirs, ours = out["assistant_masks"], result.loss_mask()
        assert not any(o and not t for o, t in zip(ours, theirs)), golden.name
        run: list[int] = []
        for token, o, t in [*zip(result.token_ids, ours, theirs), (0, True, 0)]:
            if t and not o:
                run.append(token)
            elif run:
                assert BEYOND.fullmatch(template.tokenizer.decode(run)), (golden.name, template.tokenizer.decode(run))
                run = []


@pytest.mark.parametrize("name", NAMES)
def test_the_escaping_tokenizer_gives_the_reference_ids_where_there_is_nothing_to_escape(name: str) -> None:
    template = load(name)
    for golden, result in rendered(name):
        layout = template._layout(golden.messages, golden.tools, golden.prompt)
        encoding = template._encoder.guarded(layout.text, [(piece.start, piece.end) for piece in layout.pieces])
        assert encoding.ids == result.token_ids, golden.name
        assert encoding.offsets == template._encoder.encode(layout.text).offsets, golden.name


@pytest.mark.capability("CT-10")
@pytest.mark.parametrize("name", NAMES)
def test_inference_starts_from_the_ids_that_training_showed(name: str) -> None:
    """Where the template says so; the templates that do not are those that open or close a think block themselves."""
    template = load(name)
    unstable = ("deepseek", "qwen3_5", "qwen3_6", "qwen3_8", "nemotron", "diffusion_gemma_training")
    if not name.startswith(unstable):
        assert template.generation_prompt_is_prefix
    golden, result = next(pair for pair in rendered(name) if pair[0].name == "several turns")
    for turn, message in enumerate(golden.messages):
        if message.role != "assistant":
            continue
        prompt = template.prompt_ids(golden.messages[:turn])
        header = next(s.start for s in result.spans if s.turn == turn and s.kind != "header")
        is_prefix = result.token_ids[: len(prompt)] == prompt
        assert not is_prefix or header == len(prompt), turn
        assert is_prefix or not template.generation_prompt_is_prefix, turn
