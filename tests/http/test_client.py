"""The client of the REST API: where it goes, what it takes for an answer. The rest: `tests/cli/test_command.py`."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
import trustme

from enos_ingest.errors import CallError
from enos_ingest.http.client import RestClient, check_key, check_url
from tests.cli.rest_server import serving


def test_a_hub_that_says_nothing_is_given_up() -> None:
    """The sentence names the hub and the seconds."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(CallError, match=rf"the hub at {url} has not answered within 0\.05 seconds"):
            RestClient(url).call("search", {}, timeout=0.05)


def test_an_answer_that_is_too_long_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read no further than to the bound; one below it is taken."""
    with serving() as server:
        client = RestClient(f"http://{server.address}")
        server.will_answer(["x" * 900])
        assert client.call("search", {}).data == ["x" * 900]
        monkeypatch.setattr("enos_ingest.http.client._LONGEST", 1000)
        server.will_answer(["x" * 1000])
        with pytest.raises(CallError, match="HTTP 200 without an envelope"):
            client.call("search", {})


def test_a_proxy_is_for_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub elsewhere is called through the environment's proxy; one here, by whatever name, never is."""
    with serving() as proxy, serving() as hub:
        monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
        monkeypatch.delenv("no_proxy", raising=False)
        proxy.will_answer("elsewhere")
        assert RestClient("http://hub.example:8080", "key").call("search", {}).data == "elsewhere"
        assert proxy.calls[0].headers["host"] == "hub.example:8080"
        port = hub.address.rpartition(":")[2]
        for name in ("127.0.0.1", "localhost"):
            hub.will_answer("here")
            assert RestClient(f"http://{name}:{port}").call("search", {}).data == "here"
        assert len(proxy.calls) == 1


def test_a_certificate_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With https the key goes to nobody whose certificate is not trusted."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with serving(context) as server:
        url = f"https://localhost:{server.address.rpartition(':')[2]}"
        with pytest.raises(CallError, match="certificate verify failed"):
            RestClient(url, "key").call("search", {})
        assert server.calls == []
        authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        server.will_answer("trusted")
        assert RestClient(url, "key").call("search", {}).data == "trusted"


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "https://hub.example", "http://[::1]:8080", "http://h/hub/"])
def test_what_an_address_may_be(url: str) -> None:
    """With or without a port or a path; a slash at the end is none of it."""
    assert check_url(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        *("", "hub", "hub:8080", "file:///etc/passwd", "http://", "http://:80", "http://h:0", "http://h:99999"),
        *(
            "http://[",
            "http://h x",
            "http://h\n",
            "http://ä",
            "http://u@h",
            "http://u:p@h",
            "http://h?a=b",
            "http://h#a",
        ),
    ],
)
def test_what_an_address_may_not_be(url: str) -> None:
    """Nothing that could send the key elsewhere, or that is no address."""
    with pytest.raises(ValueError, match="expected an address such as"):
        check_url(url)


@pytest.mark.parametrize("key", ["a\nb", " a", "ä", "\x7f", "a\x00"])
def test_what_a_key_may_not_be(key: str) -> None:
    """What would break a header of HTTP, or could not be read there; the sentence does not repeat it."""
    with pytest.raises(ValueError, match=r"^an API key is one line of printable ASCII characters$"):
        check_key(key)
