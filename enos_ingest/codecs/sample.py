"""A codec to try and to copy: compact binary frames for values, service calls, their answers and points.

    magic "EN" | version u8 = 1 | kind u8 | id u64 | fields of the kind | entries | CRC-32 u32

    kind  message                                        fields before the entries
    1     set measurement points                         none
    2     invoke a service                               its identifier: length u8, UTF-8
    3     an answer, to either and to what follows       code u16 | message: length u8, UTF-8
    4, 5  points now (post), points of the past (resume) time u64, ms; all bits set for none

    entry: type u8 | length of the name u8 | name | length of the value u8 | value
    types: 1 integer of 1, 2, 4 or 8 bytes with sign, 2 IEEE float of 4 or 8 bytes, 3 boolean of 1 byte, 4 UTF-8

All numbers are big-endian. The CRC is that of zlib, over all before it. `version` of a message is not in the frame.
"""

from __future__ import annotations

import math
import struct
import zlib
from enum import IntEnum
from typing import Any

from enos_ingest.errors import CodecError

__all__ = ["SampleCodec", "codec"]

_MAGIC = b"EN"
_VERSION = 1
_HEADER = struct.Struct(">2sBBQ")
_CRC = struct.Struct(">I")
_CODE = struct.Struct(">H")
_TIME = struct.Struct(">Q")
_NO_TIME = 2**64 - 1
_MOST_BYTES = 255

_SET = "thing.service.measurepoint.set"
_SERVICE = "thing.service."
_POST = "thing.measurepoint.post"
_RESUME = "thing.measurepoint.resume"


class _Kind(IntEnum):
    SET = 1
    INVOKE = 2
    ANSWER = 3
    POST = 4
    RESUME = 5


class _Type(IntEnum):
    INTEGER = 1
    FLOAT = 2
    BOOLEAN = 3
    TEXT = 4


class SampleCodec:
    """The codec itself; see the module for the frame, and docs/codecs.md for examples of it."""

    def encode(self, message: dict[str, Any]) -> bytes:
        """The frame of a message; CodecError where it holds what the frame cannot."""
        if "method" in message:
            kind, body = _encode_request(message)
        elif "code" in message:
            kind, body = _Kind.ANSWER, _encode_answer(message)
        else:
            raise CodecError("expected a message with a method or a code")
        frame = _HEADER.pack(_MAGIC, _VERSION, kind, _id(message.get("id"))) + body
        return frame + _CRC.pack(zlib.crc32(frame))

    def decode(self, data: bytes) -> dict[str, Any]:
        """The message of a frame; CodecError where it is damaged or none."""
        if len(data) < _HEADER.size + _CRC.size:
            raise CodecError(f"a frame has at least {_HEADER.size + _CRC.size} bytes, not {len(data)}")
        magic, version, number, request_id = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            raise CodecError('a frame starts with "EN"')
        if version != _VERSION:
            raise CodecError(f"frames have version {_VERSION}, not {version}")
        if zlib.crc32(data[: -_CRC.size]) != _CRC.unpack(data[-_CRC.size :])[0]:
            raise CodecError("the frame is damaged: its CRC is wrong")
        reader = _Reader(data[_HEADER.size : -_CRC.size])
        match number:
            case _Kind.SET:
                return _request(request_id, _SET, reader.entries())
            case _Kind.INVOKE:
                service = reader.text("a service")
                if not service or _SERVICE + service == _SET:
                    raise CodecError("a frame of kind 2 names a service")
                return _request(request_id, _SERVICE + service, reader.entries())
            case _Kind.ANSWER:
                (code,) = reader.unpack(_CODE, "a code")
                text = reader.text("a message")
                return {"id": str(request_id), "code": code, "data": reader.entries(), "message": text}
            case _Kind.POST | _Kind.RESUME:
                (time,) = reader.unpack(_TIME, "a time")
                params: dict[str, Any] = {"measurepoints": reader.entries()}
                if time != _NO_TIME:
                    params["time"] = time
                return _request(request_id, _POST if number == _Kind.POST else _RESUME, params)
            case _:
                raise CodecError(f"frames have kinds 1 to 5, not {number}")


codec = SampleCodec()
"""What a product names: `codec = "enos_ingest.codecs.sample:codec"`."""


