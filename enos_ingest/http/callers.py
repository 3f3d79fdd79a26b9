"""Who calls the REST API: an application with its API key, or with a token and a signature as EnOS has them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from starlette.requests import Request

from enos_ingest.clock import epoch_ms
from enos_ingest.commands.refusals import CommandRefusal, RestCode
from enos_ingest.devices.directory import Directory
from enos_ingest.devices.passwords import hash_api_key
from enos_ingest.http.body import read_body
from enos_ingest.http.logins import Logins
from enos_ingest.http.tokens import Token, Tokens, is_current

__all__ = ["Caller", "Callers", "sign_call"]

_TOKEN_HEADERS = ("apim-accesstoken", "apim-timestamp", "apim-signature")


_SIGNATURE_DIGITS = 32
"""Of the 64 of a signature so many are remembered: 128 bits, which no two calls share by chance."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An application that has proved who it is, with what it may do."""

    name: str
    scopes: frozenset[str]

    def require(self, *scopes: str) -> None:
        """Raise `FORBIDDEN` unless the caller has one of these scopes."""
        if self.scopes.isdisjoint(scopes):
            needed = " or ".join(scopes)
            raise CommandRefusal(RestCode.FORBIDDEN, f"the application {self.name} needs the scope {needed}")


class _Signer(NamedTuple):
    """Who must have signed a call."""

    token: Token
    secret: str


_ANONYMOUS = Caller("%anonymous%", frozenset({"read"}))
"""Who calls without credentials where that is allowed; no application has a name with a %."""


