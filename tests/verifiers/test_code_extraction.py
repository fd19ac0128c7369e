"""The code of an answer is found wherever answers put it, and the prompt's own part is added once."""

import pytest

from strop.verifiers.code import find_code
from strop.verifiers.code.extraction import preamble

PROMPT = 'from typing import List\n\n\ndef helper(x):\n    return x\n\n\ndef f(x: int) -> int:\n    """Doubles."""\n'
BODY = "    return 2 * x\n"
WHOLE = "def f(x: int) -> int:\n    return 2 * x\n"


def value_of(sources: tuple[str, ...], name: str = "f") -> object:
    """What f(4) gives in the first source that compiles."""
    for source in sources:
        try:
            code = compile(source, "<test>", "exec")
        except SyntaxError:
            continue
        names: dict[str, object] = {}
        exec(code, names)
        return names[name](4)  # type: ignore[operator]
    return "nothing compiles"


@pytest.mark.parametrize(
    "text",
    [
        BODY,
        WHOLE,
        PROMPT + BODY,
        f"```python\n{WHOLE}```",
        f"```\n{WHOLE}```",
        f"Sure!\n```python\n{PROMPT}{BODY}```\nIt doubles.",
        f"```python\n{BODY}```",
        f"```py\n{WHOLE}",
        f"Sure, here it is:\n\n{WHOLE}",
        f"{WHOLE}\nThis doubles the number, as asked!",
        f"{BODY}\nThis doubles: isn't it nice?",
        f"{BODY}\n\nif __name__ == '__main__':\n    print(f(2)",
        f"{BODY}\n\ndef g(x):\n    return f(x",
        f"<think>def f(x): return 3\n```python\ndef f(x): return 3\n```</think>\n```python\n{WHOLE}```",
        f"```python\ndef f(x): return 3\n```\nNo, rather:\n```python\n{WHOLE}```\nTry:\n```python\nprint(f(2))\n```",
        f"```bash\npip install numpy\n```\n```python\n{WHOLE}```",
        f"```python\nfrom __future__ import annotations\n{WHOLE}```",
        "    y = helper(x)\n    return y + y\n",
        "def f(x: List) -> int:\n    return helper(x) * 2\n",
        "```python\nf = lambda x: 2 * x\n```",
    ],
    ids=range(20),
)
def test_the_function_is_found_in_every_form_of_answer(text: str) -> None:
    assert value_of(find_code(text, prompt=PROMPT, entry_point="f")) == 8


@pytest.mark.parametrize("text", [f"```python\n{WHOLE}```", WHOLE, f"Here:\n{WHOLE}Done!"])
def test_without_a_prompt_the_function_is_found_too(text: str) -> None:
    assert value_of(find_code(text, entry_point="f")) == 8


def test_of_several_blocks_the_last_that_defines_the_function_counts() -> None:
    text = "\n".join(f"```python\ndef {name}(x):\n    return {n}\n```" for n, name in ((1, "f"), (2, "f"), (3, "ff")))
    assert value_of(find_code(text, entry_point="f")) == 2


def test_a_program_is_taken_as_it_stands() -> None:
    assert find_code("```python\nprint(1)\n```") == ("print(1)\n",)
    assert find_code("print(1)\nprint(2)\n")[0] == "print(1)\nprint(2)\n"


@pytest.mark.parametrize("text", ["", "  \n", "<think>def f(x): return 8</think>"])
def test_an_answer_without_code_gives_none(text: str) -> None:
    assert find_code(text, prompt=PROMPT, entry_point="f") == ()


def test_what_stands_before_the_function_is_its_preamble() -> None:
    assert preamble(PROMPT, "f") == "from typing import List\n\n\ndef helper(x):\n    return x\n\n\n"
    assert preamble("import math\n", "f") == "import math\n"
    assert preamble(PROMPT, "help") == PROMPT


def test_hostile_text_is_not_parsed_here_and_found_in_linear_time() -> None:
    for text in ("(" * 200_000, "```python\n" * 20_000, "x\n" * 50_000, "def f(\n" * 20_000, "\0" * 1000):
        assert len(find_code(text, prompt=PROMPT, entry_point="f")) < 30
