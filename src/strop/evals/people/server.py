"""The local server of a session: one page and three requests, for this machine only.

It listens on 127.0.0.1. Every request must name that host (so that no web site can reach it by rebinding a name), come
from the page itself where the browser says from where, and know the secret that stands in the page's address.
"""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.resources import files
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from strop.errors import OutputError, UserError
from strop.evals.people.rubric import Rubric
from strop.evals.people.seats import Place
from strop.evals.people.session import MAX_WORDS, Session
from strop.evals.people.store import Judgement

HOST = "127.0.0.1"
_MAX_BYTES = 100_000
"""Of one request."""


class Answer(BaseModel):
    """What the page sends to be saved."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    annotator: str
    place: int = Field(ge=0)
    key: str
    choice: str
    aspects: dict[str, str] = Field(default_factory=dict)
    reason: str = Field(default="", max_length=MAX_WORDS)
    comment: str = Field(default="", max_length=MAX_WORDS)
    elapsed_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)


def create_app(session: Session, port: int) -> FastAPI:
    """The application that serves ``session`` at ``port``."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    hosts = {f"{HOST}:{port}", f"localhost:{port}"}

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        refusal = _refusal(request, hosts, session.token)
        response = refusal or await call_next(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.exception_handler(UserError)
    def told(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, status_code=422)

    @app.exception_handler(RequestValidationError)
    def refused(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": "the request is not one that this page makes: reload it"}, status_code=422)

    @app.get("/{token}/")
    def page(token: str) -> Response:
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        html = files("strop.evals.people").joinpath("page.html").read_text(encoding="utf-8")
        return HTMLResponse(html.replace("{{nonce}}", nonce), headers={"Content-Security-Policy": policy})

    @app.get("/{token}/rubric")
    def rubric(token: str) -> Response:
        return JSONResponse(shown_rubric(session.rubric))

    @app.get("/{token}/pair")
    def pair(token: str, annotator: str, place: int | None = None) -> Response:
        return JSONResponse(_state(session, annotator, place))

    @app.post("/{token}/judgement")
    def judgement(token: str, answer: Answer) -> Response:
        places = session.places(answer.annotator)
        if answer.place >= len(places) or places[answer.place].key != answer.key:
            return JSONResponse({"error": "this pair is not the one at that place: reload the page"}, status_code=409)
        session.judge(
            answer.annotator,
            places[answer.place],
            answer.choice,
            answer.aspects,
            reason=answer.reason,
            comment=answer.comment,
            elapsed_s=answer.elapsed_s,
        )
        return JSONResponse({"saved": answer.place})

    return app


_HEADERS = {
    "Content-Security-Policy": "default-src 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def _refusal(request: Request, hosts: set[str], token: str) -> Response | None:
    """Why the request is not answered; None if it may be."""
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if host not in hosts or origin not in (None, f"http://{host}"):
        return JSONResponse({"error": "this page is for this machine only"}, status_code=403)
    given = request.url.path.split("/")[1]
    if not secrets.compare_digest(given.encode(), token.encode()):
        return JSONResponse({"error": "open the address that `strop label` printed"}, status_code=404)
    if request.method == "POST":
        if not secrets.compare_digest(request.headers.get("x-strop-token", "").encode(), token.encode()):
            return JSONResponse({"error": "the request does not come from the page"}, status_code=403)
        size = request.headers.get("content-length", "")
        if not (size.isascii() and size.isdigit() and 0 < int(size) <= _MAX_BYTES):
            return JSONResponse({"error": "the request is too large, or of unknown size"}, status_code=413)
    return None


# ------------------------------------------------------------------------------------------------------ what it is told


def shown_rubric(rubric: Rubric) -> dict[str, Any]:
    """What the page knows of the rubric."""
    aspects = [
        {"name": aspect.name, "label": aspect.label, "question": aspect.question, "required": aspect.required}
        for aspect in rubric.aspects
    ]
    return {"instructions": rubric.instructions, "overall": rubric.overall, "aspects": aspects}


def _state(session: Session, annotator: str, place: int | None) -> dict[str, Any]:
    """The place that was asked for, else the first that is not judged; without ``pair`` when all are."""
    places = session.places(annotator)
    last = session.last(annotator)
    answered = [(annotator, one.pair.number) in last for one in places]
    state: dict[str, Any] = {"num_places": len(places), "num_done": sum(answered)}
    if place is None:
        place = answered.index(False) if False in answered else len(places)
    if not 0 <= place < len(places):
        return state
    found = places[place]
    return {**state, "pair": shown_pair(found, last.get((annotator, found.pair.number)))}


def shown_pair(place: Place, judgement: Judgement | None) -> dict[str, Any]:
    """What the page receives of a pair: no model, no item, no role, nothing that tells the seats."""
    texts = (place.pair.candidate, place.pair.baseline)
    left, right = texts if place.candidate_is_left else texts[::-1]
    answer = None
    if judgement is not None:
        answer = {
            "choice": judgement.choice,
            "aspects": dict(judgement.aspects),
            "reason": judgement.reason,
            "comment": judgement.comment,
        }
    return {
        "place": place.number,
        "key": place.key,
        "turns": [_shown_turn(turn) for turn in place.pair.prompt],
        "left": left,
        "right": right,
        "answer": answer,
    }


def _shown_turn(turn: dict[str, Any]) -> dict[str, Any]:
    calls = [
        f"{call['name']}({json.dumps(call['arguments'], ensure_ascii=False, indent=2)})" for call in turn["tool_calls"]
    ]
    return {
        "role": turn["role"],
        "name": turn["name"],
        "reasoning": turn["reasoning"],
        "text": turn["content"],
        "calls": calls,
    }


# -------------------------------------------------------------------------------------------------------------- serving


def listen(port: int, before: int | None = None) -> socket.socket:
    """A socket on this machine at ``port``; at 0, at the port of ``before`` if it is free, else any.

    Raises: OutputError if the port is taken.
    """
    if port == 0 and before is not None:
        with suppress(OutputError):
            return listen(before)
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
        bound.listen(128)  # who comes before the server has started waits, and is not refused
    except (OSError, OverflowError) as error:
        bound.close()
        why = (getattr(error, "strerror", None) or str(error)).lower()
        raise OutputError(f"cannot serve at port {port}", why=why, do="give another --port, or 0 for any") from error
    return bound


def serve(session: Session, bound: socket.socket) -> None:
    """Answer until interrupted (Ctrl-C or a TERM signal), then let running requests end."""
    app = create_app(session, bound.getsockname()[1])
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=3
    )
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[bound])
