import pytest

import trl_templates
from constraint_texts import compiled, tiny_vocabulary, write
from strop.chat.template import ChatTemplate
from strop.constraints import Vocabulary, call_errors, preflight
from strop.constraints.tool_calls import CallFormat, call_format
from strop.errors import ConstraintError
from strop.types import Constraint, Message, ToolCall
from tiny_models import make_tokenizer

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "query_erp",
            "parameters": {
                "type": "object",
                "properties": {
                    "department": {"enum": ["sales", "it"]},
                    "quarter": {"$ref": "#/$defs/quarter"},
                    "note": {"type": "string"},
                },
                "required": ["department"],
                "$defs": {"quarter": {"type": "string", "pattern": "^Q[1-4]$"}},
            },
        },
    },
    {"type": "function", "function": {"name": "ping", "parameters": {"type": "object", "properties": {}}}},
]


@pytest.mark.capability("CD-01")
def test_random_logits_write_calls_that_the_template_parses_and_the_signatures_accept() -> None:
    language = compiled(TOOLS, kind="tool_calls")
    template = tiny_vocabulary().template
    assert language.plan.enforcement == "exact"
    names = set()
    for seed in range(25):
        text, finished, _ = write(language, 100, seed)
        assert finished
        assert language.validate(text) == ()
        for call in template.parse(text).tool_calls:
            assert call_errors(TOOLS, call) == ()
            names.add(call.name)
    assert names == {"query_erp", "ping"}


def test_the_calls_that_the_template_itself_renders_are_in_the_language() -> None:
    language = compiled(TOOLS, kind="tool_calls")
    template = tiny_vocabulary().template
    calls = (
        ToolCall(name="query_erp", arguments={"department": "it", "quarter": "Q3", "note": "</tool_call>"}),
        ToolCall(name="ping", arguments={}),
    )
    asked = [Message(role="user", content="?")]
    prompt = template.prompt_ids(asked, TOOLS)
    whole = template.render([*asked, Message(role="assistant", tool_calls=calls)], TOOLS).token_ids
    matcher = language.matcher()
    for token in whole[len(prompt) :]:
        matcher.consume(token)
    assert matcher.is_finished


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no tool call"),
        ("words", "no tool call"),
        ('<tool_call>{"name": "ping", "arguments": {}}</tool_call> and words', "text beside"),
        ('<tool_call>{"name": "pong", "arguments": {}}</tool_call>', "no tool 'pong'"),
        ('<tool_call>{"name": "query_erp", "arguments": {}}</tool_call>', "'department' is a required"),
        ('<tool_call>{"name": "ping"}</tool_call>', "exactly name and arguments"),
    ],
)
def test_texts_that_are_no_valid_calls_are_told_why(text, reason) -> None:
    assert reason in compiled(TOOLS, kind="tool_calls").validate(text)[0]


def test_nothing_but_calls_may_be_written() -> None:
    matcher = compiled(TOOLS, kind="tool_calls").matcher()
    template = tiny_vocabulary().template
    opening = template.tokenizer.convert_tokens_to_ids("<tool_call>")
    assert matcher.allowed().nonzero().flatten().tolist() == [opening]


def test_the_format_is_read_off_the_template() -> None:
    assert call_format(tiny_vocabulary().template) == CallFormat("", "", ("", ""), (", ", ": "))
    plain = ChatTemplate.from_tokenizer(make_tokenizer())
    assert call_format(plain) == CallFormat("", "", ("", ""), (", ", ": "))


@pytest.mark.parametrize(
    ("name", "before"), [("qwen2_5", ""), ("qwen3_instruct_2507", ""), ("qwen3", "<think>\n\n</think>\n\n")]
)
def test_the_templates_of_the_hermes_kind_are_known(name, before) -> None:
    template = ChatTemplate.from_tokenizer(trl_templates.tokenizer_for(name))
    assert call_format(template) == CallFormat(before, "\n", ("\n", "\n"), (", ", ": "))
    language = compiled(TOOLS, Vocabulary.of(template), kind="tool_calls")
    for seed in range(4):
        text, finished, _ = write(language, language.min_tokens + 80, seed)
        assert finished
        assert language.validate(text) == ()
        assert text.startswith(before + "<tool_call>\n{")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("llama3", "drops the tool calls"), ("glm4moe", "it writes calls as"), ("gemma4", "it writes calls as"),
        ("deepseekv3", "opens <think>"), ("lfm2_2_5", "it writes calls as"),
    ],
)  # fmt: skip
def test_other_templates_are_refused_with_what_they_write(name, reason) -> None:
    if name not in trl_templates.NAMES:
        pytest.skip(f"this trl has no {name}")
    template = ChatTemplate.from_tokenizer(trl_templates.tokenizer_for(name))
    with pytest.raises(ConstraintError, match=reason):
        call_format(template)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"type": "object", "properties": {"a": {"$ref": "#"}}}, "refer to themselves as a whole"),
        ({"type": "object", "properties": {"a": {"$ref": "#/properties/b"}, "b": {}}}, "outside $defs"),
        ({"type": "object", "properties": {"a": {"contains": {}}}}, "contains"),
    ],
)
def test_parameters_that_cannot_be_enforced_are_refused(parameters, reason) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    found = preflight(Constraint(kind="tool_calls", value=[tool]), tiny_vocabulary())
    assert found.enforcement == "refused"
    assert reason in found.reasons[0]


def test_two_tools_of_one_name_are_refused() -> None:
    found = preflight(Constraint(kind="tool_calls", value=[TOOLS[1], TOOLS[1]]), tiny_vocabulary())
    assert "two tools have one name" in found.reasons[0]
