"""Rendering, spans and masks on templates small enough to work out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from strop.chat import ChatTemplate, Rendered
from strop.errors import TemplateError
from strop.types import Message, ToolCall
from tiny_models import make_tokenizer
from trl_templates import tokenizer_for

PLAIN = """\
{%- for message in messages -%}
<|{{ message.role }}|>{{ message.content }}<|end|>
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}
"""
TOOL = {"type": "function", "function": {"name": "f", "description": "", "parameters": {"type": "object"}}}


def user(text: str) -> Message:
    return Message(role="user", content=text)


def assistant(text: str = "", **fields: object) -> Message:
    return Message(role="assistant", content=text, **fields)  # type: ignore[arg-type]


def template(source: str = PLAIN) -> ChatTemplate:
    return ChatTemplate.from_tokenizer(make_tokenizer(source))


def trained(chat: ChatTemplate, rendered: Rendered, **options: object) -> str:
    mask = rendered.loss_mask(**options)  # type: ignore[arg-type]
    return chat.tokenizer.decode([token for token, is_trained in zip(rendered.token_ids, mask) if is_trained])


@pytest.mark.capability("SF-10")
def test_of_ten_tokens_with_a_four_token_answer_exactly_four_are_trained() -> None:
    """``<|user|> q 1 2 <|end|> <|assistant|> | 4 6 ! <|end|>``: six of the prompt, four of the answer."""
    chat = template()
    ids = {token: chat.tokenizer.convert_tokens_to_ids(token) for token in ("<|user|>", "<|assistant|>", "<|end|>")}
    q, one, two, four, six, bang = (chat.tokenizer.convert_tokens_to_ids(c) for c in "q124" + "6!")
    rendered = chat.render([user("q12"), assistant("46!")])
    assert rendered.token_ids == (
        ids["<|user|>"], q, one, two, ids["<|end|>"], ids["<|assistant|>"], four, six, bang, ids["<|end|>"],
    )  # fmt: skip
    assert rendered.loss_mask() == (False,) * 6 + (True,) * 4


@pytest.mark.capability("CT-01", "SF-14")
def test_one_conversation_is_one_string_with_one_list_of_ids() -> None:
    chat = template()
    messages = [Message(role="system", content="s"), user("u"), assistant("a"), user("v"), assistant("b")]
    rendered = chat.render(messages)
    assert rendered.text == (
        "<|system|>s<|end|><|user|>u<|end|><|assistant|>a<|end|><|user|>v<|end|><|assistant|>b<|end|>"
    )
    words = ["<|system|>", "s", "<|end|>", "<|user|>", "u", "<|end|>", "<|assistant|>", "a", "<|end|>"]
    words += ["<|user|>", "v", "<|end|>", "<|assistant|>", "b", "<|end|>"]
    assert rendered.token_ids == tuple(chat.tokenizer.convert_tokens_to_ids(words))
    assert chat.render(messages) == rendered
    assert ChatTemplate.from_tokenizer(make_tokenizer(PLAIN)).render(messages) == rendered
    assert trained(chat, rendered) == "a<|end|>b<|end|>"


@pytest.mark.capability("CT-02", "CT-05")
def test_every_role_has_its_header_content_and_end() -> None:
    chat = template()
    roles = ("system", "user", "assistant", "tool", "assistant")
    rendered = chat.render([Message(role=role, content=f"say {role}") for role in roles])  # type: ignore[arg-type]
    found = [
        (s.role, s.turn, s.kind, chat.tokenizer.decode(rendered.token_ids[s.start : s.end])) for s in rendered.spans
    ]
    assert found == [
        entry
        for turn, role in enumerate(roles)
        for entry in (
            (role, turn, "header", f"<|{role}|>"),
            (role, turn, "content", f"say {role}"),
            (role, turn, "end", "<|end|>"),
        )
    ]
    assert [span.end for span in rendered.spans[:-1]] == [span.start for span in rendered.spans[1:]]
    assert rendered.spans[-1].end == len(rendered.token_ids)


def test_train_overrules_the_setting_and_only_the_last_turn_is_last() -> None:
    chat = template()
    messages = [user("u"), assistant("a"), user("v"), assistant("b")]
    assert trained(chat, chat.render(messages), turns="last") == "b<|end|>"
    messages[1], messages[3] = assistant("a", train=True), assistant("b", train=False)
    assert trained(chat, chat.render(messages), turns="last") == "a<|end|>"
    assert trained(chat, chat.render(messages), turns="all") == "a<|end|>"


@pytest.mark.capability("SF-12")
def test_hidden_reasoning_can_be_left_out_of_training() -> None:
    chat = ChatTemplate.from_tokenizer(tokenizer_for("qwen3"))
    call = ToolCall(name="f", arguments={"x": 1})
    rendered = chat.render([user("u"), assistant("It is 4.", reasoning="two and two", tool_calls=(call,))], [TOOL])
    told = 'It is 4.\n<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call><|im_end|>'
    assert trained(chat, rendered) == f"<think>\ntwo and two\n</think>\n\n{told}"
    assert trained(chat, rendered, parts=frozenset({"content", "tool_call", "end"})) == told


@pytest.mark.capability("SF-12")
def test_reasoning_before_a_bare_call_ends_where_the_think_block_ends() -> None:
    chat = ChatTemplate.from_tokenizer(tokenizer_for("qwen3"))
    call = ToolCall(name="f", arguments={})
    rendered = chat.render([user("u"), assistant(reasoning="look it up", tool_calls=(call,))], [TOOL])
    reasoning = trained(chat, rendered, parts=frozenset({"reasoning"}))
    assert reasoning == "<think>\nlook it up\n</think>\n\n"
    assert trained(chat, rendered).removeprefix(reasoning).startswith("<tool_call>\n")


@pytest.mark.capability("SF-13")
def test_only_the_json_block_can_be_trained() -> None:
    chat = ChatTemplate.from_tokenizer(tokenizer_for("qwen2_5"))
    call = ToolCall(name="f", arguments={"city": "Łódź", "n": [1, 2]})
    rendered = chat.render([user("u"), assistant("Wait.", tool_calls=(call,))], [TOOL])
    assert trained(chat, rendered, parts=frozenset({"tool_call"})) == (
        '\n<tool_call>\n{"name": "f", "arguments": {"city": "Łódź", "n": [1, 2]}}\n</tool_call>'
    )


def test_the_first_token_of_a_sequence_is_never_trained() -> None:
    chat = template("{% for m in messages %}{% generation %}{{ m.content }}<|end|>{% endgeneration %}{% endfor %}")
    rendered = chat.render([user("u"), assistant("a")])
    assert not rendered.loss_mask()[0]


def test_a_token_belongs_to_the_span_that_holds_its_first_character() -> None:
    """The template writes the first letter of ``sales`` and the last of ``spent``, both whole tokens."""
    turn = "{% if m.role == 'assistant' %}s{{ m.content }}t{% else %}{{ m.content }}{% endif %}<|end|>"
    prompt = "{% if add_generation_prompt %}<|assistant|>s{% endif %}"
    chat = template("{% for m in messages %}<|{{ m.role }}|>" + turn + "{% endfor %}" + prompt)
    rendered = chat.render([user("u"), assistant("ales spen")])
    words = chat.tokenizer.convert_ids_to_tokens(rendered.token_ids)
    assert words == ["<|user|>", "u", "<|end|>", "<|assistant|>", "sales", "Ġspent", "<|end|>"]
    assert rendered.loss_mask() == (False, False, False, False, False, True, True)


@pytest.mark.parametrize("content", ["", " ", "\n\n", "  a  ", "a\n", "\ta"])
def test_white_space_belongs_to_the_message_that_said_it(content: str) -> None:
    chat = template()
    rendered = chat.render([user(content), assistant(content)])
    assert rendered.text == f"<|user|>{content}<|end|><|assistant|>{content}<|end|>"
    assert trained(chat, rendered) == f"{content}<|end|>"


@pytest.mark.parametrize("content", ["  a  ", "a\n", "\n\na b"])
def test_a_template_that_trims_trains_what_it_kept(content: str) -> None:
    chat = ChatTemplate.from_tokenizer(tokenizer_for("llama3"))
    rendered = chat.render([user(content), assistant(content)])
    assert trained(chat, rendered) == f"{content.strip()}<|eot_id|>"


@pytest.mark.capability("CT-10")
def test_the_prompt_is_a_prefix_of_what_was_trained() -> None:
    chat = template()
    messages = [user("u"), assistant("a"), user("v"), assistant("b")]
    ids = chat.render(messages).token_ids
    for turn in (1, 3):
        prompt = chat.prompt_ids(messages[:turn])
        assert ids[: len(prompt)] == prompt
        assert prompt[-1] == chat.tokenizer.convert_tokens_to_ids("<|assistant|>")
    assert chat.generation_prompt_is_prefix
    assert not ChatTemplate.from_tokenizer(tokenizer_for("deepseek_r1_distill")).generation_prompt_is_prefix


def test_no_bos_is_added_to_the_one_that_the_template_writes() -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = make_tokenizer("{{ bos_token }}" + PLAIN)
    bos = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|bos|> $A", special_tokens=[("<|bos|>", bos)]
    )
    assert tokenizer("a")["input_ids"][0] == bos
    assert ChatTemplate.from_tokenizer(tokenizer).render([user("u")]).token_ids.count(bos) == 1


def test_todays_date_is_pinned() -> None:
    source = "{% if strftime_now is defined %}{{ strftime_now('%d %B %Y') }}{% endif %}" + PLAIN
    assert template(source).render([user("u")]).text == "01 January 2025<|user|>u<|end|>"


@pytest.mark.parametrize(
    ("source", "messages", "named"),
    [
        (PLAIN.replace("<|{{", "{% if message.role != 'system' %}<|{{").replace("<|end|>", "<|end|>{% endif %}"),
         [Message(role="system", content="s"), user("u")], "content of the system role"),
        (PLAIN.replace("<|{{", "{% if message.role != 'tool' %}<|{{").replace("<|end|>", "<|end|>{% endif %}"),
         [user("u"), Message(role="tool", content="t")], "content of the tool role"),
        ("{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + PLAIN,
         [Message(role="system", content="s"), user("u")], "cannot render the role system"),
        (PLAIN, [user("u"), assistant("a", tool_calls=(ToolCall(name="f", arguments={}),))],
         "tool calls of the assistant role"),
        (PLAIN, [user("u"), assistant("a", reasoning="r")], "reasoning of the assistant role"),
        ("{% for m in messages[-1:] %}" + "<|{{ m.role }}|>{{ m.content }}{% endfor %}",
         [user("first"), assistant("a"), user("second")], "content of the user role"),
        ("{% for m in messages %}<|{{ m.role }}|>{{ m.content[:3] }}{% endfor %}", [user("abcdef")],
         "rewrites a message's text"),
    ],
)  # fmt: skip
@pytest.mark.capability("CT-02")
def test_what_a_template_drops_is_refused_by_name(source: str, messages: list[Message], named: str) -> None:
    with pytest.raises(TemplateError, match=named) as caught:
        template(source).render(messages)
    assert caught.value.do


@pytest.mark.parametrize("content", ["a</think>b", "<think>hm</think>42"])
def test_an_answer_that_the_template_would_take_for_reasoning_is_refused(content: str) -> None:
    with pytest.raises(TemplateError, match=r"rewrites|drops"):
        ChatTemplate.from_tokenizer(tokenizer_for("qwen3")).render([user("u"), assistant(content)])


def test_tools_that_the_template_does_not_show_are_refused() -> None:
    with pytest.raises(TemplateError, match="drops the tools"):
        template().render([user("u")], [TOOL])


def test_reasoning_that_a_template_forgets_in_earlier_turns_is_told() -> None:
    chat = ChatTemplate.from_tokenizer(tokenizer_for("qwen3"))
    rendered = chat.render([user("u"), assistant("a", reasoning="r"), user("v"), assistant("b", reasoning="s")])
    assert rendered.dropped_reasoning == (1,)
    assert "<think>\ns\n</think>" in rendered.text


@pytest.mark.parametrize(
    ("messages", "named"),
    [
        ([], "empty conversation"),
        ([Message(role="user", content="u", train=True)], "user message has train"),
        ([Message(role="tool", content="u", reasoning="r")], "tool message has reasoning"),
        ([user("\ud800")], "half of a character"),
    ],
)
def test_conversations_that_make_no_sense_are_refused(messages: list[Message], named: str) -> None:
    with pytest.raises(TemplateError, match=named):
        template().render(messages)


def test_a_folder_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    make_tokenizer(None).save_pretrained(tmp_path / "bare")
    with pytest.raises(TemplateError, match="no chat template"):
        ChatTemplate.load(tmp_path / "bare")
    with pytest.raises(TemplateError, match="no tokenizer can be loaded"):
        ChatTemplate.load(tmp_path / "absent")


def test_decode_keeps_control_tokens_and_drops_the_stop_token() -> None:
    chat = template()
    end, call = chat.tokenizer.convert_tokens_to_ids(["<|end|>", "<tool_call>"])
    assert chat.stop_token_ids == (end,)
    assert chat.decode((call, end)) == "<tool_call>"
    assert chat.decode((call, end, end)) == "<tool_call><|end|>"
    assert chat.decode(()) == ""


def test_generation_config_adds_stop_tokens(tmp_path: Path) -> None:
    make_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 1]}))
    assert ChatTemplate.load(tmp_path).stop_token_ids == (2, 1)


def test_stop_tokens_are_those_that_end_answers_and_calls() -> None:
    def stops(name: str) -> set[str]:
        chat = ChatTemplate.from_tokenizer(tokenizer_for(name))
        return set(chat.tokenizer.convert_ids_to_tokens(chat.stop_token_ids))

    assert stops("gptoss") == {"<|return|>", "<|call|>"}
    assert stops("glm4moe") == {"<|endoftext|>", "<|user|>", "<|observation|>"}
    assert stops("phi3") == {"<|end|>", "<|endoftext|>"}
