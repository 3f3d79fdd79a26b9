"""The HTTP routes, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, cast

import httpx
import pytest

from enos_ingest.devices.directory import Application, Directory
from enos_ingest.devices.passwords import hash_api_key
from enos_ingest.http.app import HttpParts, create_app
from enos_ingest.http.callers import Callers
from enos_ingest.http.logins import Logins
from enos_ingest.http.metrics import Metrics
from enos_ingest.http.token_service import TokenService
from enos_ingest.http.tokens import Tokens
from tests.http.serving import serving

if TYPE_CHECKING:
    from enos_ingest.commands.commands import Commands

DIRECTORY = Directory(
    applications=[
        Application("grafana", api_key_hash=hash_api_key("key-read"), scopes=frozenset({"read"})),
        Application("ops", api_key_hash=hash_api_key("key-admin"), scopes=frozenset({"admin", "control"})),
        Application("scada", api_key_hash=hash_api_key("key-control"), scopes=frozenset({"control"})),
    ]
)


def parts(reasons: Callable[[], list[str]], *, open_metrics: bool, strangers_per_second: int = 100) -> HttpParts:
    tokens = Tokens(lambda: DIRECTORY)
    # The clock stands still: nobody is let in again by the time that a test takes.
    logins = Logins(1000, strangers_per_second, now=lambda: 0.0)
    return HttpParts(
        metrics=Metrics(),
        reasons_not_ready=reasons,
        callers=Callers(lambda: DIRECTORY, tokens, logins),
        token_service=TokenService(lambda: DIRECTORY, tokens, logins),
        commands=cast("Commands", None),  # nothing here asks for one
        open_metrics=open_metrics,
    )


def ask(
    request: Callable[[httpx.AsyncClient], Awaitable[httpx.Response]],
    *,
    open_metrics: bool = True,
    reasons: list[str] | None = None,
) -> httpx.Response:
    async def run() -> httpx.Response:
        async with serving(create_app(parts(lambda: reasons or [], open_metrics=open_metrics))) as client:
            return await request(client)

    return asyncio.run(run())


def test_healthz_says_that_the_process_lives() -> None:
    """200 and `ok`, also while it is not ready."""
    response = ask(lambda c: c.get("/healthz"), reasons=["the store cannot commit"], open_metrics=False)
    assert (response.status_code, response.text) == (200, "ok\n")


def test_readyz_is_200_only_without_a_reason() -> None:
    """503 lists the reasons as sentences."""
    ready = ask(lambda c: c.get("/readyz"))
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "reasons": []})
    waiting = ask(lambda c: c.get("/readyz"), reasons=["the store cannot commit: disk full", "draining"])
    assert waiting.status_code == 503
    assert waiting.json() == {"ready": False, "reasons": ["the store cannot commit: disk full", "draining"]}
    assert waiting.headers["cache-control"] == "no-store"


def test_head_answers_like_get_without_a_body() -> None:
    """Load balancers probe with HEAD."""
    for path in ("/healthz", "/readyz"):
        response = ask(lambda c, path=path: c.head(path))  # type: ignore[misc]
        assert (response.status_code, response.content) == (200, b"")


def test_metrics_are_prometheus_text() -> None:
    """With the content type that a scraper checks."""
    response = ask(lambda c: c.get("/metrics"))
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "# TYPE enos_ingest_publishes_denied_total counter\n" in response.text


@pytest.mark.parametrize(
    ("authorization", "status", "said"),
    [
        (None, 401, "send the API key of an application, Authorization: Bearer KEY, or a token"),
        ("Bearer", 401, "send the API key of an application, Authorization: Bearer KEY, or a token"),
        ("Basic a2V5LXJlYWQ6", 401, "send the API key of an application, Authorization: Bearer KEY, or a token"),
        ("key-read", 401, "send the API key of an application, Authorization: Bearer KEY, or a token"),
        ("Bearer key-wrong", 401, "no application has this API key"),
        ("Bearer key-control", 403, "the application scada needs the scope read or admin"),
        ("Bearer key-read", 200, ""),
        ("bearer  key-read", 200, ""),
        ("Bearer key-admin", 200, ""),
    ],
)
def test_beyond_loopback_metrics_want_the_api_key_of_an_application(
    authorization: str | None, status: int, said: str
) -> None:
    """401 asks for a key, 403 says which scope is missing."""
    headers = {} if authorization is None else {"Authorization": authorization}
    response = ask(lambda c: c.get("/metrics", headers=headers), open_metrics=False)
    assert response.status_code == status
    if status == 200:
        assert "enos_ingest_info" in response.text
    else:
        assert response.json()["code"] == 99_000 + status
        assert response.json()["msg"].startswith(said)
        assert response.headers["www-authenticate"].startswith('Bearer realm="enos-ingest"')


@pytest.mark.parametrize("path", ["/", "/healthz/", "/nope", "/metrics/x", "/docs"])
def test_an_unknown_path_is_a_json_404(path: str) -> None:
    """Nothing is guessed or redirected, `/` included."""
    response = ask(lambda c: c.get(path))
    assert response.status_code == 404
    assert response.json() == {"error": f"there is nothing at {path}"}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_another_method_is_a_json_405(path: str, method: str) -> None:
    """With the methods that there are."""
    response = ask(lambda c: c.request(method, path), open_metrics=False)
    assert response.status_code == 405
    assert response.json() == {"error": f"{path} does not take {method}"}
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD"}


def test_who_looks_for_what_there_is_not_is_bounded_and_probes_are_answered() -> None:
    """A scan of paths is a flood without credentials as any other."""

    async def run() -> None:
        async with serving(create_app(parts(list, open_metrics=False, strangers_per_second=3))) as client:
            statuses = [(await client.get(f"/{number}")).status_code for number in range(3)]
            assert statuses == [404] * 3
            response = await client.post("/healthz")
            assert (response.status_code, response.json()["code"]) == (429, 99429)
            assert (await client.get("/metrics")).status_code == 429
            assert (await client.get("/metrics", headers={"Authorization": "Bearer key-read"})).status_code == 200
            for path in ("/healthz", "/readyz"):
                assert (await client.get(path)).status_code == 200

    asyncio.run(run())


def test_no_response_tells_what_serves_it() -> None:
    """A version in a header helps nobody but an attacker."""
    for path in ("/healthz", "/nope"):
        assert "server" not in ask(lambda c, path=path: c.get(path)).headers  # type: ignore[misc]


def test_a_fault_of_ours_is_a_500_with_a_log_line_and_the_service_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The traceback is in the log, not in the answer."""

    def broken() -> list[str]:
        raise RuntimeError("a part is broken")

    async def run() -> tuple[httpx.Response, httpx.Response]:
        async with serving(create_app(parts(broken, open_metrics=True))) as client:
            return await client.get("/readyz"), await client.get("/healthz")

    failed, healthy = asyncio.run(run())
    assert failed.status_code == 500
    assert failed.json() == {"error": "the service made a mistake; its log says more"}
    assert healthy.status_code == 200
    assert "a part is broken" in caplog.text
