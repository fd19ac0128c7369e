"""Rows become tokens with masks: exactly the assistant's answers are trained, and no answer is ever cut."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_rows import REASONING, conversations, ids_of, masked_by_hand, steady, talk, tiny_template, words
from strop.data import conversation_sample, document_samples, preference_samples
from strop.data.samples import PARTS, fit_conversation
from strop.errors import DataError, RowError, TemplateError
from strop.types import Conversation, Document, Message, Preference, Sample, ToolCall

[END] = ids_of("<|end|>")
SYSTEM = Message(role="system", content="Be brief.")
CALL = Message(role="assistant", tool_calls=(ToolCall(name="add", arguments={"a": 1}),))
RESULT = Message(role="tool", content="raw result 2", name="add")


def text_of(ids: list[int]) -> str:
    text: str = tiny_template().tokenizer.decode(ids)
    return text


def trained_text(sample: Sample) -> str:
    return text_of([token for token, trained in zip(sample.token_ids, sample.loss_mask) if trained])


# ------------------------------------------------------------------------------------------------- what is trained


@pytest.mark.capability("A1-10")
@pytest.mark.capability("SF-10")
def test_ten_tokens_with_a_prompt_of_six_supervise_exactly_four() -> None:
    sample = conversation_sample(tiny_template(), talk("ABC", "xyz"), max_length=64)
    assert sample.token_ids == (4, 39, 40, 41, 2, 5, 94, 95, 96, 2)
    assert sample.loss_mask == (False,) * 6 + (True,) * 4


@pytest.mark.capability("SF-14")
def test_a_conversation_of_several_turns_has_its_golden_tokens() -> None:
    row = talk("Hi", "Yes", "ABC", "xyz", system="Be brief.")
    sample = conversation_sample(tiny_template(), row, max_length=64)
    by_hand = [
        *[3, *ids_of("Be brief."), 2],
        *[4, 46, 79, 2],  # Hi
        *[5, 63, 271, 2],  # Yes
        *[4, 39, 40, 41, 2],
        *[5, 94, 95, 96, 2],
    ]
    assert list(sample.token_ids) == by_hand
    assert trained_text(sample) == "Yes<|end|>xyz<|end|>"


@pytest.mark.capability("SF-11")
@steady
@given(conversations)
def test_no_token_of_user_system_or_header_is_trained(row: Conversation) -> None:
    sample = conversation_sample(tiny_template(), row, max_length=10_000)
    assert list(sample.loss_mask) == masked_by_hand(list(sample.token_ids))


@pytest.mark.capability("AB-EOS-trained")
@pytest.mark.capability("SF-16")
@steady
@given(conversations)
def test_the_number_of_supervised_tokens_is_that_of_the_answers_and_their_ends(row: Conversation) -> None:
    sample = conversation_sample(tiny_template(), row, max_length=10_000)
    plain = tiny_template().tokenizer.backend_tokenizer
    answers = [message.content for message in row.messages if message.role == "assistant"]
    assert sum(sample.loss_mask) == sum(len(plain.encode(answer).ids) + 1 for answer in answers)


@pytest.mark.capability("AB-tool-tokens-masked")
@pytest.mark.capability("SF-08")
def test_a_tool_trajectory_trains_call_and_answer_but_not_the_raw_result() -> None:
    row = Conversation(
        id="t", messages=(*talk("Hi", "x").messages[:1], CALL, RESULT, *talk("", "It is 2").messages[1:])
    )
    sample = conversation_sample(tiny_template(), row, max_length=200)
    call = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'
    assert trained_text(sample) == f"{call}<|end|>It is 2<|end|>"
    assert "raw result" in text_of(list(sample.token_ids))


def test_only_the_last_turn_or_the_turns_that_ask_for_it_can_be_trained() -> None:
    row = talk("a", "one", "b", "two")
    assert trained_text(conversation_sample(tiny_template(), row, max_length=99, turns="last")) == "two<|end|>"
    marked = replace(
        row, messages=tuple(replace(m, train=m.content == "one") for m in row.messages[:2]) + row.messages[2:]
    )
    marked = replace(marked, messages=(*marked.messages[:3], replace(marked.messages[3], train=False)))
    assert trained_text(conversation_sample(tiny_template(), marked, max_length=99)) == "one<|end|>"


@pytest.mark.capability("SF-12")
def test_hidden_reasoning_can_be_left_out_while_the_call_is_trained() -> None:
    turn = Message(role="assistant", reasoning="secret", tool_calls=CALL.tool_calls)
    row = Conversation(id="r", messages=(Message(role="user", content="Hi"), turn))
    template = tiny_template(REASONING)
    everything = conversation_sample(template, row, max_length=200)
    assert trained_text(everything).startswith("<think>secret</think><tool_call>")
    sample = conversation_sample(template, row, max_length=200, parts=PARTS - {"reasoning"})
    assert trained_text(sample) == '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call><|end|>'
    assert sample.token_ids == everything.token_ids


@pytest.mark.capability("SF-13")
@pytest.mark.parametrize(
    ("answer", "blocks"),
    [
        ('Sure:\n{"a": [1, {"b": "}"}]}\nDone', '{"a": [1, {"b": "}"}]}'),
        ('{"a": 1} and [{"b": 2}] but not [1] or {x}', '{"a": 1}[{"b": 2}]'),
    ],
)
def test_only_the_json_blocks_of_an_answer_are_trained(answer: str, blocks: str) -> None:
    sample = conversation_sample(tiny_template(), talk("Hi", answer), max_length=200, parts=frozenset({"json"}))
    # a token may hold the space before a brace
    assert trained_text(sample).replace(" ", "") == blocks.replace(" ", "")


@pytest.mark.capability("AB-mask-all-error")
@pytest.mark.parametrize("train", [False, None])
def test_a_row_that_trains_nothing_is_refused_by_name(train: bool | None) -> None:
    row = talk("a", "b")
    row = replace(row, messages=(row.messages[0], replace(row.messages[1], train=train)))
    if train is None:
        row = replace(row, messages=row.messages[:1])
    with pytest.raises(RowError) as caught:
        conversation_sample(tiny_template(), row, max_length=99)
    assert caught.value.reason == "nothing_supervised"
    assert caught.value.what == "row row trains no token"
    assert caught.value.where == "rows.jsonl:1"


def test_a_template_that_does_not_train_the_stop_token_is_refused() -> None:
    source = "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}" + (
        "{% endgeneration %}{% else %}{{ m.content }}{% endif %}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    with pytest.raises(RowError) as caught:
        conversation_sample(tiny_template(source), talk("Hi", "Yes"), max_length=99)
    assert caught.value.reason == "stop_untrained"


# ------------------------------------------------------------------------------------------------------- truncation


@pytest.mark.capability("SF-15")
@steady
@given(words.flatmap(lambda text: st.text(text, min_size=1, max_size=60)), words, st.integers(1, 90))
def test_a_single_turn_keeps_its_whole_answer_wherever_it_fits(question: str, answer: str, max_length: int) -> None:
    row = talk(question, answer)
    whole = conversation_sample(tiny_template(), row, max_length=10_000)
    trained = [token for token, is_trained in zip(whole.token_ids, whole.loss_mask) if is_trained]
    if len(trained) + 1 > max_length:
        with pytest.raises(DataError, match=f"the limit is {max_length}"):
            conversation_sample(tiny_template(), row, max_length=max_length)
        return
    sample = conversation_sample(tiny_template(), row, max_length=max_length)
    assert len(sample.token_ids) == min(len(whole.token_ids), max_length)
    assert list(sample.token_ids[-len(trained) :]) == trained
    assert sample.loss_mask == (False,) * (len(sample.token_ids) - len(trained)) + (True,) * len(trained)


@pytest.mark.capability("SF-15")
@steady
@given(conversations, st.integers(1, 120))
def test_several_turns_keep_their_last_answer_and_stay_well_formed(row: Conversation, max_length: int) -> None:
    last = ids_by_role(row.messages[-1:])
    if len(last) > max_length:
        with pytest.raises(DataError):
            conversation_sample(tiny_template(), row, max_length=max_length)
        return
    fitted = fit_conversation(tiny_template(), row, max_length=max_length)
    sample = fitted.sample
    assert len(sample.token_ids) <= max_length
    assert list(sample.token_ids[-len(last) + 1 :]) == last[1:]
    kept_mask = masked_by_hand(list(fitted.rendered.token_ids))
    assert sample.loss_mask == tuple(kept_mask[i] for i in fitted.kept)
    assert fitted.dropped_turns % 2 == 0
    if fitted.num_tokens <= max_length:
        assert (fitted.dropped_turns, fitted.dropped_trained_tokens) == (0, 0)
    else:
        before = masked_by_hand(ids_by_role(row.messages))
        assert fitted.dropped_trained_tokens == sum(before) - sum(sample.loss_mask)


def ids_by_role(messages: tuple[Message, ...]) -> list[int]:
    """The rendering put together by hand: header, text without control tokens, end."""
    plain = tiny_template().tokenizer.backend_tokenizer
    return [i for m in messages for i in (*ids_of(f"<|{m.role}|>"), *plain.encode(m.content).ids, END)]


def test_old_exchanges_go_first_and_the_system_turn_stays() -> None:
    row = talk(
        "first question", "first answer", "second question", "second answer", "third?", "yes", system="Be brief."
    )
    rest = talk("third?", "yes", system="Be brief.")
    size = len(conversation_sample(tiny_template(), rest, max_length=999).token_ids)
    fitted = fit_conversation(tiny_template(), row, max_length=size)
    assert fitted.sample.token_ids == conversation_sample(tiny_template(), rest, max_length=999).token_ids
    assert fitted.dropped_turns == 4
    assert fitted.dropped_trained_tokens == len(ids_of("first answer")) + len(ids_of("second answer")) + 2


def test_then_the_question_loses_its_beginning_before_the_system_turn_loses_anything() -> None:
    row = talk("one two three four five", "yes", system="Be brief.")
    whole = conversation_sample(tiny_template(), row, max_length=999)
    shorter = conversation_sample(tiny_template(), row, max_length=len(whole.token_ids) - 4)
    assert text_of(list(shorter.token_ids)).startswith("<|system|>Be brief.<|end|><|user|>")
    assert text_of(list(shorter.token_ids)).endswith("five<|end|><|assistant|>yes<|end|>")


def test_a_long_tool_result_is_cut_before_the_calls_around_it() -> None:
    result = Message(role="tool", content="0123456789 " * 20, name="add")
    question, answer = talk("Q?W", "It is 2").messages
    row = Conversation(id="t", messages=(question, CALL, result, answer))
    whole = conversation_sample(tiny_template(), row, max_length=999)
    shorter = conversation_sample(tiny_template(), row, max_length=len(whole.token_ids) - 10)
    assert trained_text(shorter) == trained_text(whole)
    assert "<|tool|>" in text_of(list(shorter.token_ids))


def test_turns_after_the_last_answer_are_given_up_before_anything_else() -> None:
    row = replace(talk("Hi", "Yes", "and a long last question"), id="open")
    row = replace(row, messages=(*talk("Hi", "Yes").messages, Message(role="user", content="and a long last question")))
    assert conversation_sample(tiny_template(), row, max_length=8).token_ids == (4, 46, 79, 2, 5, 63, 271, 2)


def test_an_answer_that_does_not_fit_is_refused_with_its_size_and_the_limit() -> None:
    row = talk("Hi", "A" * 40)
    answer = len(ids_of("A" * 40)) + 1  # and its end
    with pytest.raises(RowError) as caught:
        conversation_sample(tiny_template(), row, max_length=answer)
    assert caught.value.what == f"the answer of row row does not fit: {answer + 1} tokens, the limit is {answer}"
    assert caught.value.where == "rows.jsonl:1"
    assert caught.value.reason == "answer_too_long"
    conversation_sample(tiny_template(), row, max_length=answer + 1)


# ------------------------------------------------------------------------------------------------------- preferences


def pair_of(prompt: str, chosen: str, rejected: str, system: str = "") -> Preference:
    return Preference(
        id="pair",
        prompt=talk(prompt, "x", system=system).messages[:-1],
        chosen=(Message(role="assistant", content=chosen),),
        rejected=(Message(role="assistant", content=rejected),),
        source="pairs.jsonl:3",
    )


def test_a_pair_has_one_prompt_and_trains_both_answers() -> None:
    chosen, rejected = preference_samples(tiny_template(), pair_of("ABC", "xyz", "Yes"), max_length=99)
    assert chosen.token_ids == (4, 39, 40, 41, 2, 5, 94, 95, 96, 2)
    assert rejected.token_ids == (4, 39, 40, 41, 2, 5, 63, 271, 2)
    assert chosen.loss_mask == (False,) * 6 + (True,) * 4
    assert rejected.loss_mask == (False,) * 6 + (True,) * 3
    assert (chosen.name, rejected.name) == ("pair/chosen", "pair/rejected")
    assert (chosen.facts["preferred"], rejected.facts["preferred"]) == (1.0, 0.0)


def test_earlier_answers_in_a_prompt_are_not_trained() -> None:
    pair = replace(pair_of("b", "two", "three"), prompt=(*talk("a", "one").messages, Message(role="user", content="b")))
    chosen, rejected = preference_samples(tiny_template(), pair, max_length=99)
    assert (trained_text(chosen), trained_text(rejected)) == ("two<|end|>", "three<|end|>")


@steady
@given(words, words, words, st.one_of(st.just(""), words), st.integers(1, 60))
def test_a_pair_is_shortened_alike_and_keeps_both_answers(
    prompt: str, chosen: str, rejected: str, system: str, max_length: int
) -> None:
    pair = pair_of(prompt, chosen, rejected, system)
    plain = tiny_template().tokenizer.backend_tokenizer
    answers = [[*plain.encode(text).ids, END] for text in (chosen, rejected)]
    if max(map(len, answers)) + 1 > max_length:
        with pytest.raises(DataError, match="row pair does not fit"):
            preference_samples(tiny_template(), pair, max_length=max_length)
        return
    sides = preference_samples(tiny_template(), pair, max_length=max_length)
    prompts = [side.token_ids[: -len(answer)] for side, answer in zip(sides, answers)]
    assert prompts[0] == prompts[1]
    for side, answer in zip(sides, answers):
        assert len(side.token_ids) <= max_length
        assert list(side.token_ids[-len(answer) :]) == answer
        assert sum(side.loss_mask) == len(answer) == sum(side.loss_mask[-len(answer) :])


def test_a_pair_drops_the_oldest_exchanges_of_both() -> None:
    long = replace(pair_of("b", "two", "x"), prompt=(*talk("a b c", "one").messages, Message(role="user", content="b")))
    short = preference_samples(tiny_template(), pair_of("b", "two", "x"), max_length=99)
    found = preference_samples(tiny_template(), long, max_length=len(short[0].token_ids))
    assert [side.token_ids for side in found] == [side.token_ids for side in short]


# --------------------------------------------------------------------------------------------------------- documents


@pytest.mark.capability("AB-EOS-trained")
@pytest.mark.capability("CP-06")
@steady
@given(st.lists(words, min_size=1, max_size=5), st.integers(2, 30))
def test_every_document_ends_with_one_eos_and_no_token_is_lost(texts: list[str], max_length: int) -> None:
    template = tiny_template()
    plain = template.tokenizer.backend_tokenizer
    documents = [Document(id=f"d{number}", text=text) for number, text in enumerate(texts)]
    samples = document_samples(template, documents, max_length=max_length, mode="split")
    assert template.tokenizer.eos_token_id in template.stop_token_ids  # what every sampler stops at
    for document in documents:
        ids = [*plain.encode(document.text).ids, END]
        own = [s for s in samples if s.name.split("/")[0] == document.id]
        assert [*own[0].token_ids, *(t for s in own[1:] for t in s.token_ids[1:])] == ids
        targets = [t for s in own for t, trained in zip(s.token_ids, s.loss_mask) if trained]
        assert targets == ids[1:]
        assert targets.count(END) == 1
        assert all(len(sample.token_ids) <= max_length for sample in own)


def test_a_control_token_in_a_document_stays_text() -> None:
    [sample] = document_samples(tiny_template(), [Document(id="d", text="a<|end|>b")], max_length=99, mode="split")
    assert list(sample.token_ids).count(END) == 1
    assert text_of(list(sample.token_ids)) == "a<|end|>b<|end|>"


def test_a_truncated_document_keeps_its_beginning_and_claims_no_end() -> None:
    documents = [Document(id="long", text="ABCxyz"), Document(id="short", text="AB"), Document(id="none", text="")]
    samples = document_samples(tiny_template(), documents, max_length=4, mode="truncate")
    assert [(s.name, s.token_ids) for s in samples] == [("long", (39, 40, 41, 94)), ("short", (39, 40, 2))]


def test_a_template_error_names_what_the_template_drops() -> None:
    source = "{% for m in messages if m.role != 'system' %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}" + (
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    with pytest.raises(TemplateError, match="system"):
        conversation_sample(tiny_template(source), talk("Hi", "Yes", system="Be brief."), max_length=99)
