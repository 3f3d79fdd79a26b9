"""Who calls, over a real socket: API keys, tokens with signatures, nobody at all."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from enos_ingest.commands.refusals import CommandRefusal
from enos_ingest.devices.directory import Application, Directory
from enos_ingest.devices.passwords import hash_api_key
from enos_ingest.http.callers import Callers, sign_call
from enos_ingest.http.envelope import refused
from enos_ingest.http.logins import Logins
from enos_ingest.http.tokens import Login, Tokens, sign_login
from tests.http.serving import serving

CLOCK = 1_795_221_824_968
SCADA = Application("scada", "scada-key", "scada-secret", hash_api_key("scada-api-key"), frozenset({"control"}))
GRAFANA = Application("grafana", api_key_hash=hash_api_key("grafana-api-key"), scopes=frozenset({"read"}))


class Hub:
    """What stands behind the routes: `/whole` reads the body through the callers, `/seen` takes none."""

    def __init__(
        self,
        *,
        anonymous: bool = False,
        calls_per_second: int = 1000,
        strangers_per_second: int = 100,
        body_bytes: int = 2000,
    ) -> None:
        self.clock = CLOCK
        self.now = 1000.0
        self.directory = Directory(applications=[SCADA, GRAFANA])
        self.tokens = Tokens(lambda: self.directory, now=lambda: self.now, clock=lambda: self.clock)
        self.callers = Callers(
            lambda: self.directory,
            self.tokens,
            Logins(calls_per_second, strangers_per_second, now=lambda: self.now),
            anonymous=anonymous,
            body_bytes=body_bytes,
            clock=lambda: self.clock,
        )
        self.app = Starlette(
            routes=[Route("/whole", self.whole, methods=["GET", "POST"]), Route("/seen", self.seen)],
            exception_handlers={CommandRefusal: _refuse},
        )

    async def whole(self, request: Request) -> Response:
        caller, body = await self.callers.receive(request, acts="acts" in request.query_params)
        return PlainTextResponse(f"{caller.name} {len(body)}")

    async def seen(self, request: Request) -> Response:
        caller = await self.callers.identify(request, b"")
        caller.require("read", "admin")
        return PlainTextResponse(caller.name)

    def token(self) -> str:
        """A token of scada."""
        self.clock += 1
        timestamp = str(self.clock)
        return self.tokens.get(Login(SCADA.key, sign_login(SCADA.key, "", timestamp, SCADA.secret), timestamp)).token


async def _refuse(_request: Request, exc: Exception) -> Response:
    assert isinstance(exc, CommandRefusal)
    return refused(exc)


def signed(
    token: str, query: str = "", body: bytes = b"", *, timestamp: int = CLOCK, secret: str = SCADA.secret
) -> dict[str, str]:
    """The headers of a call, signed as EnOS's documents say: `query` is what stands sorted before the body."""
    digest = hashlib.sha256(token.encode() + query.encode() + body + f"{timestamp}{secret}".encode())
    return {"apim-accesstoken": token, "apim-timestamp": str(timestamp), "apim-signature": digest.hexdigest()}


def run(hub: Hub, work: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    async def serve() -> None:
        async with serving(hub.app) as client:
            await work(client)

    asyncio.run(serve())


def said(response: httpx.Response) -> tuple[int, int, str]:
    """HTTP status, code and words of a refusal; the answer holds nothing that is secret."""
    assert not any(secret in response.text for secret in (SCADA.secret, "api-key", SCADA.key))
    body = response.json()
    return response.status_code, body["code"], body["msg"]


def test_the_signature_is_the_one_in_the_documents() -> None:
    """Their sample, to the digit: sorted parameters, a body with two Chinese letters, timestamp, secret."""
    body = '{\n  "count": 20,\n  "page": 1,\n  "desc": "\u63cf\u8ff0"\n}'.encode()
    query = [("k3", "v3"), ("k1", "v1"), ("k2", "v2")]
    assert sign_call("xxxxaaaxxxx", query, body, "1572574909697", "xxxappSecretxxx") == (
        "59828328f6c1f9771015dc74e4929ae30f518a35a3d2353972c2ea46556fc981"
    )


def test_an_api_key_says_who_calls() -> None:
    """In any case of the scheme; the body goes with it."""

    async def work(client: httpx.AsyncClient) -> None:
        for scheme in ("Bearer", "bearer", "BEARER "):
            headers = {"Authorization": f"{scheme} scada-api-key"}
            assert (await client.post("/whole", content=b"12345", headers=headers)).text == "scada 5"
        assert (await client.get("/seen", headers={"Authorization": "Bearer grafana-api-key"})).text == "grafana"

    run(Hub(), work)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": ""},
        {"Authorization": "Basic c2NhZGEtYXBpLWtleTo="},
        {"Authorization": "scada-api-key"},
        {"X-Api-Key": "scada-api-key"},
    ],
)
def test_without_credentials_nobody_calls(headers: dict[str, str]) -> None:
    """401, with what to send."""

    async def work(client: httpx.AsyncClient) -> None:
        for path in ("/whole", "/seen"):
            response = await client.get(path, headers=headers)
            assert said(response)[:2] == (401, 99401)
            assert "Authorization: Bearer KEY" in said(response)[2]
            assert response.headers["www-authenticate"] == 'Bearer realm="enos-ingest"'

    run(Hub(), work)


