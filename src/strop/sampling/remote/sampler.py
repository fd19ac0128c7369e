"""A server as a sampler: completions over token ids for rollouts, and chat for judges and teachers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, Any, Literal

import httpx

from strop.errors import RecipeError, RemoteError, UserError
from strop.sampling.params import check_params, check_prompt, check_rows
from strop.sampling.remote import chat, completions
from strop.sampling.remote.chat import ChatAnswer
from strop.sampling.remote.completions import Asked, Dialect
from strop.sampling.remote.streams import StreamedCompletion
from strop.sampling.remote.transport import (
    Fault,
    Patience,
    Question,
    Traffic,
    Transport,
    part,
    read_anything,
    read_json,
)
from strop.types import Completion, Json, Message, SamplingParams

if TYPE_CHECKING:
    from strop.chat import ChatTemplate

_MAX_NAMED = 3
_LARGEST_SEED = 2**63
_NUM_LIKELY = 5


class RemoteSampler:
    """Draws completions from a server that speaks the OpenAI API; implements ``strop.types.Sampler``.

    ``base_url`` is the API's, with its version: ``http://127.0.0.1:8000/v1``. The key is read from the environment
    variable ``api_key_env``. With ``template`` the text of completions is decoded here, as the embedded sampler does,
    the template's stop tokens end them, and ids are checked against its vocabulary; without it the server does that.
    ``dialect`` says which extensions the server knows; ``auto`` asks it. With ``stream`` answers come token by token,
    so that ``timeout_s`` bounds the silence between tokens and ``SamplingParams.deadline_s`` can be kept. ``weights``
    is the version of the weights that must answer, where the server tells it.

    A request is tried again on 408, 425, 429 (after what Retry-After says) and 5xx, broken connections, silence, and
    answers that are cut off or no JSON; ``traffic.retries`` counts these by cause. Nothing else is tried again.
    What the server cannot do is refused by name, never left out.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        template: ChatTemplate | None = None,
        api_key_env: str | None = None,
        dialect: Dialect | Literal["auto"] = "auto",
        stream: bool = False,
        weights: str | None = None,
        max_concurrency: int = 32,
        timeout_s: float = 120.0,
        deadline_s: float = 600.0,
        overall_deadline_s: float = inf,
        max_retries: int = 5,
        backoff_s: float = 0.5,
        max_backoff_s: float = 30.0,
    ) -> None:
        self.base_url = _checked_url(base_url)
        self.model = model
        self.template = template
        self.stream = stream
        self.weights = weights
        self._dialect = dialect
        for name, value, least in (
            ("max_concurrency", max_concurrency, 1),
            ("max_retries", max_retries, 0),
            ("backoff_s", backoff_s, 0),
            ("max_backoff_s", max_backoff_s, 0),
        ):
            if not least <= value < inf:
                raise RecipeError(f"{name} = {value}", where=self.base_url, do=f"use {least} or more")
        for name, value in (
            ("timeout_s", timeout_s),
            ("deadline_s", deadline_s),
            ("overall_deadline_s", overall_deadline_s),
        ):
            if not value > 0:
                raise RecipeError(f"{name} = {value}", where=self.base_url, do="use seconds > 0")
        patience = Patience(
            max_concurrency=max_concurrency,
            timeout_s=timeout_s,
            deadline_s=deadline_s,
            overall_deadline_s=overall_deadline_s,
            max_retries=max_retries,
            backoff_s=backoff_s,
            max_backoff_s=max_backoff_s,
        )
        self._transport = Transport(self.base_url, _api_key(api_key_env), patience)
        self._reporting: Literal["tempered", "untempered", "unclear"] | None = None

    @property
    def traffic(self) -> Traffic:
        """What was asked so far: requests, tokens, retries by cause."""
        return self._transport.traffic

    def close(self) -> None:
        """End the connections."""
        self._transport.close()

    # ------------------------------------------------------------------------------------------------------- sampling

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        params: SamplingParams,
        *,
        seeds: Sequence[int],
        adapters: Sequence[str] | None = None,
    ) -> list[Completion]:
        """One completion a prompt, in order; the server draws row i with ``seeds[i]``.

        ``adapters`` names the adapter of each row; empty is ``model`` itself.
        Raises: RemoteError if any prompt has no completion: it names them with their reasons and carries the others'
        completions; PromptError for an empty prompt, ids out of range, or a prompt that leaves no room;
        RecipeError for rows without a seed or adapter of their own, seeds outside 0 … 2^63 - 1, impossible parameters
        and those that the server cannot keep.
        """
        check_rows(prompts, seeds=seeds, adapters=adapters)
        start = time.perf_counter()
        check_params(params, self._vocab_size)
        longest, size = self.max_length or inf, self._vocab_size or inf
        for i, prompt in enumerate(prompts):
            check_prompt(prompt, params.max_new_tokens, longest, size, index=i, where=f"prompt {i}")
        if not len(prompts):
            return []
        self._check_abilities(params, prompts[0])
        asked = [
            self._asked(prompt, params, seeds[i], self._model_of(adapters[i] if adapters else ""))
            for i, prompt in enumerate(prompts)
        ]
        self._check_weights()
        found = self._complete(asked)
        self._check_weights()
        self.traffic.seconds += time.perf_counter() - start
        self.traffic.num_tokens += sum(len(one.token_ids) for one in found if isinstance(one, Completion))
        return self._all_or_named(found)

    def _complete(self, asked: Sequence[Asked]) -> list[Completion | Fault]:
        decode = self._decode

        def question(one: Asked) -> Question[Completion]:
            body = completions.body(one, stream=self.stream)
            if self.stream:
                stream = StreamedCompletion(one, decode)
                deadline_s = one.params.deadline_s
                return Question("POST", completions.PATH, body, stream.read, deadline_s, stream.so_far)

            async def read(response: httpx.Response) -> Completion:
                return completions.completion_of(await read_json(response), one, decode)

            return Question("POST", completions.PATH, body, read)

        return self._transport.ask_all([question(one) for one in asked])

    def _asked(self, prompt: Sequence[int], params: SamplingParams, seed: int, model: str) -> Asked:
        if not 0 <= seed < _LARGEST_SEED:
            why, do = "servers take seeds from 0 to 2^63 - 1", "use such a seed, for instance of row_seed"
            raise RecipeError(f"the seed {seed} cannot be sent", where=self.base_url, why=why, do=do)
        own = () if self.template is None else self.template.stop_token_ids
        return Asked(
            model=model,
            prompt=tuple(map(int, prompt)),
            params=params,
            seed=int(seed),
            stop_token_ids=tuple(dict.fromkeys([*own, *params.stop_token_ids])),
            dialect=self.dialect,
            vocab_size=self._vocab_size,
            weights=self.weights,
            knows_stops=self.template is not None,
        )

    def _model_of(self, adapter: str) -> str:
        """The name under which the server knows an adapter. Raises: RemoteError."""
        return adapter or self.model

    def _check_weights(self) -> None:
        """Hook for servers that tell which weights they hold. Raises: RemoteError."""

    def _all_or_named(self, found: Sequence[Completion | Fault]) -> list[Completion]:
        failures = {i: one for i, one in enumerate(found) if isinstance(one, Fault)}
        if not failures:
            return [one for one in found if isinstance(one, Completion)]
        named = [f"prompt {i}: {fault.message}" for i, fault in failures.items()]
        more = f"; and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
        first = next(iter(failures.values()))
        raise RemoteError(
            f"{len(failures)} of {len(found)} prompts have no completion",
            where=f"{self.base_url}{completions.PATH}, model {self.model}",
            why="; ".join(named[:_MAX_NAMED]) + more,
            do=first.do or "see that the server runs and answers; the completions of the others are in the error",
            completions=[None if isinstance(one, Fault) else one for one in found],
            failures={i: fault.message for i, fault in failures.items()},
        ) from first

    # ------------------------------------------------------------------------------------------------------------ chat

    def chat(self, messages: Sequence[Message], tools: Sequence[Json] = (), **settings: Any) -> ChatAnswer:
        """The server's answer to one dialogue; ``settings`` as in ``chat_many``. Raises: RemoteError."""
        return self.chat_many([messages], tools, **settings)[0]

    def chat_many(
        self,
        dialogues: Sequence[Sequence[Message]],
        tools: Sequence[Json] = (),
        *,
        max_new_tokens: int = 1024,
        temperature: float = 0.0,
        seed: int = 0,
        response_format: Json | None = None,
    ) -> list[ChatAnswer]:
        """The server's answer to each dialogue, in order, rendered by its own template.

        ``response_format`` is passed on as it is. Raises: RemoteError naming the dialogues without an answer and
        carrying the other answers as its ``completions``.
        """
        start = time.perf_counter()
        common: dict[str, Any] = {
            "model": self.model,
            "max_tokens": max_new_tokens,
            "temperature": temperature,
            "seed": seed,
            "n": 1,
            "stream": False,
        }
        if tools:
            common["tools"] = [dict(tool) for tool in tools]
        if response_format is not None:
            common["response_format"] = dict(response_format)

        async def read(response: httpx.Response) -> ChatAnswer:
            return chat.answer_of(await read_json(response))

        found = self._transport.ask_all(
            [Question("POST", chat.PATH, common | {"messages": chat.wire_messages(d)}, read) for d in dialogues]
        )
        self.traffic.seconds += time.perf_counter() - start
        self.traffic.num_tokens += sum(one.num_tokens or 0 for one in found if isinstance(one, ChatAnswer))
        failures = {i: one.message for i, one in enumerate(found) if isinstance(one, Fault)}
        if failures:
            raise RemoteError(
                f"{len(failures)} of {len(found)} dialogues have no answer",
                where=f"{self.base_url}{chat.PATH}, model {self.model}",
                why="; ".join(f"dialogue {i}: {message}" for i, message in list(failures.items())[:_MAX_NAMED]),
                do="see that the server runs and answers; the other answers are in the error",
                completions=[None if isinstance(one, Fault) else one for one in found],
                failures=failures,
            )
        return [one for one in found if isinstance(one, ChatAnswer)]

    # ------------------------------------------------------------------------------------------- what the server can do

    @cached_property
    def dialect(self) -> Dialect:
        """Which extensions the server knows: vLLM's, if it answers with a version as vLLM does. Raises: RemoteError."""
        if self._dialect != "auto":
            return self._dialect
        try:
            found = self._ask("GET", f"{self._root}/version")
        except RemoteError as error:
            if _status(error) in (401, 403, 404, 405):
                return "openai"
            raise
        return "vllm" if isinstance(found, dict) and "version" in found else "openai"

    @cached_property
    def max_length(self) -> int | None:
        """Tokens of the server's context; None if it does not tell. Raises: RemoteError if it has no such model."""
        try:
            cards = self.models()
        except RemoteError as error:
            if _status(error) in (404, 405):
                return None
            raise
        if self.model not in cards:
            raise RemoteError(
                f"the server has no model {self.model}",
                where=f"{self.base_url}/models",
                why=f"it has {', '.join(sorted(cards)) or 'none'}",
                do="use one of these names",
            )
        length = cards[self.model].get("max_model_len")
        return length if isinstance(length, int) else None

    def models(self) -> Mapping[str, Json]:
        """The server's models and adapters by name. Raises: RemoteError."""
        found = self._ask("GET", "/models")
        cards = found.get("data") if isinstance(found, dict) else None
        if not isinstance(cards, list) or not all(isinstance(card, dict) and "id" in card for card in cards):
            raise RemoteError(
                "the list of models cannot be read",
                where=f"{self.base_url}/models",
                why=f"it is {str(found)[:120]}",
                do="see that base_url is that of an OpenAI-compatible API",
            )
        return {str(card["id"]): card for card in cards}

    @property
    def _root(self) -> str:
        """Where the server's own paths begin, beside the API's version."""
        return self.base_url.removesuffix("/v1")

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        """One answer of any shape. Raises: RemoteError."""
        try:
            return self._transport.ask(Question(method, path, body, read_anything))
        except Fault as fault:
            raise self._failed(f"{method} {path.removeprefix(self._root)} failed", path, fault) from fault

    def _failed(self, what: str, path: str, fault: Fault) -> RemoteError:
        do = fault.do or "see that the server runs, that base_url is right, and what its log says"
        where = f"{self.base_url}{path}" if path.startswith("/") else path
        return RemoteError(what, where=where, why=fault.message, do=do)

    @property
    def _vocab_size(self) -> int | None:
        return None if self.template is None else self.template.vocab_size

    @property
    def _decode(self) -> Callable[[Sequence[int]], str] | None:
        return None if self.template is None else self.template.text_of

    def _check_abilities(self, params: SamplingParams, prompt: Sequence[int]) -> None:
        """Refuse what this server cannot keep. Raises: RecipeError, RemoteError."""
        for name, why in completions.unsupported(params, self.dialect):
            raise self._unable(name, why, "leave it out, or sample with the embedded engine")
        if params.deadline_s is not None and not self.stream:
            do = "make the sampler with stream=True, or use its deadline_s, after which a request has failed"
            raise self._unable("deadline_s", "a request without streaming has nothing until its end", do)
        if completions.neutral(params):
            return
        reporting = self.reporting(prompt)
        if reporting != "tempered":
            why = (
                "the server reports log-probabilities of another distribution than the one it samples from"
                if reporting == "untempered"
                else "whether the server's log-probabilities are of the sampled distribution could not be seen"
            )
            do = "start vLLM with --logprobs-mode processed_logprobs, or sample at temperature 1 without cuts"
            raise self._unable("temperature, cuts, penalties or biases", why, do)
        if params.full_logprobs:
            do = "sample at temperature 1 without cuts, or compute them with the trainer's forward"
            raise self._unable("full_logprobs", "the server reports those of the sampled distribution only", do)

    def _unable(self, name: str, why: str, do: str) -> UserError:
        return RecipeError(f"{self.base_url} cannot sample with {name}", where="sampling parameters", why=why, do=do)

    def reporting(self, prompt: Sequence[int]) -> Literal["tempered", "untempered", "unclear"]:
        """Whether reported log-probabilities are of the distribution that is sampled from, found by trying.

        At temperature 1/2 the log-probabilities of the same two tokens must lie 4 times as far apart as at 2, and
        top_p must leave a single token all the mass. Asked once. Raises: RemoteError.
        """
        if self._reporting is None:
            sharp = _descending(self._likely(prompt, temperature=0.5))
            flat = _descending(self._likely(prompt, temperature=2.0))
            cut = _descending(self._likely(prompt, temperature=2.0, top_p=1e-6))
            ratio = (sharp[0] - sharp[-1]) / max(flat[0] - flat[-1], 1e-9)
            if sharp[0] - sharp[-1] < 1e-2 or flat[0] > -1e-2:
                self._reporting = "unclear"
            else:
                self._reporting = "tempered" if ratio > 2 and cut[0] > -1e-3 else "untempered"
        return self._reporting

    def _likely(self, prompt: Sequence[int], *, model: str = "", **settings: float) -> Mapping[str, float]:
        """The likeliest next tokens, as the server names them, with their log-probabilities. Raises: RemoteError."""
        params = replace(SamplingParams(max_new_tokens=1), **settings)  # type: ignore[arg-type]
        asked = self._asked(prompt, params, 0, model or self.model)
        body = completions.body(asked, stream=False) | {"logprobs": _NUM_LIKELY}

        async def read(response: httpx.Response) -> Mapping[str, float]:
            choice = completions.only_choice(await read_json(response))
            found = (part(part(choice, "logprobs", dict) or {}, "top_logprobs", list) or [None])[0]
            if (
                not isinstance(found, dict)
                or not found
                or not all(type(value) in (int, float) for value in found.values())
            ):
                raise Fault("no logprobs", "the server answers without the likeliest tokens", is_server_wide=True)
            return {str(token): float(value) for token, value in found.items()}

        try:
            return self._transport.ask(Question("POST", completions.PATH, body, read))
        except Fault as fault:
            what = "the likeliest next tokens could not be found out"
            raise self._failed(what, completions.PATH, fault) from fault


def _descending(likely: Mapping[str, float]) -> list[float]:
    return sorted(likely.values(), reverse=True)[:_NUM_LIKELY]


def _status(error: RemoteError) -> int | None:
    return error.__cause__.status if isinstance(error.__cause__, Fault) else None


def _checked_url(base_url: str) -> str:
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError) as error:
        url, why = httpx.URL(""), str(error)
    else:
        why = "it needs http:// or https:// and a host"
    if url.scheme not in ("http", "https") or not url.host:
        raise RecipeError(f"base_url is {base_url!r}", why=why, do="give something like http://127.0.0.1:8000/v1")
    return base_url.rstrip("/")


def _api_key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise RecipeError(
            f"the environment variable {variable} is not set",
            where="api_key_env",
            do="set it to the server's key, or leave api_key_env out for a server without one",
        )
    return key
