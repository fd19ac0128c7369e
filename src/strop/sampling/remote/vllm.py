"""vLLM as a sampler: its weights replaced while it runs, adapters loaded by digest, and logprobs of given tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import httpx

from strop.errors import MismatchError, ModelError, RecipeError, RemoteError
from strop.sampling.remote import completions
from strop.sampling.remote.completions import only_choice
from strop.sampling.remote.sampler import RemoteSampler
from strop.sampling.remote.transport import Fault, Question, part, read_json
from strop.types import SamplingParams

_NAME = "strop-"
_DIGITS = 16
_PROBE = ((3, 5, 8, 13, 21, 34, 55, 89), (12, 9, 4, 7), (11,), (17, 16, 15, 14, 13, 12))
"""Prompts of small ids, which every vocabulary has."""
_NOISE_FACTOR, _LEAST_EFFECT = 10.0, 1e-5


class VllmSampler(RemoteSampler):
    """A ``RemoteSampler`` for a vLLM server (0.32), whose weights and adapters follow the training.

    The server must be started with
    ``--logprobs-mode processed_logprobs`` to sample at temperatures other than 1,
    ``VLLM_ALLOW_RUNTIME_LORA_UPDATING=1`` and ``--enable-lora`` for ``load_adapter``, and
    ``VLLM_SERVER_DEV_MODE=1``, bound to loopback, for ``reload_weights``.
    """

    def __init__(self, base_url: str, model: str, **settings: Any) -> None:
        if settings.setdefault("dialect", "vllm") != "vllm":
            raise RecipeError(f"dialect is {settings['dialect']!r}", where=base_url, do="use RemoteSampler for it")
        super().__init__(base_url, model, **settings)
        self._adapters: dict[str, str] = {}

    # ------------------------------------------------------------------------------------------------------- adapters

    def load_adapter(self, folder: Path | str) -> str:
        """The digest by which rows name the adapter of a PEFT folder, which the server must be able to read.

        It is the digest that the embedded sampler gives the same adapter. After loading, the log-probabilities of a
        few tokens with and without the adapter are compared: an adapter that should change them and does not is an
        error, and so is one that is all zero and does. Raises: RemoteError, ModelError.
        """
        from strop.sampling.adapters import read_adapter

        folder = Path(folder).absolute()
        adapter = read_adapter(folder)
        name = _NAME + adapter.digest[:_DIGITS]
        is_there = name in self.models()
        body = {"lora_name": name, "lora_path": str(folder), "load_inplace": is_there}
        self._server.ask("POST", "/load_lora_adapter", body)
        does_nothing = not any(bool(a.any()) and bool(b.any()) for a, b in adapter.weights.values())
        try:
            self._check_effect(name, does_nothing)
        except RemoteError:
            self._server.ask("POST", "/unload_lora_adapter", {"lora_name": name})
            raise
        self._adapters[adapter.digest] = name
        return adapter.digest

    def unload_adapter(self, digest: str) -> None:
        """Make the server forget it. Raises: RemoteError."""
        self._server.ask("POST", "/unload_lora_adapter", {"lora_name": self._model_of(digest)})
        del self._adapters[digest]

    def _model_of(self, adapter: str) -> str:
        if not adapter:
            return self.model
        if adapter not in self._adapters:
            raise RemoteError(
                f"the adapter {adapter[:12]} is not loaded",
                where=self.base_url,
                why=f"loaded are {', '.join(digest[:12] for digest in self._adapters) or 'none'}",
                do="load it with load_adapter and use the digest that it returns",
            )
        return self._adapters[adapter]

    def _check_effect(self, name: str, does_nothing: bool) -> None:
        plain, again, adapted = self._probe(self.model), self._probe(self.model), self._probe(name)
        noise, effect = _farthest(plain, again), _farthest(plain, adapted)
        is_felt = effect > max(_NOISE_FACTOR * noise, _LEAST_EFFECT)
        if is_felt == does_nothing:
            raise RemoteError(
                f"the adapter {name} was loaded " + ("and changes what it should not" if is_felt else "without effect"),
                where=f"{self.base_url}/load_lora_adapter",
                why=f"log-probabilities with and without it differ by {effect:.1e}, those without it by {noise:.1e}",
                do="see the server's log: its rank limit, the layers that it adapts, and the folder that it read",
            )

    # -------------------------------------------------------------------------------------------------------- weights

    def reload_weights(self, folder: Path | str, digest: str) -> None:
        """Make the server take the weights of a model folder, which it must be able to read, known as ``digest``.

        Requests under way are waited for, none is let in meanwhile. From then on every call of ``sample`` checks that
        the server still says it holds ``digest``. If that differs from before, log-probabilities must have changed.
        The folder must be here, where the server is too: one that cannot be loaded ends vLLM's engine.
        Raises: ModelError, RemoteError, MismatchError.
        """
        if not (Path(folder) / "config.json").is_file() or not list(Path(folder).glob("*.safetensors")):
            raise ModelError(
                f"there are no weights in {folder}",
                where=str(folder),
                why="the folder needs config.json and *.safetensors",
                do="save the policy there first; an adapter is loaded by load_adapter",
            )
        before, was = self._probe(self.model), self.weights
        with self._paused():
            self._server.ask(
                "POST",
                f"{self._server.root}/collective_rpc",
                {"method": "reload_weights", "kwargs": {"weights_path": str(Path(folder).absolute())}},
            )
            self._server.ask("POST", f"{self._server.root}/reset_prefix_cache")
            self._server.ask("POST", f"{self._server.root}/update_weight_version", {"new_version": digest})
        self.weights = digest
        self._reporting = None
        self._check_weights()
        effect = _farthest(before, self._probe(self.model))
        if was is not None and was != digest and effect == 0.0:
            raise RemoteError(
                "the weights were reloaded without effect",
                where=f"{self._server.root}/collective_rpc",
                why=f"the digest went from {was[:12]} to {digest[:12]}, and every log-probability stayed the same",
                do=f"see that the server can read {folder} and what its log says",
            )

    @contextmanager
    def _paused(self) -> Iterator[None]:
        self._server.ask("POST", f"{self._server.root}/pause?mode=wait")
        try:
            yield
        except RemoteError:
            with suppress(RemoteError):  # what went wrong first is what the user must know
                self._server.ask("POST", f"{self._server.root}/resume")
            raise
        self._server.ask("POST", f"{self._server.root}/resume")

    def _check_weights(self) -> None:
        if self.weights is None:
            return
        found = self._server.ask("GET", f"{self._server.root}/weight_info")
        version = found.get("weight_version") if isinstance(found, dict) else None
        if version != self.weights:
            raise MismatchError(
                "the server holds other weights than were loaded into it",
                where=f"{self._server.root}/weight_info",
                why=f"it says {version!r}, {self.weights!r} were loaded: it was started anew, or another run loads too",
                do="call reload_weights again, and give every run a server of its own",
            )

    # -------------------------------------------------------------------------------------------------------- scoring

    def score(self, sequences: Sequence[Sequence[int]]) -> list[tuple[float, ...]]:
        """The log-probability at temperature 1 of every token but the first, given those before it: a teacher's.

        A server with loaded adapters is refused: in vLLM 0.32 prompt log-probabilities then end its CPU engine.
        Raises: RemoteError naming the sequences that failed.
        """
        if any(card.get("parent") for card in self.models().values()):
            raise RecipeError(
                "a server with adapters cannot score",
                where=self.base_url,
                why="in vLLM 0.32 log-probabilities of the prompt end the CPU engine while adapters are loaded",
                do="unload them, or score with another server",
            )
        found = self._server.transport.ask_all([self._scoring(tuple(sequence)) for sequence in sequences])
        return self._server.all_or_named(
            found, completions.PATH, self.model, row="sequence", lack="could not be scored"
        )

    def _scoring(self, sequence: tuple[int, ...]) -> Question[tuple[float, ...]]:
        asked = replace(self._asked(sequence, SamplingParams(max_new_tokens=1), 0, self.model), knows_stops=False)

        async def read(response: httpx.Response) -> tuple[float, ...]:
            answer = await read_json(response)
            completions.completion_of(answer, asked, None)
            return _prompt_logprobs(only_choice(answer).get("prompt_logprobs"), sequence)

        body = completions.body(asked, stream=False) | {"prompt_logprobs": 0}
        return Question("POST", completions.PATH, body, read)

    def _probe(self, model: str) -> list[Mapping[str, float]]:
        """The likeliest next tokens and their log-probabilities after each prompt of ``_PROBE``."""
        return [self._likely(prompt, SamplingParams(max_new_tokens=1), model=model) for prompt in _PROBE]


def _prompt_logprobs(found: Any, sequence: Sequence[int]) -> tuple[float, ...]:
    if not isinstance(found, list) or len(found) != len(sequence):
        raise Fault("no logprobs", "the server answers without log-probabilities of the prompt", is_server_wide=True)
    values = []
    for token, entry in list(zip(sequence, found, strict=True))[1:]:
        told = part(entry, str(token), dict) if isinstance(entry, dict) else None
        value = (told or {}).get("logprob")
        if not isinstance(value, int | float) or not value <= 1e-3:
            raise Fault("wrong answer", f"the log-probability of the prompt's token {token} is {value!r}")
        values.append(float(value))
    return tuple(values)


def _farthest(one: Sequence[Mapping[str, float]], other: Sequence[Mapping[str, float]]) -> float:
    """The largest difference of the log-probabilities of a token that is among the likeliest in both."""
    found = 0.0
    for xs, ys in zip(one, other, strict=True):
        both = xs.keys() & ys.keys()
        found = max([found, *(abs(xs[token] - ys[token]) for token in both)]) if both else inf
    return found
