"""Asking a server over HTTP: bounded concurrency, deadlines, retries with back-off, and faults with a name."""

from __future__ import annotations

import asyncio
import json
import math
import random
import threading
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar

import httpx

from strop.errors import RecipeError

T = TypeVar("T")
K = TypeVar("K", str, int, list[Any], dict[str, Any])

_MAX_RESPONSE_BYTES = 256 * 2**20
_TRANSIENT_STATUS = frozenset({408, 425, 429})
_SERVER_WIDE_STATUS = frozenset({401, 403, 404, 405, 501})


class Fault(Exception):
    """Why a request has no answer. ``cause`` is a short code, counted in ``Traffic.retries`` where it was retried."""

    def __init__(
        self,
        cause: str,
        message: str,
        *,
        is_transient: bool = False,
        is_server_wide: bool = False,
        retry_after_s: float | None = None,
        status: int | None = None,
        do: str = "",
    ) -> None:
        super().__init__(message)
        self.cause = cause
        self.message = message
        self.is_transient = is_transient
        self.is_server_wide = is_server_wide
        """Whether every other request would fail in the same way."""
        self.retry_after_s = retry_after_s
        self.status = status
        self.do = do


@dataclass(frozen=True)
class Question(Generic[T]):
    """A request and what reads its answer; a transient ``Fault`` in reading makes it be asked again."""

    method: str
    path: str
    """Below the base URL; or a whole URL."""
    body: object
    read: Callable[[httpx.Response], Awaitable[T]]
    deadline_s: float | None = None
    """The question's own, for all its tries together, from the moment when it is first sent."""
    so_far: Callable[[], T] | None = None
    """What there is when the question's own deadline passes during a try; needed with ``deadline_s``."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long and how often a server is asked."""

    max_concurrency: int
    """Requests under way at once, those that wait for their next try included."""
    timeout_s: float
    """The longest silence: while connecting, and between two pieces of an answer."""
    deadline_s: float
    """For one request with all its tries, from the moment when it is first sent."""
    overall_deadline_s: float
    """For one call with all its requests; may be infinite."""
    max_retries: int
    backoff_s: float
    """Before the first retry; doubled before each further one, times a random share between a half and one."""
    max_backoff_s: float

    def __post_init__(self) -> None:
        """Raises: RecipeError."""
        for name, least in (("max_concurrency", 1), ("max_retries", 0), ("backoff_s", 0), ("max_backoff_s", 0)):
            if not least <= getattr(self, name) < math.inf:
                raise _impossible(name, getattr(self, name), f"use {least} or more")
        for name in ("timeout_s", "deadline_s", "overall_deadline_s"):
            if not getattr(self, name) > 0:
                raise _impossible(name, getattr(self, name), "use seconds > 0")


def _impossible(name: str, value: float, do: str) -> RecipeError:
    return RecipeError(f"{name} = {value}", where="the settings of a remote sampler", do=do)


@dataclass
class Traffic:
    """What has passed between client and server so far."""

    num_requests: int = 0
    """Tries included."""
    num_tokens: int = 0
    seconds: float = 0.0
    """Wall time of the calls."""
    retries: Counter[str] = field(default_factory=Counter)
    """Tries that failed and were made again, by cause."""

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens a second of wall time, 0 before the first call."""
        return self.num_tokens / self.seconds if self.seconds else 0.0


class _Loop:
    """An event loop in a thread of its own, so that callers with and without a loop can wait for it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="strop-remote", daemon=True).start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # an interrupted caller leaves no request running
            raise


def _close(loop: asyncio.AbstractEventLoop, client: httpx.AsyncClient) -> None:
    async def close() -> None:
        await client.aclose()
        await loop.shutdown_asyncgens()
        loop.stop()

    if not loop.is_closed() and loop.is_running():
        loop.call_soon_threadsafe(lambda: loop.create_task(close()))