class _Reader:
    """What is left of the frame, from front to back."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int, what: str) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) < count:
            raise CodecError(f"the frame ends within {what}")
        self._at += count
        return taken

    def unpack(self, form: struct.Struct, what: str) -> tuple[Any, ...]:
        return form.unpack(self.take(form.size, what))

    def bytes(self, what: str) -> bytes:
        """Bytes with their length in front."""
        return self.take(self.take(1, what)[0], what)

    def text(self, what: str) -> str:
        try:
            return self.bytes(what).decode()
        except UnicodeDecodeError:
            raise CodecError(f"{what} is not UTF-8") from None

    def entries(self) -> dict[str, Any]:
        """Entries to the end of the frame."""
        entries: dict[str, Any] = {}
        while self._at < len(self._data):
            kind = self.take(1, "an entry")[0]
            name = self.text("the name of an entry")
            if not name or name in entries:
                raise CodecError("names of entries are not empty, and each stands once")
            entries[name] = _decode_value(kind, self.bytes("the value of an entry"), name)
        return entries


def _request(request_id: int, method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"id": str(request_id), "version": "1.0", "method": method, "params": params}


def _encode_request(message: dict[str, Any]) -> tuple[_Kind, bytes]:
    _only(message, "", "id", "version", "method", "params")
    method, params = message["method"], message.get("params")
    if not isinstance(method, str):
        raise CodecError("method: expected a text")
    if not isinstance(params, dict):
        raise CodecError("params: expected an object")
    if method == _SET:
        return _Kind.SET, _entries(params, "params")
    if method.startswith(_SERVICE) and method != _SERVICE:
        return _Kind.INVOKE, _sized(method.removeprefix(_SERVICE), "method") + _entries(params, "params")
    if method in (_POST, _RESUME):
        _only(params, "params.", "measurepoints", "time")
        points = params.get("measurepoints")
        if not isinstance(points, dict):
            raise CodecError("params.measurepoints: expected an object")
        body = _TIME.pack(_time(params.get("time"))) + _entries(points, "params.measurepoints")
        return (_Kind.POST if method == _POST else _Kind.RESUME), body
    raise CodecError(f"method: the frame has no kind for {method}")


def _encode_answer(message: dict[str, Any]) -> bytes:
    _only(message, "", "id", "code", "data", "message")
    code, text, data = message["code"], message.get("message"), message.get("data")
    if type(code) is not int or not 0 <= code < 2**16:
        raise CodecError("code: expected a whole number from 0 to 65535")
    if not isinstance(text, str | None):
        raise CodecError("message: expected a text")
    if not isinstance(data, dict | None):
        raise CodecError("data: expected an object")
    return _CODE.pack(code) + _sized(text or "", "message") + _entries(data or {}, "data")


def _entries(values: dict[str, Any], at: str) -> bytes:
    return b"".join(_entry(name, value, f"{at}.{name}") for name, value in values.items())


def _entry(name: str, value: Any, at: str) -> bytes:
    if not name:
        raise CodecError(f"{at}: the frame has no entries without a name")
    kind, data = _encode_value(value, at)
    return bytes((kind,)) + _sized(name, at) + bytes((len(data),)) + data


def _encode_value(value: Any, at: str) -> tuple[_Type, bytes]:
    # bool is an int to Python, so its turn comes first.
    if isinstance(value, bool):
        return _Type.BOOLEAN, bytes((value,))
    if isinstance(value, int):
        for size in (1, 2, 4, 8):
            if -(2 ** (8 * size - 1)) <= value < 2 ** (8 * size - 1):
                return _Type.INTEGER, value.to_bytes(size, "big", signed=True)
        raise CodecError(f"{at}: the frame has no integers of more than 64 bits")
    if isinstance(value, float) and math.isfinite(value):
        return _Type.FLOAT, struct.pack(">f" if _is_single(value) else ">d", value)
    if isinstance(value, str):
        return _Type.TEXT, _utf8(value, at)
    raise CodecError(f"{at}: the frame holds numbers, texts, true and false, no other values")


def _decode_value(kind: int, data: bytes, name: str) -> Any:
    match kind, len(data):
        case _Type.INTEGER, 1 | 2 | 4 | 8:
            return int.from_bytes(data, "big", signed=True)
        case _Type.FLOAT, 4 | 8:
            (number,) = struct.unpack(">f" if len(data) == 4 else ">d", data)
            if math.isfinite(number):
                return number
        case _Type.BOOLEAN, 1:
            if data[0] <= 1:
                return bool(data[0])
        case _Type.TEXT, _:
            try:
                return data.decode()
            except UnicodeDecodeError:
                pass
    raise CodecError(f"{name}: not a value of the frame's types")


def _is_single(value: float) -> bool:
    """Whether four bytes hold exactly this number."""
    try:
        return bool(struct.unpack(">f", struct.pack(">f", value))[0] == value)
    except OverflowError:
        return False


def _id(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 20:
        number = int(value)
        if number < 2**64 and str(number) == value:
            return number
    raise CodecError("id: expected a text of digits, below 2**64, without leading zeros")


def _time(value: Any) -> int:
    if value is None:
        return _NO_TIME
    if type(value) is int and 0 <= value < _NO_TIME:
        return value
    raise CodecError("params.time: expected whole milliseconds")


def _sized(text: str, at: str) -> bytes:
    data = _utf8(text, at)
    return bytes((len(data),)) + data


def _utf8(text: str, at: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise CodecError(f"{at}: half of a surrogate pair is no text") from None
    if len(data) > _MOST_BYTES:
        raise CodecError(f"{at}: a text of {len(data)} bytes, and {_MOST_BYTES} are the most")
    return data


def _only(holder: dict[str, Any], at: str, *names: str) -> None:
    """Refuse a member that the frame has no place for: leaving it out would change what the message says."""
    for name in holder:
        if name not in names:
            raise CodecError(f"{at}{name}: the frame has no place for it")