class Callers:
    """Checks credentials against the registry as it is now.

    Args:
        directory: gives the registry.
        tokens: those that the token service has given out.
        logins: counts calls and wrong credentials.
        anonymous: whether a call without credentials may read.
        body_bytes: the longest body of a call.
        clock: epoch milliseconds.
    """

    def __init__(
        self,
        directory: Callable[[], Directory],
        tokens: Tokens,
        logins: Logins,
        *,
        anonymous: bool = False,
        body_bytes: int = 1_048_576,
        clock: Callable[[], int] = epoch_ms,
    ) -> None:
        self._directory = directory
        self._tokens = tokens
        self._logins = logins
        self._anonymous = anonymous
        self._body_bytes = body_bytes
        self._clock = clock

    async def receive(self, request: Request, *, acts: bool) -> tuple[Caller, bytes]:
        """The caller and the body of a call; a stranger's body is not read, so that it cannot fill the memory.

        Args:
            acts: whether the call changes anything: one that is signed is taken once then.

        Raises:
            CommandRefusal: as `identify`, `TOO_LONG`, and `REPEATED`.
            ClientDisconnect: the client has gone.
        """
        caller, signer = self._claim(request)
        body = await read_body(request, self._body_bytes)
        self._admit(request, body, caller, signer)
        if acts and signer is not None:
            self._take_once(request, caller, signer)
        return caller, body

    async def identify(self, request: Request, body: bytes) -> Caller:
        """The caller, for a route that takes no body or has it already.

        Raises:
            CommandRefusal: `UNAUTHORIZED` for missing, unknown, expired or wrong credentials, `TOO_MANY_CALLS`.
        """
        caller, signer = self._claim(request)
        self._admit(request, body, caller, signer)
        return caller

    def meet_stranger(self, request: Request) -> None:
        """Count a request that asks for nothing that there is, so that nobody looks at its credentials.

        Raises:
            CommandRefusal: `TOO_MANY_CALLS`, where too many such have come from its address.
        """
        self._logins.meet_stranger(request)

    def _claim(self, request: Request) -> tuple[Caller, _Signer | None]:
        """Who the headers say it is, and who must have signed the call, None where all is proved."""
        scheme, _, api_key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and api_key.strip():
            return self._by_api_key(request, api_key.strip()), None
        if any(name in request.headers for name in _TOKEN_HEADERS):
            return self._by_token(request)
        if self._anonymous and not scheme:
            return _ANONYMOUS, None
        raise self._stranger(
            request,
            "send the API key of an application, Authorization: Bearer KEY, or a token with a signature:"
            f" {', '.join(_TOKEN_HEADERS)}",
        )

    def _by_api_key(self, request: Request, api_key: str) -> Caller:
        digest = hash_api_key(api_key)
        self._logins.hold_back(request, proof=digest)
        application = self._directory().find_by_api_key(api_key)
        if application is None:
            self._logins.failed(request, "no application has this API key")
            raise self._stranger(request, "no application has this API key")
        self._logins.remember(request, digest)
        return Caller(application.name, application.scopes)

    def _by_token(self, request: Request) -> tuple[Caller, _Signer]:
        """The holder of a token.

        Unknown tokens do not count as wrong credentials: they are too long to be guessed, and after a restart of the
        hub each caller comes with one, perhaps hundreds of times before it asks for another.
        """
        missing = [name for name in _TOKEN_HEADERS if not request.headers.get(name)]
        if missing:
            raise self._stranger(request, f"{' and '.join(missing)} missing")
        found = self._tokens.find(request.headers["apim-accesstoken"])
        if found is None:
            raise self._stranger(
                request, "the hub does not know this token, perhaps since it was restarted: get another"
            )
        token, application = found
        if self._tokens.is_expired(token):
            raise self._stranger(request, "the token has expired: get another, or refresh it in time")
        if not is_current(request.headers["apim-timestamp"], self._clock()):
            raise self._stranger(
                request,
                "apim-timestamp must be epoch milliseconds and within 10 minutes of the hub's clock",
            )
        return Caller(application.name, application.scopes), _Signer(token, application.secret)

    def _admit(self, request: Request, body: bytes, caller: Caller, signer: _Signer | None) -> None:
        """Check the signature, where there must be one, then count the call."""
        if signer is not None:
            token, timestamp, signature = (request.headers[name] for name in _TOKEN_HEADERS)
            expected = sign_call(token, request.query_params.multi_items(), body, timestamp, signer.secret)
            if not hmac.compare_digest(expected.encode(), signature.lower().encode()):
                # Who has the token had the secret; nobody is held back for it, as one call that is signed the wrong
                # way would keep out the others of the same application.
                self._logins.log_refusal(request, f"wrong signature of {caller.name}")
                raise self._stranger(
                    request,
                    "wrong apim-signature: it is the hex SHA-256 of token, query parameters sorted by name, body,"
                    " timestamp and secret, one after the other",
                )
        self._logins.count(caller.name)

    def _stranger(self, request: Request, message: str) -> CommandRefusal:
        """What a call without valid credentials is told; raises what it is told where too many have come."""
        self._logins.meet_stranger(request)
        return CommandRefusal(RestCode.UNAUTHORIZED, message)

    def _take_once(self, request: Request, caller: Caller, signer: _Signer) -> None:
        """Refuse a signed call that was here before.

        Whoever overheard it may have sent it, or a program on its way that sends again what it got no answer to: its
        caller cannot want a command twice. It is no 401: who is answered that logs in anew, signs anew, and has it done
        a second time.
        """
        _, timestamp, signature = (request.headers[name] for name in _TOKEN_HEADERS)
        if signer.token.calls.take(int(timestamp), signature[:_SIGNATURE_DIGITS].lower(), self._clock()):
            return
        self._logins.log_refusal(request, f"a signed call of {caller.name} came a second time")
        raise CommandRefusal(
            RestCode.REPEATED,
            "a call with this apim-signature was here before, or may have been, and is not done again: search says what"
            " became of it; to have it done once more sign it with a new apim-timestamp",
        )


def sign_call(token: str, query: Iterable[tuple[str, str]], body: bytes, timestamp: str, secret: str) -> str:
    """The signature of a call, in lower-case hex.

    Args:
        query: names and values, decoded; those of one name keep their order.
        body: as it is sent.
    """
    parameters = "".join(name + value for name, value in sorted(query, key=lambda pair: pair[0]))
    digest = hashlib.sha256((token + parameters).encode())
    digest.update(body)
    digest.update((timestamp + secret).encode())
    return digest.hexdigest()
