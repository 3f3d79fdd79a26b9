"""A client of the REST API, for the shell and for tests: one call, one envelope."""

from __future__ import annotations

import http.client
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit

import orjson

from enos_ingest import __version__
from enos_ingest.errors import CallError, LostCallError
from enos_ingest.sockets import Bind

__all__ = ["Envelope", "RestClient", "check_key", "check_url"]

_COMMANDS = "/connect-service/v2.1/commands"
_LONGEST = 64 * 1024 * 1024
"""Bytes of an answer: a page of 1000 commands with long values is far below."""
_SHOWN = 200


class Envelope(NamedTuple):
    """What the hub answers.

    Attributes:
        code: 0, or why not.
        msg: the same in words.
        data: such as `{"commandId": ...}`; None where there is none.
        document: all of it.
    """

    code: int
    msg: str
    data: Any
    document: dict[str, Any]


class RestClient:
    """Calls one hub, each call on a connection of its own; nothing is ever sent twice.

    Args:
        url: where the hub is, such as `http://127.0.0.1:8080`; `check_url` says what it may be.
        key: an application's API key, "" for none.
        org_id: the hub's `registry.org_id`.
    """

    def __init__(self, url: str, key: str = "", org_id: str = "default") -> None:
        self.url = check_url(url)
        self._key = check_key(key)
        self._org_id = org_id
        # What stands between this machine and the world does not stand between it and itself.
        local = Bind(urlsplit(self.url).hostname or "", 0).is_loopback
        proxies = urllib.request.ProxyHandler({} if local else None)
        self._opener = urllib.request.build_opener(proxies, _NoRedirects)

    def call(
        self,
        action: str,
        query: Mapping[str, str | int],
        body: bytes | None = None,
        *,
        method: str = "POST",
        timeout: float = 15.0,
    ) -> Envelope:
        """Call `/connect-service/v2.1/commands?action=...` and return the envelope, whatever its code.

        Args:
            timeout: seconds without a byte until the hub is given up: more than an instant command's own.

        Raises:
            CallError: nobody answers, or somebody who is no hub.
        """
        address = f"{self.url}{_COMMANDS}?{urlencode({'action': action, 'orgId': self._org_id, **query})}"
        request = urllib.request.Request(address, body, method=method)  # noqa: S310 - the scheme is checked
        request.add_header("User-Agent", f"enos-ingest/{__version__}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
        if self._key:
            # Unredirected: whatever urllib learns to do, the key goes to this hub and to no other.
            request.add_unredirected_header("Authorization", f"Bearer {self._key}")
        try:
            status, text = self._exchange(request, timeout)
        except TimeoutError:
            raise LostCallError(f"the hub at {self.url} has not answered within {timeout:g} seconds") from None
        except (http.client.RemoteDisconnected, ConnectionResetError) as error:
            raise LostCallError(f"the hub at {self.url} went before it answered: {_reason(error)}") from None
        except (OSError, http.client.HTTPException) as error:
            raise CallError(f"no hub answers at {self.url}: {_reason(error)}") from None
        return self._envelope(status, text)

    def _exchange(self, request: urllib.request.Request, timeout: float) -> tuple[int, bytes]:
        try:
            with self._opener.open(request, timeout=timeout) as response:
                return response.status, response.read(_LONGEST)
        except HTTPError as error:
            with error:
                return error.code, error.read(_LONGEST)
        except URLError as error:
            raise error.reason if isinstance(error.reason, OSError) else error from None

    def _envelope(self, status: int, text: bytes) -> Envelope:
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError:
            document = None
        match document:
            case {"code": int(code), "msg": str(msg)}:
                return Envelope(code, msg, document.get("data"), document)
            case {"error": str(error)}:
                said = f"HTTP {status}: {error[:_SHOWN]}"
            case _:
                said = f"HTTP {status} without an envelope"
        raise CallError(f"what answers at {self.url} serves no commands: {said}")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A command is for the hub that was named, and so is the key."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def check_url(text: str) -> str:
    """The address of a hub without a closing slash; ValueError says what is wrong with any other text."""
    try:
        parts = urlsplit(text)
        named = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        named = False
    if not named or parts.scheme not in {"http", "https"} or not text.isascii() or not text.isprintable():
        raise ValueError("expected an address such as http://127.0.0.1:8080")
    if parts.username is not None or parts.query or parts.fragment or " " in text:
        raise ValueError("expected an address such as http://127.0.0.1:8080, without a user, ? or #")
    return text.rstrip("/")


def check_key(key: str) -> str:
    """The key itself; ValueError for one that cannot stand in a header of HTTP, which no hub could have read."""
    if not key.isascii() or not key.isprintable() or key != key.strip():
        raise ValueError("an API key is one line of printable ASCII characters")
    return key


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text)[:_SHOWN].lower()