@pytest.mark.parametrize("key", ["scada-api-ke", "scada-api-key2", "SCADA-API-KEY", SCADA.api_key_hash, "\xe9"])
def test_a_wrong_api_key_is_nobodys(key: str) -> None:
    """Its hash neither, which a copy of the database would hold."""

    async def work(client: httpx.AsyncClient) -> None:
        response = await client.get("/whole", headers=[(b"Authorization", b"Bearer " + key.encode("latin-1"))])
        assert said(response) == (401, 99401, "no application has this API key")

    run(Hub(), work)


def test_a_missing_scope_is_403_and_named() -> None:
    """Scada may control, and not read."""

    async def work(client: httpx.AsyncClient) -> None:
        response = await client.get("/seen", headers={"Authorization": "Bearer scada-api-key"})
        assert said(response) == (403, 99403, "the application scada needs the scope read or admin")

    run(Hub(), work)


def test_a_change_in_the_registry_counts_at_once() -> None:
    """A key that is taken away, a scope that is given."""
    hub = Hub()

    async def work(client: httpx.AsyncClient) -> None:
        headers = {"Authorization": "Bearer scada-api-key"}
        assert (await client.get("/seen", headers=headers)).status_code == 403
        more = Application("scada", api_key_hash=SCADA.api_key_hash, scopes=frozenset({"admin"}))
        hub.directory = Directory(applications=[more])
        assert (await client.get("/seen", headers=headers)).status_code == 200
        hub.directory = Directory()
        assert (await client.get("/seen", headers=headers)).status_code == 401

    run(hub, work)


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


def test_the_api_key_goes_before_the_token() -> None:
    """Where a proxy or a client sends both, one of them decides, and a wrong one is not passed over."""
    hub = Hub()
    token = hub.token()

    async def work(client: httpx.AsyncClient) -> None:
        both = {**signed(token), "Authorization": "Bearer grafana-api-key"}
        assert (await client.get("/whole", headers=both)).text == "grafana 0"
        both["Authorization"] = "Bearer wrong"
        assert (await client.get("/whole", headers=both)).status_code == 401
        both["Authorization"] = "Basic Zm9vOmJhcg=="
        assert (await client.get("/whole", headers=both)).text == "scada 0"

    run(hub, work)


def test_anonymous_callers_may_read_where_that_is_allowed() -> None:
    """And do nothing else; wrong credentials are wrong all the same."""

    async def work(client: httpx.AsyncClient) -> None:
        assert (await client.get("/seen")).text == "%anonymous%"
        for headers in ({"Authorization": "Bearer wrong"}, {"Authorization": "Basic Zm9vOmJhcg=="}, signed("x")):
            assert (await client.get("/seen", headers=headers)).status_code == 401

    hub = Hub(anonymous=True)
    run(hub, work)
    request = Request({"type": "http", "headers": [], "query_string": b"", "client": ("127.0.0.1", 1)})
    caller = asyncio.run(hub.callers.identify(request, b""))
    with pytest.raises(CommandRefusal, match="needs the scope control"):
        caller.require("control")


def test_a_body_that_is_too_long_is_413() -> None:
    """Of an application, one byte over the limit; of a stranger nothing is read, whatever its length."""

    async def work(client: httpx.AsyncClient) -> None:
        known = {"Authorization": "Bearer scada-api-key"}
        assert (await client.post("/whole", content=b"x" * 2000, headers=known)).text == "scada 2000"
        response = await client.post("/whole", content=b"x" * 2001, headers=known)
        assert said(response) == (413, 99413, "the body is longer than 2000 bytes")
        assert (await client.post("/whole", content=b"x" * 2001)).status_code == 401

    run(Hub(), work)