class Transport:
    """One server. Connections are kept between calls; ``close`` or garbage collection ends them."""

    def __init__(self, base_url: str, api_key: str | None, patience: Patience) -> None:
        self.base_url = base_url
        self.patience = patience
        self.traffic = Traffic()
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.AsyncClient(
            headers=headers,
            verify=base_url.startswith("https:"),  # reading the certificates takes 50 ms that plain HTTP does not need
            timeout=httpx.Timeout(patience.timeout_s, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=patience.max_concurrency),
        )
        self._loop = _Loop()
        self._closing = weakref.finalize(self, _close, self._loop.loop, self._client)
        self._random = random.Random()

    def close(self) -> None:
        """End the connections; no further call can be made."""
        self._closing()

    def ask(self, question: Question[T]) -> T:
        """The one answer, retried as ``patience`` says. Raises: Fault."""
        found = self.ask_all([question])[0]
        if isinstance(found, Fault):
            raise found
        return found

    def ask_all(self, questions: Sequence[Question[T]]) -> list[T | Fault]:
        """The answer to each question, or why there is none."""
        assert self._closing.alive, "the client was closed"
        return self._loop.run(self._ask_all(questions))

    async def _ask_all(self, questions: Sequence[Question[T]]) -> list[T | Fault]:
        gate = asyncio.Semaphore(self.patience.max_concurrency)
        server_wide: list[Fault] = []

        async def one(question: Question[T]) -> T | Fault:
            async with gate:
                if server_wide:
                    return Fault("not sent", f"not sent, since another request showed: {server_wide[0].message}")
                try:
                    return await self._until_answered(question)
                except Fault as fault:
                    if fault.is_server_wide:
                        server_wide.append(fault)
                    return fault

        tasks = [asyncio.create_task(one(question)) for question in questions]
        limit = self.patience.overall_deadline_s
        _, late = await asyncio.wait(tasks, timeout=None if math.isinf(limit) else limit) if tasks else (set(), set())
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        over = Fault("overall deadline", f"no answer within the overall deadline of {limit:g} s")
        return [over if task in late else task.result() for task in tasks]

    async def _until_answered(self, question: Question[T]) -> T:
        loop, patience = asyncio.get_running_loop(), self.patience
        given_s = patience.deadline_s if question.deadline_s is None else min(patience.deadline_s, question.deadline_s)
        until = loop.time() + given_s
        last = ""
        for num_failed in range(patience.max_retries + 1):
            try:
                async with asyncio.timeout_at(None if math.isinf(until) else until):
                    return await self._once(question)
            except TimeoutError:
                if question.so_far is not None and given_s == question.deadline_s:
                    return question.so_far()
                raise Fault("deadline", f"no answer within {given_s:g} s{last}") from None
            except Fault as fault:
                if not fault.is_transient:
                    raise
                if num_failed == patience.max_retries:
                    raise _given_up(fault, num_failed + 1) from fault
                wait = self._wait(num_failed, fault.retry_after_s)
                if loop.time() + wait > until:
                    message = f"no answer within {given_s:g} s: {fault.message}; next try in {wait:.1f} s"
                    raise Fault("deadline", message) from fault
                self.traffic.retries[fault.cause] += 1
                last = f"; before that: {fault.message}"
                await asyncio.sleep(wait)
        raise AssertionError("the last try returns or raises")

    def _wait(self, num_failed: int, retry_after_s: float | None) -> float:
        if retry_after_s is not None:
            return retry_after_s
        longest = min(self.patience.backoff_s * 2.0**num_failed, self.patience.max_backoff_s)
        return longest * self._random.uniform(0.5, 1.0)

    async def _once(self, question: Question[T]) -> T:
        self.traffic.num_requests += 1
        url = f"{self.base_url}{question.path}" if question.path.startswith("/") else question.path
        try:
            async with self._client.stream(question.method, url, json=question.body) as response:
                if response.status_code != 200:
                    raise _refusal(response, await read_bytes(response))
                return await question.read(response)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Fault("unreachable", f"cannot connect: {error}", is_transient=True) from error
        except httpx.TimeoutException as error:
            message = f"nothing came for {self.patience.timeout_s:g} s"
            raise Fault("stalled", message, is_transient=True) from error
        except httpx.TransportError as error:
            raise Fault("dropped", f"the connection broke: {error}", is_transient=True) from error
        except httpx.HTTPError as error:
            raise Fault("protocol", f"{type(error).__name__}: {error}") from error


def _given_up(fault: Fault, num_tries: int) -> Fault:
    message = f"{fault.message} (tried {num_tries} times)"
    is_server_wide = fault.is_server_wide or fault.cause == "unreachable"
    return Fault(fault.cause, message, is_server_wide=is_server_wide, status=fault.status, do=fault.do)


async def read_bytes(response: httpx.Response) -> bytes:
    """The whole body. Raises: Fault for one beyond every sensible size."""
    pieces, size = [], 0
    async for piece in response.aiter_bytes():
        pieces.append(piece)
        size += len(piece)
        if size > _MAX_RESPONSE_BYTES:
            raise Fault("too large", f"the answer is larger than {_MAX_RESPONSE_BYTES // 2**20} MiB")
    return b"".join(pieces)


async def read_json(response: httpx.Response) -> Any:
    """The body as JSON. Raises: Fault for anything else: a cut answer or no JSON at all."""
    return parse_json(await read_bytes(response))


async def read_anything(response: httpx.Response) -> Any:
    """The body as JSON if it is that, else as text."""
    content = await read_bytes(response)
    try:
        return json.loads(content)
    except ValueError:
        return content.decode(errors="replace")


def parse_json(content: bytes | str) -> Any:
    """What the text means. Raises: Fault."""
    try:
        return json.loads(content)
    except ValueError as error:
        text = content.decode(errors="replace") if isinstance(content, bytes) else content
        shown = text[:80] + (" ..." if len(text) > 80 else "")
        raise Fault("garbled", f"the answer is no JSON ({error}): {shown!r}", is_transient=True) from error


def part(whole: Mapping[str, Any], name: str, kind: type[K]) -> K | None:
    """What stands under ``name``, None if nothing does. Raises: Fault if it is of another kind."""
    found = whole.get(name)
    if found is None or isinstance(found, kind):
        return found
    raise Fault("garbled", f"{name} of the answer is {str(found)[:80]!r}, no {kind.__name__}", is_transient=True)


def _refusal(response: httpx.Response, content: bytes) -> Fault:
    status = response.status_code
    return Fault(
        f"status {status}",
        f"answered {status}: {_server_message(content)}",
        is_transient=status in _TRANSIENT_STATUS or (status >= 500 and status != 501),
        is_server_wide=status in _SERVER_WIDE_STATUS,
        retry_after_s=retry_after(response.headers.get("retry-after")),
        status=status,
    )


def retry_after(header: str | None) -> float | None:
    """Seconds to wait by a Retry-After header, a number or a date; None if there is none that can be read."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            date = parsedate_to_datetime(header)
        except ValueError:
            return None
        seconds = (date - datetime.now(UTC if date.tzinfo else None)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _server_message(content: bytes) -> str:
    """What the server says is wrong, in the shapes that servers say it."""
    try:
        found = json.loads(content)
    except ValueError:
        return content.decode(errors="replace").strip()[:300] or "without a word"
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    return (found if isinstance(found, str) else json.dumps(found))[:300]
