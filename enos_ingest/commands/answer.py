"""What a device answers to a command.

The four SDKs differ: `code` is a number or its digits, `data` and `message` are often missing. Success is 200, and 0:
the Python SDK sends that where the program does not say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from enos_ingest.errors import PayloadError
from enos_ingest.protocol.messages import decode_request, request_id

__all__ = ["Answer", "parse_answer", "read_answer"]

_SUCCESS = (0, 200)
_CODE = re.compile(r"-?[0-9]{1,18}")
_CODE_BOUND = 10**18
"""Codes are kept as integers of 64 bits."""

_MESSAGE_CHARACTERS = 1000
"""What is kept of a device's own words, which are handed on to whoever sent the command."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer.

    Attributes:
        id: of the command, "" where none could be found.
        code: None where the device gave none that can be read.
        message: the device's words, or ours where its answer cannot be read.
        data: what a service put out, None for nothing.
    """

    id: str
    code: int | None
    message: str = ""
    data: Any = None

    @property
    def is_success(self) -> bool:
        """Whether the device did what it was told."""
        return self.code in _SUCCESS


def parse_answer(payload: bytes, limit: int, size: int | None = None) -> Answer:
    """The answer in a payload; one that cannot be read is a failure that says why.

    Args:
        limit: the greatest length in bytes.
        size: the length as received, where `payload` is only the beginning of what was over the limit.
    """
    try:
        document = decode_request(payload, limit, size)
    except PayloadError as error:
        return Answer(error.request_id, None, f"the answer cannot be read: {error}")
    return read_answer(document, payload)


def read_answer(document: dict[str, Any], payload: bytes = b"") -> Answer:
    """The answer that a JSON object is; `payload`, where there is one, still has all digits of a long id."""
    identifier = request_id(document, payload)
    code = _read_code(document.get("code"))
    if code is None:
        return Answer(identifier, None, "the answer has no code that is a number")
    message = document.get("message")
    text = message[:_MESSAGE_CHARACTERS] if isinstance(message, str) else ""
    data = document.get("data")
    if data:
        # It is stored and handed on within other JSON; what is parsed may be nested deeper than what can be written.
        try:
            orjson.dumps([[[[data]]]])
        except orjson.JSONEncodeError as error:
            return Answer(identifier, None, f"the data of the answer cannot be kept: {error}")
    return Answer(identifier, code, text, data)


def _read_code(value: object) -> int | None:
    match value:
        case bool():
            return None
        case int() | float() if -_CODE_BOUND < value < _CODE_BOUND and value == int(value):
            return int(value)
        case str() if _CODE.fullmatch(value):
            return int(value)
        case _:
            return None
