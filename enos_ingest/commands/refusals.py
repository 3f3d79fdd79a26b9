"""Why a call of the REST API is not granted: the codes that EnOS documents, and six of our own."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

__all__ = ["CommandRefusal", "RestCode"]


class RestCode(IntEnum):
    """`code` of a response's envelope; 0 is success.

    `DEVICE_FAILED`, `UNAUTHORIZED`, `REPEATED`, `TOO_LONG`, `TOO_MANY_CALLS` and `BUSY` are ours: EnOS documents none
    for those cases.
    """

    OK = 0
    CANNOT_ENCODE = 11810
    NOT_ACTIVATED = 11888
    OFFLINE = 11900
    CACHE_FULL = 11902
    NOT_SENT = 11904
    NOT_ANSWERED = 11915
    DEVICE_FAILED = 11999
    BAD_ARGUMENT = 99400
    UNAUTHORIZED = 99401
    FORBIDDEN = 99403
    NOT_FOUND = 99404
    REPEATED = 99409
    TOO_LONG = 99413
    TOO_MANY_CALLS = 99429
    INTERNAL = 99500
    BUSY = 99503

    @property
    def http_status(self) -> int:
        """The HTTP status of the response: 200 for every business code, else what the code ends with."""
        return int(self) - 99_000 if self >= RestCode.BAD_ARGUMENT else 200


class CommandRefusal(Exception):  # noqa: N818 - an answer, not an error
    """A call is not granted, or its command did not succeed.

    Attributes:
        code: what the caller is told.
        message: the same in words, for `msg`.
        data: `data` of the response, such as the commandId of a command that was sent; None for none.
    """

    def __init__(self, code: RestCode, message: str, data: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data
