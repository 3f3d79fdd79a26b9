"""How often applications may call, and how often an address may come without valid credentials."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.requests import Request

from enos_ingest.commands.refusals import CommandRefusal, RestCode
from enos_ingest.http.bounds import Refused
from enos_ingest.http.rates import Buckets
from enos_ingest.logs import FewLines, get_logger
from enos_ingest.sockets import source_of

__all__ = ["Logins"]

log = get_logger(__name__)

_FAILURES = 20
"""Wrong credentials from one address at once: somebody who tries out a configuration is not locked out."""

_FAILURES_PER_SECOND = 1.0
"""And then: 90 000 guesses a day find no secret that was made by a machine."""

_SOURCES = 10_000
"""Addresses remembered that failed lately: who has more of them is not held back by a limit on one."""

_APPLICATIONS = 10_000
"""Applications whose calls are counted: more than one hub has."""

_PROVEN = 1000
"""API keys remembered as right: who has one is let in while somebody else behind the same address tries others."""


class Logins:
    """Counts calls by application, and those without valid credentials by the address that they come from.

    Args:
        calls_per_second: of one application; as many may come at once.
        strangers_per_second: requests without valid credentials from one address; as many may come at once.
        refused: told of each that is over that.
        now: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        calls_per_second: int,
        strangers_per_second: int = 100,
        *,
        refused: Callable[[Refused], None] = lambda _: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = now
        self._strangers = Buckets(strangers_per_second, strangers_per_second, _SOURCES)
        self._strangers_per_second = strangers_per_second
        self._refused = refused
        self._calls = Buckets(calls_per_second, calls_per_second, _APPLICATIONS)
        self._failures = Buckets(_FAILURES_PER_SECOND, _FAILURES, _SOURCES)
        self._proven: dict[tuple[str | bytes, str], None] = {}
        """Addresses with what they proved themselves by, the latest last."""
        self._lines = FewLines()
        self._per_second = calls_per_second

    def count(self, application: str) -> None:
        """Count a call; raises `TOO_MANY_CALLS` where the application has made too many."""
        if not self._calls.take(application, self._now()):
            raise CommandRefusal(
                RestCode.TOO_MANY_CALLS,
                f"{application} makes more calls than limits.calls_per_second = {self._per_second} allows",
            )

    def hold_back(self, request: Request, claim: str = "", proof: str = "") -> None:
        """Raise `TOO_MANY_CALLS` where too many wrong credentials have come from this address.

        Args:
            claim: which application the caller says it is, by a name that is known; each has a bucket of its own, so
                that guesses at one do not lock the others out. "" where it says none.
            proof: what `remember` was told when the same credentials were right: they pass.
        """
        source = _source(request)
        if (source, proof) in self._proven or self._failures.has((source, claim), self._now()):
            return
        raise CommandRefusal(RestCode.TOO_MANY_CALLS, "too many wrong credentials from this address, try again later")

    def meet_stranger(self, request: Request) -> None:
        """Count a request that is refused for want of valid credentials; who has them is never asked here.

        Raises:
            CommandRefusal: `TOO_MANY_CALLS`, where too many have come from this address.
        """
        if self._strangers.take(_source(request), self._now()):
            return
        self._refused("strangers")
        raise CommandRefusal(
            RestCode.TOO_MANY_CALLS,
            "more requests without valid credentials come from this address than limits.http_strangers_per_second ="
            f" {self._strangers_per_second} allows",
        )

    def remember(self, request: Request, proof: str) -> None:
        """Credentials were right; `proof` stands for them and gives nothing away, such as their digest."""
        key = (_source(request), proof)
        self._proven.pop(key, None)
        self._proven[key] = None
        if len(self._proven) > _PROVEN:
            del self._proven[next(iter(self._proven))]

    def failed(self, request: Request, reason: str, claim: str = "") -> None:
        """Count and log wrong credentials; `reason` is a sentence without them."""
        self._failures.take((_source(request), claim), self._now())
        self.log_refusal(request, reason)

    def log_refusal(self, request: Request, reason: str) -> None:
        """Log wrong credentials; a flood of them makes few lines."""
        unsaid = self._lines.next()
        if unsaid is not None:
            more = {"more": unsaid} if unsaid else {}
            log.warning("call refused", address=_address(request), reason=reason, **more)


def _address(request: Request) -> str:
    # There is no address behind a Unix socket, which uvicorn could be given.
    return request.client.host if request.client is not None else ""


def _source(request: Request) -> str | bytes:
    return source_of(_address(request))
