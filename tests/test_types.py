"""The shared nouns: what follows from their fields."""

import pytest

from strop.types import Completion


@pytest.mark.parametrize(
    ("finish_reason", "is_cut"), [("stop", False), ("length", True), ("deadline", True), ("cancelled", True)]
)
def test_only_a_completion_that_stopped_by_itself_is_whole(finish_reason: str, is_cut: bool) -> None:
    completion = Completion(token_ids=(1,), sampler_logprobs=(0.0,), text="a", finish_reason=finish_reason)  # type: ignore[arg-type]
    assert completion.is_truncated is is_cut