def test_each_application_has_its_own_rate() -> None:
    """Beyond it 429 with the time to wait, until that has passed; the others go on."""
    hub = Hub(calls_per_second=3)

    async def work(client: httpx.AsyncClient) -> None:
        scada, grafana = ({"Authorization": f"Bearer {name}-api-key"} for name in ("scada", "grafana"))
        token = hub.token()
        for _ in range(2):
            assert (await client.get("/whole", headers=scada)).status_code == 200
        assert (await client.get("/whole", headers=signed(token))).status_code == 200
        for headers in (scada, signed(token)):
            response = await client.get("/whole", headers=headers)
            assert said(response) == (
                429,
                99429,
                "scada makes more calls than limits.calls_per_second = 3 allows",
            )
            assert response.headers["retry-after"] == "1"
        assert (await client.get("/whole", headers=grafana)).status_code == 200
        hub.now += int(response.headers["retry-after"])
        assert [(await client.get("/whole", headers=scada)).status_code for _ in range(4)] == [200, 200, 200, 429]

    run(hub, work)


def test_guesses_are_held_back(caplog: pytest.LogCaptureFixture) -> None:
    """After 20 wrong keys from one address even a right one is not looked at, but one that was right before."""
    hub = Hub()

    async def work(client: httpx.AsyncClient) -> None:
        known, fresh = ({"Authorization": f"Bearer {name}-api-key"} for name in ("scada", "grafana"))
        token = hub.token()
        assert (await client.get("/whole", headers=known)).status_code == 200
        for guess in range(20):
            headers = {"Authorization": f"Bearer guess-{guess}"}
            assert (await client.get("/whole", headers=headers)).status_code == 401
        for headers in (fresh, {"Authorization": "Bearer guess-20"}):
            response = await client.get("/whole", headers=headers)
            assert said(response)[:2] == (429, 99429)
            assert response.headers["retry-after"] == "1"
        assert (await client.get("/whole", headers=known)).status_code == 200
        assert (await client.get("/whole", headers=signed(token))).status_code == 200
        hub.now += 1
        assert (await client.get("/whole", headers=fresh)).status_code == 200
        assert (await client.get("/whole", headers={"Authorization": "Bearer guess-20"})).status_code == 401
        assert (await client.get("/whole", headers={"Authorization": "Bearer guess-21"})).status_code == 429

    run(hub, work)
    assert "no application has this API key" in caplog.text
    assert "guess" not in caplog.text


def test_tokens_that_a_restart_made_unknown_hold_nobody_back() -> None:
    """A busy application comes with its old one many times before it has another, and gets that."""
    hub = Hub()

    async def work(client: httpx.AsyncClient) -> None:
        answers = [(await client.get("/whole", headers=signed("old"))).status_code for _ in range(100)]
        assert set(answers) == {401}
        assert (await client.get("/whole", headers={"Authorization": "Bearer scada-api-key"})).status_code == 200

    run(hub, work)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic eDp5"},
        {"Authorization": "Bearer wrong"},
        {"apim-accesstoken": "x"},
        signed("unknown"),
        signed("TOKEN", secret="wrong"),
        signed("TOKEN", timestamp=1),
    ],
    ids=["none", "other", "key", "half", "unknown token", "signature", "time"],
)
def test_a_flood_without_valid_credentials_is_bounded(headers: dict[str, str]) -> None:
    """Whatever it lacks: 429 beyond so many a second, while calls with valid ones go through."""
    hub = Hub(strangers_per_second=5)
    token = hub.token()
    if headers.get("apim-accesstoken") == "TOKEN":
        headers = {**headers, "apim-accesstoken": token}

    async def work(client: httpx.AsyncClient) -> None:
        known = {"Authorization": "Bearer scada-api-key"}
        answers = [await client.get("/whole", headers=headers) for _ in range(8)]
        assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 3
        assert "limits.http_strangers_per_second = 5" in answers[-1].json()["msg"]
        assert answers[-1].headers["retry-after"] == "1"
        assert (await client.get("/whole", headers=known)).status_code == 200
        assert (await client.get("/whole", headers=signed(token))).status_code == 200
        hub.now += 0.2
        assert [(await client.get("/whole", headers=headers)).status_code for _ in range(2)] == [401, 429]

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
