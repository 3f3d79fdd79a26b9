"""Payloads as the Java SDK compresses them, byte for byte, and what is no such payload."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.errors import CredentialError, PayloadError
from enos_ingest.protocol.compression import Compression, compress, decompress, parse_compression

LIMIT = 1000

REQUEST = b'{"id":"7","version":"1.1","method":"thing.measurepoint.post","params":{"measurepoints":{"temp":21.5}}}'

LZ4_HELLO = bytes.fromhex(
    "4c5a34426c6f636b"  # LZ4Block
    "16"  # as it is, in a stream of blocks of 64 KiB
    "05000000"
    "05000000"
    "e3bf410a"  # the checksum: 28 bits of XXH32 with lz4-java's seed
    "68656c6c6f"  # hello
    "4c5a34426c6f636b16000000000000000000000000"  # the end
)
"""What `LZ4BlockOutputStream` of lz4-java writes for `hello`."""

JAVA_STREAMS: dict[str, dict[str, str]] = json.loads(
    (Path(__file__).parents[1] / "samples/java-streams.json").read_text(encoding="utf-8")
)
"""As base64, what `LZ4BlockOutputStream` of lz4-java 1.8.0 and `GZIPOutputStream` of OpenJDK 17 have written, each by
its constructor without further arguments, for one `write` of the plain text and `close`. The block of 1 MiB is the
text of `several blocks`, by `LZ4BlockOutputStream(out, 1 << 20, fastestJavaInstance().highCompressor())`."""


def digits(length: int) -> bytes:
    """A text that gets much shorter."""
    return bytes(ord("0") + place % 10 for place in range(length))


def noise(length: int) -> bytes:
    """Bytes that no compression makes shorter."""
    state, found = 1, bytearray()
    for _ in range(length):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        found.append(state >> 16 & 0xFF)
    return bytes(found)


JAVA_PLAIN = {
    "empty": b"",
    "one byte": b"a",
    "a request": REQUEST,
    "noise": noise(200),
    "a block": digits(65_536),
    "a block and a byte": digits(65_537),
    "several blocks": digits(200_000),
    "one block of 1 MiB": digits(200_000),
}


def header(token: int, length: int, size: int, checksum: int = 0) -> bytes:
    """The header of a block."""
    return struct.pack("<8sBIII", b"LZ4Block", token, length, size, checksum)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("", Compression.NONE),
        ("DEFAULT", Compression.NONE),
        ("GZIP", Compression.GZIP),
        ("gzip", Compression.GZIP),
        ("LZ4", Compression.LZ4),
    ],
)
def test_what_a_client_declares_is_understood_in_any_case(name: str, how: Compression) -> None:
    """Nothing, and the SDK's DEFAULT, stand for none."""
    assert parse_compression(name) is how


@pytest.mark.parametrize("name", ["LZO", "zstd", "x" * 1000])
def test_what_is_not_served_is_refused_in_a_short_sentence(name: str) -> None:
    """It says what is."""
    with pytest.raises(CredentialError, match="is not served, only GZIP and LZ4 are") as caught:
        parse_compression(name)
    assert len(str(caught.value)) < 100


@given(st.sampled_from(Compression), st.one_of(st.binary(max_size=300), st.just(b"ab" * 100_000)))
def test_what_is_compressed_is_read_again(how: Compression, payload: bytes) -> None:
    """Also what does not get shorter by it, and what fills several blocks."""
    assert decompress(how, compress(how, payload), 1_000_000) == payload


def test_gzip_is_an_ordinary_stream() -> None:
    """As others read and write it."""
    assert gzip.decompress(compress(Compression.GZIP, REQUEST)) == REQUEST
    assert decompress(Compression.GZIP, gzip.compress(REQUEST), LIMIT) == REQUEST


def test_lz4_is_the_stream_of_lz4_java() -> None:
    """Byte for byte."""
    assert decompress(Compression.LZ4, LZ4_HELLO, LIMIT) == b"hello"
    assert compress(Compression.LZ4, b"hello") == LZ4_HELLO
    assert compress(Compression.LZ4, b"") == LZ4_HELLO[-21:]
    assert compress(Compression.LZ4, b"a" * 100)[8] == 0x26


@pytest.mark.parametrize(("name", "how"), [(name, how) for name, streams in JAVA_STREAMS.items() for how in streams])
def test_what_java_has_written_is_read(name: str, how: str) -> None:
    """Its bytes: no block, one that got no shorter, one that is full, several."""
    plain, stream = JAVA_PLAIN[name], base64.b64decode(JAVA_STREAMS[name][how])
    assert decompress(Compression(how), stream, max(len(plain), 1)) == plain


def test_java_streams_are_there_for_each_text() -> None:
    """None is left out of the test above."""
    assert JAVA_STREAMS.keys() == JAVA_PLAIN.keys()
    assert sum(len(streams) for streams in JAVA_STREAMS.values()) == 15


