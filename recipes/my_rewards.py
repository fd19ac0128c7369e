"""A reward: strop calls it with the prompt, the answer's text, and the columns of the row that it names."""


def score(completion: str, answer: str) -> float:
    """1 if the last word is the right number, a little for any other number, 0 without one."""
    last = completion.split()[-1] if completion.split() else ""
    if last == answer:
        return 1.0
    return 0.1 if last.isdigit() else 0.0
