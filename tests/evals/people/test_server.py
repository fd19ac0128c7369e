"""The local server: blind, for this machine and this page only."""

import json
from pathlib import Path
from typing import Any

import pytest

from labelling import ASPECTS, two
from strop.errors import OutputError
from strop.evals.people import Plan, Session

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")

import httpx

from strop.evals.people.server import create_app, listen, shown_pair

PORT = 8123
NONE = dict.fromkeys(ASPECTS, "none")


class Client:
    """Requests to the application in this process, as a browser would make them."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.app = create_app(session, PORT)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        import asyncio

        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{PORT}") as client:
                content = None if body is None else json.dumps(body)  # as a hostile page may: with half a character
                told = {"Content-Type": "application/json", **headers}
                return await client.request(method, path, content=content, headers=told)

        return asyncio.run(go())

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.ask("GET", f"/{self.session.token}/{path}", **headers)

    def judge(self, body: Any, **headers: str) -> httpx.Response:
        return self.ask("POST", f"/{self.session.token}/judgement", body, **headers)

    def answer(self, annotator: str = "ann", place: int = 0) -> dict[str, Any]:
        key = self.session.places(annotator)[place].key
        return {"annotator": annotator, "place": place, "key": key, "choice": "left", "aspects": NONE}


@pytest.fixture
def client(tmp_path: Path) -> Client:
    names = ("runs/secret-candidate-name", "runs/secret-baseline-name")
    return Client(Session.create(tmp_path, *two(40), plan=Plan(num_pairs=40), names=names))


def test_nothing_that_the_page_receives_tells_the_models_the_item_or_the_role(client: Client) -> None:
    session = client.session
    received = [client.get("").text, client.get("rubric").text]
    places = session.places("ann")
    received += [client.get(f"pair?annotator=ann&place={place}").text for place in range(len(places))]
    whole = "\n".join(received[1:])
    for word in ("secret", session.candidate.result, session.baseline.result, "i00", "repeat", "digest"):
        assert word not in whole
    keys = {"place", "key", "turns", "left", "right", "answer"}
    assert all(json.loads(text)["pair"].keys() == keys for text in received[2:])
    for place in places:
        texts = (place.pair.candidate, place.pair.baseline)
        shown = shown_pair(place, None)
        assert (shown["left"], shown["right"]) == (texts if place.candidate_is_left else texts[::-1])


def test_only_this_machine_this_page_and_who_knows_the_secret_are_answered(client: Client) -> None:
    own = {"X-Strop-Token": client.session.token}
    good = client.answer()
    refused = {
        "another name for this machine (rebinding)": client.get("rubric", host="evil.example:8123"),
        "another port": client.get("rubric", host="127.0.0.1:9999"),
        "no secret": client.ask("GET", "/"),
        "a guessed secret": client.ask("GET", "/guess/rubric"),
        "another site's request": client.judge(good, origin="http://evil.example", **own),
        "no header of the page": client.judge(good),
        "a wrong header": client.judge(good, **{"X-Strop-Token": "guess"}),
        "too large": client.judge({**good, "comment": "x" * 200_000}, **own),
        "too long a comment": client.judge({**good, "comment": "x" * 5_000}, **own),
        "another's key": client.judge({**good, "key": client.answer("bea")["key"]}, **own),
        "no such place": client.judge({**good, "place": 999}, **own),
        "an unknown field": client.judge({**good, "candidate_is_left": True}, **own),
        "an unknown choice": client.judge({**good, "choice": "both"}, **own),
        "an unanswered aspect": client.judge({**good, "aspects": {}}, **own),
        "a text that is none": client.judge({**good, "comment": "\ud800"}, **own),
        "a number beyond numbers": client.ask("GET", f"/{client.session.token}/pair?annotator=ann&place=x"),
        "no annotator": client.judge({**good, "annotator": ""}, **own),
    }
    assert {why: answer.status_code for why, answer in refused.items() if not 400 <= answer.status_code < 500} == {}
    assert all("x" * 99 not in answer.text for answer in refused.values()), "nothing is echoed"
    assert client.session.history() == []
    assert client.judge(good, origin=f"http://127.0.0.1:{PORT}", **own).json() == {"saved": 0}
    assert len(client.session.history()) == 1


def test_the_page_loads_nothing_from_elsewhere_and_may_run_only_its_own_script(client: Client) -> None:
    page = client.get("")
    policy = page.headers["content-security-policy"]
    nonce = policy.partition("script-src 'nonce-")[2].partition("'")[0]
    assert policy.startswith("default-src 'none'; script-src 'nonce-")
    assert f'<script nonce="{nonce}">' in page.text
    assert "unsafe" not in policy
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "innerHTML" not in page.text
    assert nonce != client.get("").headers["content-security-policy"].partition("nonce-")[2].partition("'")[0]
    headers = {"cache-control": "no-store", "referrer-policy": "no-referrer", "x-content-type-options": "nosniff"}
    assert headers.items() <= dict(page.headers).items()
    assert client.get("nothing").status_code == 404
    assert client.get("docs").status_code == client.get("openapi.json").status_code == 404


def test_the_first_unjudged_place_is_shown_and_an_earlier_one_on_request_with_its_answer(client: Client) -> None:
    own = {"X-Strop-Token": client.session.token}
    client.judge(client.answer(), **own)
    state = client.get("pair?annotator=ann").json()
    assert (state["num_done"], state["num_places"], state["pair"]["place"]) == (1, 46, 1)
    assert client.get("pair?annotator=ann&place=0").json()["pair"]["answer"]["choice"] == "left"
    assert client.get("pair?annotator=bea").json()["num_done"] == 0
    for place in range(1, 46):
        client.judge(client.answer(place=place), **own)
    assert "pair" not in client.get("pair?annotator=ann").json()


def test_a_taken_port_is_told_and_the_port_of_the_last_time_is_taken_if_it_is_free() -> None:
    first = listen(0)
    port = first.getsockname()[1]
    assert first.getsockname()[0] == "127.0.0.1"
    with pytest.raises(OutputError, match=f"cannot serve at port {port}"):
        listen(port)
    other = listen(0, port)
    assert other.getsockname()[1] != port
    other.close()
    first.close()
    again = listen(0, port)
    assert again.getsockname()[1] == port
    again.close()