@pytest.mark.parametrize("how", [Compression.GZIP, Compression.LZ4])
def test_an_empty_payload_is_none(how: Compression) -> None:
    """It was left out, not compressed."""
    assert decompress(how, b"", LIMIT) == b""


@pytest.mark.parametrize("how", [Compression.GZIP, Compression.LZ4])
def test_the_limit_holds_after_decompression(how: Compression) -> None:
    """Exactly."""
    assert decompress(how, compress(how, bytes(LIMIT)), LIMIT) == bytes(LIMIT)
    with pytest.raises(PayloadError, match="over the limit of 1000 bytes once decompressed"):
        decompress(how, compress(how, bytes(LIMIT + 1)), LIMIT)


def test_a_bomb_is_not_let_off() -> None:
    """A stream of 64 MiB is left as soon as it is over the limit, and the id at its beginning is found."""
    bomb = compress(Compression.GZIP, b'{"id":"9","x":"' + bytes(2**26))
    assert len(bomb) < 100_000
    with pytest.raises(PayloadError, match="over the limit") as caught:
        decompress(Compression.GZIP, bomb, LIMIT)
    assert caught.value.request_id == "9"


def test_a_block_that_claims_to_be_long_is_not_made() -> None:
    """Its header is enough."""
    with pytest.raises(PayloadError, match="over the limit"):
        decompress(Compression.LZ4, header(0x2F, 10, 2**32 - 1) + bytes(10), LIMIT)


def test_blocks_are_counted() -> None:
    """Whoever sends tiny ones is not read to the end."""
    block = LZ4_HELLO[:26]
    few, many = block * 100 + LZ4_HELLO[-21:], block * 2000 + LZ4_HELLO[-21:]
    assert decompress(Compression.LZ4, few, 100_000) == b"hello" * 100
    with pytest.raises(PayloadError, match="not an LZ4Block stream"):
        decompress(Compression.LZ4, many, 100_000)


ZIPPED = compress(Compression.GZIP, REQUEST)

FAULTS = {
    "no gzip": (Compression.GZIP, REQUEST, "payload is not GZIP"),
    "gzip cut short": (Compression.GZIP, ZIPPED[:-1], "has no end"),
    "gzip and more": (Compression.GZIP, ZIPPED + b"x", "goes on after the end"),
    "gzip with a wrong checksum": (Compression.GZIP, ZIPPED[:-8] + bytes(8), "payload is not GZIP"),
    "deflate without gzip": (Compression.GZIP, zlib.compress(REQUEST), "payload is not GZIP"),
    "no LZ4": (Compression.LZ4, REQUEST, "payload is not an LZ4Block stream"),
    "shorter than a header": (Compression.LZ4, b"LZ4Block", "payload is not an LZ4Block stream"),
    "LZ4 without its end": (Compression.LZ4, LZ4_HELLO[:-21], "payload is not an LZ4Block stream"),
    "LZ4 and more": (Compression.LZ4, LZ4_HELLO + b"x", "payload is not an LZ4Block stream"),
    "an end with data": (Compression.LZ4, header(0x16, 1, 0) + b"x", "payload is not an LZ4Block stream"),
    "a block cut short": (Compression.LZ4, LZ4_HELLO[:24], "a block of the payload's LZ4Block stream is broken"),
    "a wrong checksum": (Compression.LZ4, header(0x16, 5, 5, 1) + b"hello", "is broken"),
    "a plain block of two lengths": (Compression.LZ4, header(0x16, 5, 6) + b"hello", "is broken"),
    "a block in another way": (Compression.LZ4, header(0x36, 5, 6) + b"hello", "is broken"),
    "a packed block that is none": (Compression.LZ4, header(0x26, 5, 100) + b"hello", "is broken"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_is_not_compressed_as_declared_is_told_in_a_sentence(case: str) -> None:
    """The client is told which of the two it is."""
    how, payload, said = FAULTS[case]
    with pytest.raises(PayloadError, match=said):
        decompress(how, payload, LIMIT)


@pytest.mark.parametrize("how", [Compression.GZIP, Compression.LZ4])
@given(payload=st.binary(max_size=200))
def test_any_bytes_are_a_payload_or_a_payload_error(how: Compression, payload: bytes) -> None:
    """Strangers send anything."""
    with contextlib.suppress(PayloadError):
        assert len(decompress(how, payload, LIMIT)) <= LIMIT


@given(st.integers(0, 60), st.binary(max_size=20))
def test_a_stream_that_is_broken_anywhere_is_told_from_a_whole_one(at: int, change: bytes) -> None:
    """Whatever is changed in a good one, nothing but its own bytes come out."""
    broken = LZ4_HELLO[:at] + change + LZ4_HELLO[at + len(change) :]
    if broken == LZ4_HELLO:
        return
    with contextlib.suppress(PayloadError):
        assert decompress(Compression.LZ4, broken, LIMIT) == b"hello"
