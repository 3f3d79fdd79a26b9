"""What a codec is, and how a product names one."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Protocol

from enos_ingest.errors import CodecError

__all__ = ["Codec", "EntryPoint", "parse_entry_point"]

_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_ENTRY_POINT = re.compile(rf"({_NAME}(?:\.{_NAME})*):({_NAME})")


class Codec(Protocol):
    """Translates between a product's bytes and the JSON messages of the protocol; no method may keep state.

    A message is a request `{id, version, method, params}` or an answer `{id, code, data, message}`: on the raw topics
    nothing but the bytes says which, and whose `id` it has, so the bytes must hold all of that.
    """

    def encode(self, message: dict[str, Any]) -> bytes:
        """The bytes for a device; raises CodecError, in one sentence, for what the format cannot hold."""
        ...

    def decode(self, data: bytes) -> dict[str, Any]:
        """The message that a device sent; raises CodecError, in one sentence, for bytes that hold none."""
        ...


class EntryPoint(NamedTuple):
    """Where a codec is: the attribute of a module."""

    module: str
    attribute: str


def parse_entry_point(text: str) -> EntryPoint:
    """The parts of `package.module:attribute`; raises CodecError for any other text."""
    found = _ENTRY_POINT.fullmatch(text)
    if found is None:
        raise CodecError("expected package.module:attribute as a product's codec")
    return EntryPoint(found[1], found[2])
