import pytest

from constraint_texts import big_vocabulary, compiled, tiny_vocabulary
from strop.chat.template import ChatTemplate
from strop.constraints import Vocabulary
from strop.constraints.vocabulary import refuse_oversize
from strop.errors import VocabularyError
from tiny_models import make_tokenizer


def test_the_vocabulary_is_built_once_for_a_tokenizer_and_a_size() -> None:
    template = tiny_vocabulary().template
    assert Vocabulary.of(template) is tiny_vocabulary()
    assert Vocabulary.of(template, 800) is not tiny_vocabulary()


def test_a_token_over_1024_bytes_is_an_error_before_the_engine_panics() -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["x" * 1025])
    with pytest.raises(VocabularyError, match=r"1025 characters.*\n.*at most 1024 bytes.*\n.*max_token_length"):
        Vocabulary.of(ChatTemplate.from_tokenizer(tokenizer))


def test_a_learned_word_over_1024_bytes_is_an_error_and_one_of_1024_is_not() -> None:
    refuse_oversize({"model": {"vocab": {"y" * 1024: 0}}, "added_tokens": []})
    with pytest.raises(VocabularyError, match="yyyy"):
        refuse_oversize({"model": {"vocab": {"y" * 1025: 0}}, "added_tokens": []})
    with pytest.raises(VocabularyError, match="zzzz"):
        refuse_oversize({"model": {"vocab": [["z" * 2000, -1.0]]}, "added_tokens": []})


def test_a_model_smaller_than_its_tokenizer_is_refused() -> None:
    with pytest.raises(VocabularyError, match="the model has 700 logits and the tokenizer 768 tokens"):
        Vocabulary.of(tiny_vocabulary().template, 700)


@pytest.mark.capability("CD-01")
def test_ids_that_only_the_model_has_are_never_allowed() -> None:
    vocabulary = big_vocabulary()
    allowed = compiled({"type": "string"}, vocabulary).matcher().allowed()
    assert allowed.shape == (vocabulary.size,)
    assert not allowed[vocabulary.template.vocab_size :].any()


def test_control_tokens_stand_in_no_string_whether_special_or_added() -> None:
    # <tool_call> is an added token that is not special here: the engine would take it for text
    template = ChatTemplate.from_tokenizer(make_tokenizer())
    vocabulary = Vocabulary.of(template)
    matcher = compiled({"type": "string"}, vocabulary).matcher()
    matcher.consume(vocabulary.engine.tokenize_str('"')[0])
    allowed = matcher.allowed()
    control = template.tokenizer.convert_tokens_to_ids(list(template.control_tokens))
    assert "<tool_call>" in template.control_tokens
    assert not allowed[control].any()
    assert allowed.sum() > 200


def test_the_text_of_a_control_token_may_be_spelt_in_a_string_without_becoming_one() -> None:
    vocabulary = tiny_vocabulary()
    language = compiled({"type": "string"})
    matcher, spelt = language.matcher(), []
    for letter in '"<tool_call>"':
        spelt.append(vocabulary.token_bytes.index(letter.encode()))
        matcher.consume(spelt[-1])
    assert matcher.is_accepting
    assert not set(spelt) & set(range(10))
    assert language.validate(vocabulary.template.decode(spelt)) == ()
