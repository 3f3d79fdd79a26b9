"""The token service over a real socket, in the words and numbers of EnOS."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from enos_ingest.devices.directory import Application, Directory
from enos_ingest.http.logins import Logins
from enos_ingest.http.token_service import TokenService
from enos_ingest.http.tokens import Tokens
from tests.http.serving import serving

CLOCK = 1_795_221_824_968
KEY, SECRET = "4ced4f38-1ced-476e0a446215-a602-4307", "0a446215-a602-4307-9ff2-3feed3e983ce"
GET, REFRESH = "/apim-token-service/v2.0/token/get", "/apim-token-service/v2.0/token/refresh"


class Hub:
    """A token service whose clocks stand still until they are moved."""

    def __init__(self, *, calls_per_second: int = 1000, strangers_per_second: int = 100) -> None:
        self.now, self.clock = 1000.0, CLOCK
        applications = [Application("scada", KEY, SECRET), Application("other", "other-key", "other-secret")]
        self.directory = Directory(applications=applications)
        self.tokens = Tokens(lambda: self.directory, now=lambda: self.now, clock=lambda: self.clock)
        logins = Logins(calls_per_second, strangers_per_second, now=lambda: self.now)
        self.app = Starlette(routes=TokenService(lambda: self.directory, self.tokens, logins).routes())
        self.sent = 0

    def login(self, key: str = KEY, secret: str = SECRET, **more: str) -> dict[str, Any]:
        """A body that was not sent before, digested as the documents say."""
        self.sent += 1
        timestamp = self.clock + self.sent
        digest = hashlib.sha256(f"{key}{timestamp}{secret}".encode()).hexdigest()
        return {"appKey": key, "encryption": digest, "timestamp": timestamp, **more}


def run(hub: Hub, work: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    async def serve() -> None:
        async with serving(hub.app) as client:
            await work(client)

    asyncio.run(serve())


def test_the_answer_is_what_the_documents_print() -> None:
    """Members and their order, for a token and for a refusal."""
    hub = Hub()

    async def work(client: httpx.AsyncClient) -> None:
        response = await client.post(GET, json=hub.login())
        token = response.json()["data"]["accessToken"]
        assert response.text == (
            '{"status":0,"msg":"SUCCESS","business":"apim-token-service",'
            f'"data":{{"accessToken":"{token}","expire":7200}}}}'
        )
        assert response.headers["cache-control"] == "no-store"
        response = await client.post(GET, json=hub.login(key="nobody"))
        assert (response.status_code, response.text) == (
            200,
            '{"status":1002,"msg":"no application has this appKey","business":"apim-token-service","data":null}',
        )

    run(hub, work)


def test_a_token_is_given_again_and_refreshed() -> None:
    """With what it has left; a refresh makes a new one."""
    hub = Hub()

    async def work(client: httpx.AsyncClient) -> None:
        first = (await client.post(GET, json=hub.login())).json()["data"]
        hub.now += 7000
        assert (await client.post(GET, json=hub.login())).json()["data"] == {**first, "expire": 200}
        body = hub.login(accessToken=first["accessToken"])
        second = (await client.post(REFRESH, json=body)).json()["data"]
        assert second["expire"] == 7200
        assert second["accessToken"] != first["accessToken"]
        timestamp = hub.clock + 5000
        digest = hashlib.sha256(f"{KEY}{second['accessToken']}{timestamp}{SECRET}".encode()).hexdigest()
        body = {**body, "accessToken": second["accessToken"], "encryption": digest, "timestamp": timestamp}
        assert (await client.post(REFRESH, json=body)).json()["data"]["expire"] == 7200

    run(hub, work)


def test_programs_send_the_timestamp_as_a_text_too() -> None:
    """The digits of either are what is digested."""
    hub = Hub()

    async def work(client: httpx.AsyncClient) -> None:
        body = hub.login()
        body["timestamp"] = str(body["timestamp"])
        assert (await client.post(GET, json=body)).json()["status"] == 0

    run(hub, work)


def without(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda body: {key: value for key, value in body.items() if key != name}


def replaced(**values: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda body: {**body, **values}


@pytest.mark.parametrize(
    ("change", "status", "msg"),
    [
        (without("appKey"), 1202, "appKey is missing or empty"),
        (without("encryption"), 1202, "encryption is missing or empty"),
        (without("timestamp"), 1202, "timestamp is missing or empty"),
        (without("accessToken"), 1202, "accessToken is missing or empty"),
        (replaced(appKey=""), 1202, "appKey is missing or empty"),
        (replaced(encryption=None), 1202, "encryption is missing or empty"),
        (replaced(timestamp=""), 1202, "timestamp is missing or empty"),
        (replaced(appKey=7), 1004, "appKey must be a text"),
        (replaced(encryption=["x"]), 1004, "encryption must be a text"),
        (replaced(timestamp=1.5), 1004, "timestamp must be a text"),
        (replaced(timestamp=True), 1004, "timestamp must be a text"),
        (replaced(accessToken={}), 1004, "accessToken must be a text"),
        (replaced(appKey="nobody"), 1002, "no application has this appKey"),
        (replaced(encryption="x"), 1003, "encryption is not the hex SHA-256 of appKey, timestamp and secret"),
        (replaced(timestamp="now"), 1003, "encryption is not the hex SHA-256 of appKey, timestamp and secret"),
        (replaced(accessToken="x"), 1204, "this is no token of this application"),
    ],
)
def test_each_fault_has_its_code(change: Callable[[dict[str, Any]], dict[str, Any]], status: int, msg: str) -> None:
    """With HTTP 200, as EnOS's clients look for `status`; nothing of what was sent comes back."""
    hub = Hub()

    async def work(client: httpx.AsyncClient) -> None:
        token = (await client.post(GET, json=hub.login())).json()["data"]["accessToken"]
        response = await client.post(REFRESH, json=change(hub.login(accessToken=token)))
        assert response.status_code == 200
        assert (response.json()["status"], response.json()["msg"]) == (status, msg)
        assert SECRET not in response.text

    run(hub, work)


