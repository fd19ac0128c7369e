"""A template of a token a character and a sampler that parrots, for the tests of evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from strop.types import Completion, Message, SamplingParams, Task

GREEDY = SamplingParams(temperature=0.0)


@dataclass(frozen=True)
class Template:
    """A token a character."""

    digest: str = "template"
    lock: Mapping[str, str] = field(default_factory=lambda: {"tokenizer": "characters"})

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[object] = ()) -> tuple[int, ...]:
        return tuple(ord(character) for message in messages for character in message.content)


@dataclass
class Parrot:
    """Answers with the prompt's last digit; a sampled answer is right when its seed is even."""

    asked: list[tuple[str, int]] = field(default_factory=list)

    def sample(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, *, seeds: Sequence[int]
    ) -> list[Completion]:
        completions = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            text = "".join(map(chr, prompt))
            self.asked.append((text, seed))
            right = params.temperature == 0 or seed % 2 == 0
            said = f"Answer: {text[-1] if right else 'none'}"
            tokens = tuple(map(ord, said))
            completions.append(
                Completion(token_ids=tokens, sampler_logprobs=(0.0,) * len(tokens), text=said, finish_reason="stop")
            )
        return completions


def tasks(*answers: object) -> tuple[Task, ...]:
    return tuple(
        Task(
            id=f"t{n}",
            prompt=(Message(role="user", content=f"say {n}"),),
            reference={"answer": answer},
            slices={"parity": "even" if n % 2 == 0 else "odd"},
        )
        for n, answer in enumerate(answers)
    )
