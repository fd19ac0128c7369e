"""Each way of laying out data has a builder, a view of what is trained, and gradients exactly there."""

import pytest
import torch

from data_rows import ids_of, talk, tiny_template
from strop.batches import collate
from strop.data import (
    conversation_sample,
    document_samples,
    pack,
    packing_lines,
    preference_samples,
    view_conversation,
    view_preference,
    view_rollout,
    view_sample,
)
from strop.segments import predictors
from strop.types import Completion, Document, Message, Preference, Rollout, Sample, Task, Verdict

PAIR = Preference(
    id="pair",
    prompt=(Message(role="user", content="ABC"),),
    chosen=(Message(role="assistant", content="xyz"),),
    rejected=(Message(role="assistant", content="Yes"),),
)
ROLLOUT = Rollout(
    task=Task(id="task", prompt=PAIR.prompt),
    prompt_ids=(4, 39, 40, 41, 2, 5),
    completion=Completion(token_ids=(63, 271, 2), sampler_logprobs=(-1.0,) * 3, text="Yes", finish_reason="stop"),
    verdict=Verdict(score=1.0, passed=True),
)


@pytest.mark.capability("CP-01")
def test_packing_masking_and_rollouts_can_all_be_looked_at() -> None:
    template = tiny_template()
    # masking
    view = view_conversation(template, talk("ABC", "xyz", system="Be brief."), max_length=64)
    assert view.text == "<|system|>Be brief.<|end|><|user|>ABC<|end|><|assistant|>⟦xyz<|end|>⟧"
    chosen, rejected = view_preference(template, PAIR, max_length=64)
    assert chosen.text == "<|user|>ABC<|end|><|assistant|>⟦xyz<|end|>⟧"
    assert rejected.text == "<|user|>ABC<|end|><|assistant|>⟦Yes<|end|>⟧"
    # rollouts
    assert view_rollout(template, ROLLOUT).text == "<|user|>ABC<|end|><|assistant|>⟦Yes<|end|>⟧"
    # packing
    samples = document_samples(template, [Document(id="d", text="ABCxyz")], max_length=5, mode="split")
    assert [view_sample(template, sample).text for sample in samples] == ["A⟦BCxy⟧", "y⟦z<|end|>⟧"]
    lengths = [len(sample.token_ids) for sample in samples]
    lines = packing_lines(lengths, pack(lengths, 10), 10, width=10)
    assert lines == ["|aaaaabbb..| 8 of 10", "2 sequences in 1 bins, 80.0 % full"]


def test_the_coloured_view_says_the_same_and_takes_no_text_for_markup() -> None:
    view = view_conversation(tiny_template(), talk("[red]x[/red]", "xyz"), max_length=99)
    text = view.rich()
    assert text.plain.endswith("<|user|>[red]x[/red]<|end|><|assistant|>xyz<|end|>")
    trained = [text.plain[span.start : span.end] for span in text.spans if "reverse" in str(span.style)]
    assert trained == ["xyz<|end|>"]
    assert view.num_trained == 4


def test_a_view_of_a_shortened_row_shows_what_is_left() -> None:
    view = view_conversation(tiny_template(), talk("ABCABC", "xyz"), max_length=10)
    assert view.text == "<|user|>ABC<|end|><|assistant|>⟦xyz<|end|>⟧"


def positions_with_gradient(samples: list[Sample]) -> list[list[int]]:
    """Which logits rows of each sequence get a gradient from its cross-entropy."""
    batch = collate(samples)
    logits = torch.randn(batch.num_tokens, 500, generator=torch.Generator().manual_seed(0), requires_grad=True)
    targets, sources = predictors(batch.loss_mask, batch.position_ids)
    torch.nn.functional.cross_entropy(logits[sources], batch.token_ids[targets]).backward()
    assert logits.grad is not None
    touched = logits.grad.abs().sum(-1) > 0
    return [
        batch.position_ids[touched & (batch.sequence_ids == number)].tolist() for number in range(batch.num_sequences)
    ]


@pytest.mark.capability("CP-02")
def test_gradients_reach_exactly_the_positions_that_each_method_trains() -> None:
    from strop.methods.groups import group_batch

    template = tiny_template()
    [document] = document_samples(template, [Document(id="d", text="ABCxyz")], max_length=64, mode="split")
    conversation = conversation_sample(template, talk("ABC", "xyz", "Hi", "Yes"), max_length=64)
    sides = preference_samples(template, PAIR, max_length=64)
    # A position predicts the token after it. CPT: all 7 tokens but the first are targets.
    assert positions_with_gradient([document]) == [[0, 1, 2, 3, 4, 5]]
    # SFT: 6 prompt tokens, the answer 6..9, a user turn 10..13 and a header 14, the answer 15..17.
    assert positions_with_gradient([conversation]) == [[5, 6, 7, 8, 14, 15, 16]]
    # DPO: in both sides the answer alone, after the same prompt of 6.
    assert positions_with_gradient(list(sides)) == [[5, 6, 7, 8], [5, 6, 7]]
    # RL: the sampled tokens alone.
    batch = group_batch([ROLLOUT, ROLLOUT], 2, scale=None)
    assert batch.loss_mask.tolist() == ([False] * 6 + [True] * 3) * 2
    assert batch.token_ids[batch.loss_mask].tolist() == [*ids_of("Yes<|end|>")] * 2
