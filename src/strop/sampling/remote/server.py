"""A server of the OpenAI API: where it is, what it says of itself, and how its failures are told."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, TypeVar

import httpx

from strop.errors import RecipeError, RemoteError
from strop.sampling.remote.completions import Dialect
from strop.sampling.remote.transport import Fault, Patience, Question, Transport, read_anything
from strop.types import Json

T = TypeVar("T")
_MAX_NAMED = 3


class Server:
    """One server. ``dialect`` says which extensions it knows; ``auto`` asks it. Raises: RecipeError."""

    def __init__(
        self, base_url: str, *, api_key_env: str | None, dialect: Dialect | Literal["auto"], patience: Patience
    ) -> None:
        self.base_url = _checked_url(base_url)
        self.root = self.base_url.removesuffix("/v1")
        """Where the server's own paths begin, beside the API's version."""
        self.transport = Transport(self.base_url, _api_key(api_key_env), patience)
        self._dialect = dialect

    # ------------------------------------------------------------------------------------------- what it says of itself

    @cached_property
    def dialect(self) -> Dialect:
        """Which extensions the server knows: vLLM's, if it answers with a version as vLLM does. Raises: RemoteError."""
        if self._dialect != "auto":
            return self._dialect
        try:
            found = self.ask("GET", f"{self.root}/version")
        except RemoteError as error:
            if _status(error) in (401, 403, 404, 405):
                return "openai"
            raise
        return "vllm" if isinstance(found, dict) and "version" in found else "openai"

    def models(self) -> Mapping[str, Json]:
        """The server's models and adapters by name. Raises: RemoteError."""
        found = self.ask("GET", "/models")
        cards = found.get("data") if isinstance(found, dict) else None
        if not isinstance(cards, list) or not all(isinstance(card, dict) and "id" in card for card in cards):
            raise RemoteError(
                "the list of models cannot be read",
                where=f"{self.base_url}/models",
                why=f"it is {str(found)[:120]}",
                do="see that base_url is that of an OpenAI-compatible API",
            )
        return {str(card["id"]): card for card in cards}

    def max_length(self, model: str) -> int | None:
        """Tokens of the model's context; None if the server does not tell. Raises: RemoteError without such a model."""
        try:
            cards = self.models()
        except RemoteError as error:
            if _status(error) in (404, 405):
                return None
            raise
        if model not in cards:
            raise RemoteError(
                f"the server has no model {model}",
                where=f"{self.base_url}/models",
                why=f"it has {', '.join(sorted(cards)) or 'none'}",
                do="use one of these names",
            )
        length = cards[model].get("max_model_len")
        return length if isinstance(length, int) else None

    # ----------------------------------------------------------------------------------------------- asking and failing

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """One answer of any shape. Raises: RemoteError."""
        return self.ask_for(
            Question(method, path, body, read_anything), f"{method} {path.removeprefix(self.root)} failed"
        )

    def ask_for(self, question: Question[T], what: str) -> T:
        """The answer to the question. Raises: RemoteError that says ``what`` there is not."""
        try:
            return self.transport.ask(question)
        except Fault as fault:
            raise RemoteError(
                what,
                where=self._where(question.path),
                why=fault.message,
                do=fault.do or "see that the server runs, that base_url is right, and what its log says",
            ) from fault

    def all_or_named(self, found: Sequence[T | Fault], path: str, model: str, *, row: str, lack: str) -> list[T]:
        """The answers, if there is one to every request.

        Raises: RemoteError such as "2 of 3 prompts have no completion", with ``row`` "prompt" and ``lack`` "have no
        completion". It names them with their reasons and carries the others' answers as its ``completions``.
        """
        failures = {i: one for i, one in enumerate(found) if isinstance(one, Fault)}
        if not failures:
            return [one for one in found if not isinstance(one, Fault)]
        named = [f"{row} {i}: {fault.message}" for i, fault in failures.items()]
        more = f"; and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
        first = next(iter(failures.values()))
        raise RemoteError(
            f"{len(failures)} of {len(found)} {row}s {lack}",
            where=f"{self._where(path)}, model {model}",
            why="; ".join(named[:_MAX_NAMED]) + more,
            do=first.do or "see that the server runs and answers; what the others brought is in the error",
            completions=[None if isinstance(one, Fault) else one for one in found],
            failures={i: fault.message for i, fault in failures.items()},
        ) from first

    def _where(self, path: str) -> str:
        return f"{self.base_url}{path}" if path.startswith("/") else path


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
