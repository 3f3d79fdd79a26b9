"""Who calls, over a real socket: API keys, nobody at all, and how often."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.requests import Request

from enos_ingest.commands.refusals import CommandRefusal
from enos_ingest.devices.directory import Application, Directory
from tests.http.callers_site import SCADA, Hub, run, said, signed


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
