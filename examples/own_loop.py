"""Fine-tune the embedded base in a loop of your own, then ask it something.

python examples/own_loop.py [STEPS]
"""

import sys

from strop.methods import sft
from strop.models import LoRA, Policy
from strop.rollouts import converse
from strop.sampling import TorchSampler
from strop.training import AdamW, train
from strop.types import Message
from strop.worlds import get_world


def main(num_steps: int = 60) -> list[Message]:
    """The dialogue that follows a question, after ``num_steps`` of supervised fine-tuning."""
    world = get_world("finance")
    policy = Policy.load("strop:tiny", lora=LoRA(rank=16))
    stream, objective = sft(policy, world.demonstrations("train", 1000), batch_size=16)
    for step in train(policy, stream, objective, optimizer=AdamW(lr=2e-3), num_steps=num_steps):
        if step.number % 10 == 0:
            print(f"step {step.number}: loss {step.loss:.3f}")

    asked = (*world.opening("retail_B"), Message(role="user", content="What did sales East spend in Q3?"))
    answers = converse(TorchSampler(policy), policy.template, asked, world.tools, world.execute, max_turns=2)
    for message in answers:
        print(f"{message.role}: {message.content} {[dict(call.arguments) for call in message.tool_calls] or ''}")
    return answers


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