def test_a_login_sent_again_a_stale_clock_and_an_expired_token_have_codes_of_their_own() -> None:
    """1001, 1004 and 1203."""
    hub = Hub()

    async def work(client: httpx.AsyncClient) -> None:
        body = hub.login()
        token = (await client.post(GET, json=body)).json()["data"]["accessToken"]
        assert (await client.post(GET, json=body)).json()["status"] == 1001
        hub.clock += 600_001
        late = hub.login()
        hub.clock -= 1_300_000
        assert (await client.post(GET, json=late)).json()["status"] == 1004
        hub.clock += 1_300_000
        hub.now += 7200
        body = hub.login(accessToken=token)
        assert (await client.post(REFRESH, json=body)).json()["status"] == 1203

    run(hub, work)


@pytest.mark.parametrize(
    "body", [b"", b"x", b"[]", b"null", b'"x"', b"{", b"\xff", b'{"appKey":NaN}', b"[" * 4000], ids=range(9)
)
def test_what_is_no_json_object_is_told(body: bytes) -> None:
    """1004, whatever it is."""

    async def work(client: httpx.AsyncClient) -> None:
        for path in (GET, REFRESH):
            response = await client.post(path, content=body)
            assert response.status_code == 200
            assert (response.json()["status"], response.json()["msg"]) == (1004, "the body must be a JSON object")

    run(Hub(), work)


def test_a_login_has_a_bound_of_its_own() -> None:
    """4096 bytes, as strangers send them."""
    hub = Hub()

    async def work(client: httpx.AsyncClient) -> None:
        text = json.dumps(hub.login()).encode()
        assert (await client.post(GET, content=text.ljust(4096))).json()["status"] == 0
        response = await client.post(GET, content=text.ljust(4097))
        assert (response.status_code, response.json()["status"]) == (413, 99413)
        assert response.json()["msg"] == "the body is longer than 4096 bytes"

    run(hub, work)


def test_only_post_is_served() -> None:
    """A secret's digest does not belong into a URL."""

    async def work(client: httpx.AsyncClient) -> None:
        for path in (GET, REFRESH):
            assert (await client.get(path)).status_code == 405

    run(Hub(), work)


def test_guesses_at_one_application_are_held_back_and_do_not_lock_out_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """429 after 20, for a right one too until a second has passed; unknown keys are counted together."""
    hub = Hub()

    async def work(client: httpx.AsyncClient) -> None:
        for _ in range(20):
            assert (await client.post(GET, json=hub.login(secret="guess"))).json()["status"] == 1003
        for secret in (SECRET, "guess"):
            response = await client.post(GET, json=hub.login(secret=secret))
            assert (response.status_code, response.json()["status"]) == (429, 99429)
            assert response.headers["retry-after"] == "1"
        assert (await client.post(GET, json=hub.login("other-key", "other-secret"))).json()["status"] == 0
        statuses = [(await client.post(GET, json=hub.login(key=f"k{n}"))).json()["status"] for n in range(21)]
        assert statuses == [1002] * 20 + [99429]
        assert (await client.post(GET, json=hub.login("other-key", "other-secret"))).json()["status"] == 0
        hub.now += 1
        assert (await client.post(GET, json=hub.login())).json()["status"] == 0

    run(hub, work)
    assert "encryption is not the hex SHA-256" in caplog.text
    assert KEY not in caplog.text


def test_a_flood_of_bad_logins_is_bounded() -> None:
    """Malformed ones and repeated ones too; a good one is granted meanwhile."""
    hub = Hub(strangers_per_second=3)

    async def work(client: httpx.AsyncClient) -> None:
        login = hub.login()
        statuses = [(await client.post(GET, json=login)).json()["status"] for _ in range(3)]
        assert statuses == [0, 1001, 1001]
        answers = [await client.post(GET, content=b"x") for _ in range(3)]
        assert [answer.json()["status"] for answer in answers] == [1004, 99429, 99429]
        assert (answers[-1].status_code, answers[-1].headers["retry-after"]) == (429, "1")
        assert (await client.post(GET, json=hub.login())).json()["status"] == 0

    run(hub, work)


def test_logins_count_as_calls() -> None:
    """Of the application that they are of."""
    hub = Hub(calls_per_second=2)

    async def work(client: httpx.AsyncClient) -> None:
        statuses = [(await client.post(GET, json=hub.login())).json()["status"] for _ in range(3)]
        assert statuses == [0, 0, 99429]
        assert (await client.post(GET, json=hub.login("other-key", "other-secret"))).json()["status"] == 0

    run(hub, work)
