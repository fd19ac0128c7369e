"""A server as a sampler: completions over token ids for rollouts, and chat for judges and teachers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, Any, Literal

import httpx

from strop.errors import RecipeError, UserError
from strop.sampling.params import check_params, check_prompt, check_rows
from strop.sampling.remote import chat, completions
from strop.sampling.remote.chat import ChatAnswer
from strop.sampling.remote.completions import Asked, Dialect
from strop.sampling.remote.reporting import NUM_LIKELY, Reporting, read_likely, reporting_of
from strop.sampling.remote.server import Server
from strop.sampling.remote.streams import StreamedCompletion
from strop.sampling.remote.transport import Fault, Patience, Question, Traffic, read_json
from strop.types import Completion, Json, Message, SamplingParams

if TYPE_CHECKING:
    from strop.chat import ChatTemplate

_LARGEST_SEED = 2**63


class RemoteSampler:
    """Draws completions from a server that speaks the OpenAI API; implements ``strop.types.Sampler``.

    ``base_url`` is the API's, with its version: ``http://127.0.0.1:8000/v1``. The key is read from the environment
    variable ``api_key_env``. With ``template`` the text of completions is decoded here, as the embedded sampler does,
    the template's stop tokens end them, and ids are checked against its vocabulary; without it the server does that.
    ``dialect`` says which extensions the server knows; ``auto`` asks it. With ``stream`` answers come token by token,
    so that ``timeout_s`` bounds the silence between tokens and ``SamplingParams.deadline_s`` can be kept, which then
    is for all tries of a request together: a completion ends with what its last try has brought. ``weights`` is the
    version of the weights that must answer, where the server tells it.

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
        patience = Patience(
            max_concurrency=max_concurrency,
            timeout_s=timeout_s,
            deadline_s=deadline_s,
            overall_deadline_s=overall_deadline_s,
            max_retries=max_retries,
            backoff_s=backoff_s,
            max_backoff_s=max_backoff_s,
        )
        self._server = Server(base_url, api_key_env=api_key_env, dialect=dialect, patience=patience)
        self.base_url = self._server.base_url
        self.model = model
        self.template = template
        self.stream = stream
        self.weights = weights
        self._reporting: Reporting | None = None

    @property
    def traffic(self) -> Traffic:
        """What was asked so far: requests, tokens, retries by cause."""
        return self._server.transport.traffic

    def close(self) -> None:
        """End the connections."""
        self._server.transport.close()

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
        return self._server.all_or_named(found, completions.PATH, self.model, row="prompt", lack="have no completion")

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

        return self._server.transport.ask_all([question(one) for one in asked])

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
        body = chat.body(self.model, tools, max_new_tokens, temperature, seed, response_format)
        found = self._server.transport.ask_all(
            [Question("POST", chat.PATH, body | {"messages": chat.wire_messages(d)}, chat.read) for d in dialogues]
        )
        self.traffic.seconds += time.perf_counter() - start
        self.traffic.num_tokens += sum(one.num_tokens or 0 for one in found if isinstance(one, ChatAnswer))
        return self._server.all_or_named(found, chat.PATH, self.model, row="dialogue", lack="have no answer")

    # ------------------------------------------------------------------------------------------- what the server can do

    @property
    def dialect(self) -> Dialect:
        """Which extensions the server knows: vLLM's, if it answers with a version as vLLM does. Raises: RemoteError."""
        return self._server.dialect

    @cached_property
    def max_length(self) -> int | None:
        """Tokens of the server's context; None if it does not tell. Raises: RemoteError if it has no such model."""
        return self._server.max_length(self.model)

    def models(self) -> Mapping[str, Json]:
        """The server's models and adapters by name. Raises: RemoteError."""
        return self._server.models()

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

    def reporting(self, prompt: Sequence[int]) -> Reporting:
        """Whether reported log-probabilities are of the distribution that is sampled from, found by trying.

        At temperature 1/2 the log-probabilities of the same two tokens must lie 4 times as far apart as at 2, and
        top_p must leave a single token all the mass. Asked once. Raises: RemoteError.
        """
        if self._reporting is None:
            self._reporting = reporting_of(lambda params: self._likely(prompt, params))
        return self._reporting

    def _likely(self, prompt: Sequence[int], params: SamplingParams, *, model: str = "") -> Mapping[str, float]:
        """The likeliest next tokens, as the server names them, with their log-probabilities. Raises: RemoteError."""
        body = completions.body(self._asked(prompt, params, 0, model or self.model), stream=False)
        question = Question("POST", completions.PATH, body | {"logprobs": NUM_LIKELY}, read_likely)
        return self._server.ask_for(question, "the likeliest next tokens could not be found out")
