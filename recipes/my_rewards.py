"""A reward: strop calls it with the prompt, the answer's text, and the columns of the row that it names."""


def score(completion: str, answer: str) -> float:
    """1 for the right number, half a point for any number at all."""
    words = completion.replace(".", " ").split()
    numbers = [word for word in words if word.isdigit()]
    if not numbers:
        return 0.0
    return 1.0 if numbers[-1] == answer else 0.4
