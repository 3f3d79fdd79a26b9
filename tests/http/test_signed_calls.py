"""Tokens and signatures, over a real socket: what they prove, for how long, and that a call is taken once."""

from __future__ import annotations

import asyncio
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from enos_ingest.devices.directory import Application, Directory
from enos_ingest.http.callers import sign_call
from enos_ingest.http.tokens import Login, sign_login
from tests.http.callers_site import CLOCK, GRAFANA, SCADA, Hub, run, said, signed


def test_the_signature_is_the_one_in_the_documents() -> None:
    """Their sample, to the digit: sorted parameters, a body with two Chinese letters, timestamp, secret."""
    body = '{\n  "count": 20,\n  "page": 1,\n  "desc": "\u63cf\u8ff0"\n}'.encode()
    query = [("k3", "v3"), ("k1", "v1"), ("k2", "v2")]
    assert sign_call("xxxxaaaxxxx", query, body, "1572574909697", "xxxappSecretxxx") == (
        "59828328f6c1f9771015dc74e4929ae30f518a35a3d2353972c2ea46556fc981"
    )


@pytest.mark.parametrize(
    ("url", "signed_as"),
    [
        ("/whole", ""),
        ("/whole?b=2&a=1", "a1b2"),
        ("/whole?a=x%20y&b=%E6%B0%B4+z&empty=", "ax yb\u6c34 zempty"),
        ("/whole?a=2&a=1&B=0", "B0a2a1"),
        ("/whole?a%26=%3D", "a&="),
    ],
)
def test_a_signed_call_says_who_calls(url: str, signed_as: str) -> None:
    """Parameters decoded and sorted by name, then the body as it is, in either case of hex digits."""
    hub = Hub()
    token = hub.token()

    async def work(client: httpx.AsyncClient) -> None:
        for body in (b"", b'{"value": 1.0}', "{\n\u6c34}".encode(), b"\xff\x00"):
            headers = signed(token, signed_as, body)
            assert (await client.post(url, content=body, headers=headers)).text == f"scada {len(body)}"
            headers["apim-signature"] = headers["apim-signature"].upper()
            assert (await client.post(url, content=body, headers=headers)).text == f"scada {len(body)}"

    run(hub, work)


def test_what_is_signed_cannot_be_changed() -> None:
    """Parameters, body, time, or who signed: 401, and the words say what is signed."""
    hub = Hub()
    token = hub.token()

    async def work(client: httpx.AsyncClient) -> None:
        right = signed(token, "a1", b"body")
        assert (await client.post("/whole?a=1", content=b"body", headers=right)).status_code == 200
        for url, body, headers in (
            ("/whole?a=2", b"body", right),
            ("/whole?a=1&b=1", b"body", right),
            ("/whole", b"body", right),
            ("/whole?a=1", b"Body", right),
            ("/whole?a=1", b"", right),
            ("/whole?a=1", b"body", {**right, "apim-timestamp": str(CLOCK + 1)}),
            ("/whole?a=1", b"body", {**right, "apim-signature": right["apim-signature"][:-1]}),
            ("/whole?a=1", b"body", {**right, "apim-signature": "\xe9"}),
            ("/whole?a=1", b"body", signed(token, "a1", b"body", secret="another")),
            ("/whole?a=1", b"body", signed(token, "a1", b"body", secret="")),
        ):
            raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
            response = await client.post(url, content=body, headers=raw)
            assert said(response)[:2] == (401, 99401)
            assert said(response)[2].startswith("wrong apim-signature")

    run(hub, work)


def test_a_token_alone_is_not_enough() -> None:
    """Each header that is missing or empty is named."""
    hub = Hub()
    token = hub.token()

    async def work(client: httpx.AsyncClient) -> None:
        right = signed(token)
        for left_out, named in (
            (["apim-signature"], "apim-signature missing"),
            (["apim-timestamp", "apim-signature"], "apim-timestamp and apim-signature missing"),
            (["apim-accesstoken"], "apim-accesstoken missing"),
        ):
            for headers in (
                {name: value for name, value in right.items() if name not in left_out},
                {name: "" if name in left_out else value for name, value in right.items()},
            ):
                assert said(await client.get("/whole", headers=headers)) == (401, 99401, named)

    run(hub, work)


