"""Access tokens: who gets one, how long it lasts, whose it is."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

from enos_ingest.clock import epoch_ms
from enos_ingest.devices.directory import Application, Directory
from enos_ingest.http.once import CLOCK_MILLISECONDS, Once

__all__ = ["Grant", "Login", "Token", "TokenCode", "TokenRefusal", "Tokens", "is_current", "sign_login"]

LIFETIME_SECONDS = 7200
"""As the documents have it."""

_LOGINS = 1000
"""Logins remembered of one application, some 20 minutes of one a second."""


class TokenCode(IntEnum):
    """`status` of the token service; the numbers have nothing to do with those of MQTT replies."""

    OK = 0
    REPEATED = 1001
    UNKNOWN_KEY = 1002
    WRONG_ENCRYPTION = 1003
    INVALID = 1004
    EMPTY = 1202
    EXPIRED = 1203
    REFRESH_FAILED = 1204


class TokenRefusal(Exception):  # noqa: N818 - an answer, not an error
    """No token is given: the code, and why in words."""

    def __init__(self, code: TokenCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Login:
    """What an application sends to get a token; `timestamp` in the digits that were digested."""

    app_key: str
    encryption: str
    timestamp: str


@dataclass(frozen=True, slots=True)
class Grant:
    """A token and the seconds that it has left."""

    token: str = field(repr=False)
    seconds: int


@dataclass(frozen=True, slots=True)
class Token:
    """A token that was given out.

    Attributes:
        name: of its application.
        expires: by the monotonic clock.
        calls: those that act and were signed by this application, with this token or another.
    """

    text: str = field(repr=False)
    name: str
    expires: float
    calls: Once = field(repr=False, compare=False)


@dataclass(slots=True)
class _Holder:
    """One application, as it was when its first token was made: with another key or secret it is another."""

    key: str
    secret: str = field(repr=False)
    calls: Once
    """Those that act, by their signatures."""
    tokens: list[Token] = field(default_factory=list)
    """The latest, and the one before: whoever still has that may use it until it expires."""
    logins: Once = field(default_factory=lambda: Once(_LOGINS))
    """By their encryptions."""

    def is_still(self, application: Application | None) -> bool:
        return application is not None and (application.key, application.secret) == (self.key, self.secret)


class Tokens:
    """The tokens of all applications, in memory: they end with the hub, and with their application's key or secret.

    Args:
        directory: gives the registry.
        signed_calls: how many calls that act are remembered of each application.
        now: a monotonic clock, in seconds: a step of the other one does not end a token.
        clock: epoch milliseconds.
    """

    def __init__(
        self,
        directory: Callable[[], Directory],
        *,
        signed_calls: int = 100_000,
        now: Callable[[], float] = time.monotonic,
        clock: Callable[[], int] = epoch_ms,
    ) -> None:
        self._directory = directory
        self._signed_calls = signed_calls
        self._now = now
        self._clock = clock
        self._holders: dict[str, _Holder] = {}
        """By the application's name."""
        self._tokens: dict[bytes, Token] = {}
        """By the digests of their texts: the time of a look-up tells nothing about a token."""

    def __len__(self) -> int:
        return len(self._tokens)

    def get(self, login: Login) -> Grant:
        """The token of an application: the one that it has while that is valid, else a new one.

        Raises:
            TokenRefusal: `UNKNOWN_KEY`, `WRONG_ENCRYPTION`, `INVALID` for a timestamp too far from our clock,
                `REPEATED` for a login that was here before.
        """
        application, holder = self._log_in(login, "")
        return self._latest(holder) or self._issue(application, holder)

    def refresh(self, login: Login, token: str) -> Grant:
        """A new token in place of a valid one, which stays valid until it expires or the next one is made.

        Several programs may share one application: the one that comes with the token before the latest gets the
        latest, so that they do not take turns in ending each other's.

        Raises:
            TokenRefusal: as `get`; `EXPIRED`, and `REFRESH_FAILED` for a token that is not this application's.
        """
        application, holder = self._log_in(login, token)
        found = self.find(token)
        if found is None or found[1].name != application.name:
            raise TokenRefusal(TokenCode.REFRESH_FAILED, "this is no token of this application")
        if self.is_expired(found[0]):
            raise TokenRefusal(TokenCode.EXPIRED, "the token has expired: get another")
        is_latest = found[0] is holder.tokens[0]
        return (None if is_latest else self._latest(holder)) or self._issue(application, holder)

    def find(self, text: str) -> tuple[Token, Application] | None:
        """A token, expired or not, and its application as it is now; None where either is no more or never was."""
        token = self._tokens.get(_digest(text))
        if token is None:
            return None
        application = self._directory().applications.get(token.name)
        if application is None or not self._holders[token.name].is_still(application):
            return None
        return token, application

    def is_expired(self, token: Token) -> bool:
        """Whether it is too late to use this token."""
        return token.expires <= self._now()

    def _log_in(self, login: Login, token: str) -> tuple[Application, _Holder]:
        application = self._directory().find_by_key(login.app_key)
        if application is None:
            raise TokenRefusal(TokenCode.UNKNOWN_KEY, "no application has this appKey")
        # A refresh is documented with and without the token in what is digested.
        expected = [sign_login(login.app_key, text, login.timestamp, application.secret) for text in {"", token}]
        given = login.encryption.lower().encode()
        if not any(hmac.compare_digest(each.encode(), given) for each in expected):
            raise TokenRefusal(
                TokenCode.WRONG_ENCRYPTION, "encryption is not the hex SHA-256 of appKey, timestamp and secret"
            )
        clock = self._clock()
        if not is_current(login.timestamp, clock):
            raise TokenRefusal(
                TokenCode.INVALID, "timestamp must be epoch milliseconds and within 10 minutes of the hub's clock"
            )
        holder = self._holder(application)
        if not holder.logins.take(int(login.timestamp), given.decode(), clock):
            raise TokenRefusal(TokenCode.REPEATED, "this encryption was used before: take another timestamp")
        return application, holder

    def _holder(self, application: Application) -> _Holder:
        holder = self._holders.get(application.name)
        if holder is None or not holder.is_still(application):
            self._forget_strangers()
            holder = self._holders[application.name] = _Holder(
                application.key, application.secret, Once(self._signed_calls)
            )
        return holder

    def _forget_strangers(self) -> None:
        """Forget the tokens of applications that are no longer as they were."""
        applications = self._directory().applications
        for name, holder in list(self._holders.items()):
            if not holder.is_still(applications.get(name)):
                del self._holders[name]
                for token in holder.tokens:
                    del self._tokens[_digest(token.text)]

    def _latest(self, holder: _Holder) -> Grant | None:
        """The token in force, where it lasts for a second at least."""
        if not holder.tokens:
            return None
        seconds = int(holder.tokens[0].expires - self._now())
        return Grant(holder.tokens[0].text, seconds) if seconds > 0 else None

    def _issue(self, application: Application, holder: _Holder) -> Grant:
        token = Token(secrets.token_urlsafe(32), application.name, self._now() + LIFETIME_SECONDS, holder.calls)
        self._tokens[_digest(token.text)] = token
        holder.tokens.insert(0, token)
        for old in holder.tokens[2:]:
            del self._tokens[_digest(old.text)]
        del holder.tokens[2:]
        return Grant(token.text, LIFETIME_SECONDS)


def is_current(timestamp: str, clock: int) -> bool:
    """Whether the digits of a timestamp are a time within 10 minutes of the clock, both in epoch milliseconds."""
    return re.fullmatch("[0-9]{1,16}", timestamp) is not None and abs(int(timestamp) - clock) <= CLOCK_MILLISECONDS


def sign_login(app_key: str, token: str, timestamp: str, secret: str) -> str:
    """`encryption` of a login, in lower-case hex; `token` is "" but for a refresh that has it digested."""
    return hashlib.sha256((app_key + token + timestamp + secret).encode()).hexdigest()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
