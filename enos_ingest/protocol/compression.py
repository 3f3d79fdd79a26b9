"""Payloads as the Java SDK compresses them: what it declares in its client id holds in both directions.

GZIP is an ordinary gzip stream. LZ4 is the block stream of lz4-java, not the LZ4 frame format: blocks of a header (the
magic `LZ4Block`, a token, both lengths, a checksum) and data, then a block of length 0. LZO, the SDK's third, is not
served: no library that is kept up reads its stream.
"""

from __future__ import annotations

import contextlib
import gzip
import struct
import zlib
from enum import Enum

import lz4.block
import xxhash

from enos_ingest.errors import CredentialError, PayloadError
from enos_ingest.protocol.messages import scan_id

__all__ = ["Compression", "compress", "decompress", "parse_compression"]

_GZIP_WINDOW = 31
"""What tells zlib to read a gzip stream."""

_MAGIC = b"LZ4Block"
_HEADER = struct.Struct("<8sBIII")
_PLAIN, _PACKED = 0x10, 0x20
"""The upper half of a token: how a block's data are. The lower half is how long a block of the stream may be."""
_BLOCK_BYTES = 65_536
_LEVEL = 6
"""That length, as the lower half of a token has it: 1024 << 6, as lz4-java's."""
_CHECKSUM_SEED = 0x9747B28C
_CHECKSUM_MASK = 0x0FFFFFFF
_BLOCKS = 1024
"""Blocks of one payload, 64 MiB at lz4-java's length of a block: a payload of tiny ones keeps nobody waiting."""


class Compression(Enum):
    """How the payloads of a session are compressed, by the name in the client id."""

    NONE = "DEFAULT"
    GZIP = "GZIP"
    LZ4 = "LZ4"


def parse_compression(name: str) -> Compression:
    """What a client id declares; "" where it declares nothing.

    Raises:
        CredentialError: it is not served.
    """
    try:
        return Compression(name.upper()) if name else Compression.NONE
    except ValueError:
        raise CredentialError(f"compression {name[:20]!r} is not served, only GZIP and LZ4 are") from None


def compress(how: Compression, payload: bytes) -> bytes:
    """A payload as a client with this compression reads it."""
    if how is Compression.NONE:
        return payload
    if how is Compression.GZIP:
        return gzip.compress(payload, 6, mtime=0)
    blocks = [payload[at : at + _BLOCK_BYTES] for at in range(0, len(payload), _BLOCK_BYTES)]
    return b"".join([*map(_pack, blocks), _HEADER.pack(_MAGIC, _PLAIN | _LEVEL, 0, 0, 0)])


def decompress(how: Compression, payload: bytes, limit: int) -> bytes:
    """What a client has compressed; an empty payload is one that was left out.

    Args:
        limit: the greatest length in bytes; what is longer is not decompressed to its end.

    Raises:
        PayloadError: it is longer than that, or not compressed as the client has declared; with the id that could
            still be found.
    """
    if how is Compression.NONE or not payload:
        return payload
    return _unzip(payload, limit) if how is Compression.GZIP else _unpack(payload, limit)


def _unzip(payload: bytes, limit: int) -> bytes:
    stream = zlib.decompressobj(_GZIP_WINDOW)
    try:
        plain = stream.decompress(payload, limit + 1)
    except zlib.error:
        raise PayloadError("payload is not GZIP, as the client id declares it") from None
    if len(plain) > limit:
        raise _too_long(plain, limit)
    if not stream.eof:
        raise PayloadError("the GZIP stream of the payload has no end", scan_id(plain, is_whole=False))
    if stream.unused_data:
        raise PayloadError("the payload goes on after the end of its GZIP stream", scan_id(plain))
    return plain


def _unpack(payload: bytes, limit: int) -> bytes:
    plain = bytearray()
    at = 0
    for _ in range(_BLOCKS):
        if len(payload) < at + _HEADER.size:
            break
        magic, token, length, size, checksum = _HEADER.unpack_from(payload, at)
        at += _HEADER.size
        if magic != _MAGIC:
            break
        if not size:
            if length or at != len(payload):
                break
            return bytes(plain)
        if len(plain) + size > limit:
            raise _too_long(bytes(plain), limit)
        plain += _block(token, payload[at : at + length], length, size, checksum)
        at += length
    found = scan_id(bytes(plain), is_whole=False)
    raise PayloadError("payload is not an LZ4Block stream, as the client id declares it", found)


def _block(token: int, data: bytes, length: int, size: int, checksum: int) -> bytes:
    """The bytes of one block, which are checked to be as its header says."""
    plain = data
    if token & 0xF0 == _PACKED and len(data) == length:
        with contextlib.suppress(lz4.block.LZ4BlockError):
            plain = lz4.block.decompress(data, uncompressed_size=size)
    if len(data) != length or len(plain) != size or _checksum(plain) != checksum:
        raise PayloadError("a block of the payload's LZ4Block stream is broken")
    return bytes(plain)


def _pack(block: bytes) -> bytes:
    """A block of an LZ4Block stream; one that would grow goes as it is."""
    packed: bytes = lz4.block.compress(block, store_size=False)
    method = _PACKED
    if len(packed) >= len(block):
        packed, method = block, _PLAIN
    return _HEADER.pack(_MAGIC, method | _LEVEL, len(packed), len(block), _checksum(block)) + packed


def _checksum(block: bytes) -> int:
    return xxhash.xxh32_intdigest(block, _CHECKSUM_SEED) & _CHECKSUM_MASK


def _too_long(plain: bytes, limit: int) -> PayloadError:
    return PayloadError(f"payload is over the limit of {limit} bytes once decompressed", scan_id(plain, is_whole=False))