def test_a_signed_call_ends_with_its_token_and_its_time() -> None:
    """Unknown, expired, of an application that changed, and a clock that is far away, each in its own words."""
    hub = Hub()
    token = hub.token()

    async def work(client: httpx.AsyncClient) -> None:
        unknown = (401, 99401, "the hub does not know this token, perhaps since it was restarted: get another")
        assert said(await client.get("/whole", headers=signed("x"))) == unknown
        for timestamp in (hub.clock - 600_001, hub.clock + 600_001, -1):
            response = await client.get("/whole", headers=signed(token, timestamp=timestamp))
            assert said(response)[2].startswith("apim-timestamp must be epoch milliseconds and within 10 minutes")
        for timestamp in (hub.clock - 600_000, hub.clock + 600_000):
            assert (await client.get("/whole", headers=signed(token, timestamp=timestamp))).status_code == 200
        before = hub.directory
        hub.directory = Directory(applications=[GRAFANA])
        assert said(await client.get("/whole", headers=signed(token))) == unknown
        hub.directory = before
        hub.now += 7200
        response = await client.get("/whole", headers=signed(token))
        assert said(response) == (401, 99401, "the token has expired: get another, or refresh it in time")

    run(hub, work)


def test_a_signed_call_that_acts_is_taken_once(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever overhears it cannot have it done again, nor a stack that sends it twice; another timestamp is new."""
    hub = Hub()
    token = hub.token()

    async def work(client: httpx.AsyncClient) -> None:
        call = signed(token, "acts1", b"body")
        assert (await client.post("/whole?acts=1", content=b"body", headers=call)).status_code == 200
        shouted = {**call, "apim-signature": call["apim-signature"].upper()}
        for again in (call, shouted):
            response = await client.post("/whole?acts=1", content=b"body", headers=again)
            assert (response.status_code, response.json()["code"]) == (409, 99409)
            assert response.json()["msg"].startswith("a call with this apim-signature was here before")
        new = signed(token, "acts1", b"body", timestamp=CLOCK + 1)
        assert (await client.post("/whole?acts=1", content=b"body", headers=new)).status_code == 200
        # With a token that another login of the application was given it would be signed anew.
        refreshed = hub.tokens.refresh(
            Login(SCADA.key, sign_login(SCADA.key, "", str(CLOCK + 9), SCADA.secret), str(CLOCK + 9)), token
        ).token
        assert (await client.post("/whole?acts=1", content=b"body", headers=call)).status_code == 409
        call = signed(refreshed, "acts1", b"body")
        assert (await client.post("/whole?acts=1", content=b"body", headers=call)).status_code == 200

    run(hub, work)
    assert "a signed call of scada came a second time" in caplog.text
    assert token not in caplog.text


def test_calls_that_only_read_and_those_with_an_api_key_may_come_again() -> None:
    """Nothing is done by the first; the second have nothing to be known by."""
    hub = Hub()
    token = hub.token()

    async def work(client: httpx.AsyncClient) -> None:
        for _ in range(3):
            assert (await client.get("/whole", headers=signed(token))).status_code == 200
            key = {"Authorization": "Bearer scada-api-key"}
            assert (await client.get("/whole?acts=1", headers=key)).status_code == 200

    run(hub, work)


def test_a_call_that_is_signed_wrong_or_over_the_rate_is_not_taken() -> None:
    """It may come again, put right."""
    hub = Hub(calls_per_second=1)
    token = hub.token()

    async def work(client: httpx.AsyncClient) -> None:
        call = signed(token, "acts1")
        assert (await client.get("/whole?acts=1", headers={**call, "apim-signature": "0" * 64})).status_code == 401
        assert (await client.get("/whole", headers=signed(token))).status_code == 200
        assert (await client.get("/whole?acts=1", headers=call)).status_code == 429
        hub.now += 1
        assert (await client.get("/whole?acts=1", headers=call)).status_code == 200

    run(hub, work)


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@given(st.lists(st.tuples(_TEXT, _TEXT), max_size=5), st.binary(max_size=20), _TEXT)
def test_any_call_can_be_signed(query: list[tuple[str, str]], body: bytes, secret: str) -> None:
    """What a client signs before it encodes a URL is what the hub reads out of it."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    hub = Hub()
    application = Application("scada", "scada-key", secret, scopes=frozenset({"read"}))
    hub.directory = Directory(applications=[application])
    login = Login("scada-key", sign_login("scada-key", "", str(CLOCK), secret), str(CLOCK))
    token = hub.tokens.get(login).token
    by_name = sorted(query, key=lambda pair: pair[0])
    headers = signed(token, "".join(name + value for name, value in by_name), body, secret=secret)
    scope = {
        "type": "http",
        "query_string": urlencode(query, quote_via=quote).encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
    }
    caller, received = asyncio.run(hub.callers.receive(Request(scope, receive), acts=True))
    assert (caller.name, received) == ("scada", body)
