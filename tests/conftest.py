"""Fixtures that several test files share."""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest


@pytest.fixture(scope="session")
def chat_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised two-layer Llama with a chat template, as a Hugging Face folder."""
    from tiny_models import make_model_folder

    return make_model_folder(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real public data; the test is skipped where it is absent."""
    folder = Path(__file__).parent.parent.parent / "shared" / "data"
    if not folder.exists():
        pytest.skip("the real data folder (../shared/data) is not there")
    return folder
