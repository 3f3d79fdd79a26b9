"""The worker's answers, in this process: what a codec may do wrong, each in one sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from enos_ingest.codecs.exchange import Answer, Operation, Request, Status
from enos_ingest.codecs.worker import Arguments, Worker
from tests.codecs.site import BOUND, MESSAGE, PLAIN, write, write_method

NO_JSON = "returned from decode what is no JSON"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that modules are imported from; they are forgotten after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def ask(worker: Worker, operation: Operation, codec: str, payload: bytes = b"") -> Answer:
    """The worker's answer to one request."""
    return worker.answer(Request(operation, codec, payload, 1000))


def failure(answer: Answer) -> tuple[str, str, str]:
    """The kind, sentence and place of a failure."""
    assert answer.status == Status.FAILED
    kind, text, at = orjson.loads(answer.payload).values()
    return kind, text, at


def loaded(codec: str) -> Worker:
    """A worker that has found this codec."""
    worker = Worker(BOUND)
    assert ask(worker, Operation.LOAD, codec) == Answer(Status.DONE)
    return worker


def test_a_codec_is_found_and_called(folder: Path) -> None:
    """A message becomes bytes, and bytes a message."""
    codec = write(folder, "plain", PLAIN).codec
    worker = loaded(codec)
    data = orjson.dumps(MESSAGE)
    encoded = ask(worker, Operation.ENCODE, codec, data)
    assert (encoded.status, orjson.loads(encoded.payload)) == (Status.DONE, MESSAGE)
    assert ask(worker, Operation.DECODE, codec, data) == Answer(Status.DONE, data)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nothing_like_it", "cannot be imported: ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("codec =", "cannot be imported: SyntaxError: invalid syntax (broken.py, line 1)"),
        ("raise ValueError", "cannot be imported: ValueError"),
        ("x = 1", "is not there: module broken has no codec"),
        ("class codec:\n  encode = decode = print", "is a class: name an object, such as codec = codec()"),
        ("codec = 1", "has no method encode"),
        ("class A:\n  encode, decode = print, 1\ncodec = A()", "has no method decode"),
    ],
)
def test_a_codec_that_cannot_be_used_is_described(folder: Path, source: str, said: str) -> None:
    """Whatever is wrong with its module."""
    codec = write(folder, "broken", source).codec
    kind, text, _ = failure(ask(Worker(BOUND), Operation.LOAD, codec))
    assert (kind, text) == ("load", said)


def test_a_module_that_is_not_there_is_named() -> None:
    """No place in a file is, as none was reached."""
    assert failure(ask(Worker(BOUND), Operation.LOAD, "no_such.module:codec")) == (
        "load",
        "cannot be imported: ModuleNotFoundError: No module named 'no_such'",
        "",
    )


def test_a_module_that_was_mended_is_imported(folder: Path) -> None:
    """One that failed leaves nothing behind."""
    codec = write(folder, "mended", "raise RuntimeError").codec
    worker = Worker(BOUND)
    assert failure(ask(worker, Operation.LOAD, codec))[2] == "mended.py:1"
    write(folder, "mended", PLAIN)
    assert ask(worker, Operation.LOAD, codec) == Answer(Status.DONE)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return None", "returned None from {0}, not {1}"),
        ("return 'text'", "returned a value of type str from {0}, not {1}"),
        ("return 7", "returned a value of type int from {0}, not {1}"),
    ],
)
def test_a_result_of_the_wrong_type_is_described(folder: Path, body: str, said: str) -> None:
    """Of both methods."""
    codec = write_method(folder, "wrong", body).codec
    worker = loaded(codec)
    for operation, names in ((Operation.ENCODE, ("encode", "bytes")), (Operation.DECODE, ("decode", "a dict"))):
        assert failure(ask(worker, operation, codec, b"{}")) == ("result", said.format(*names), "")


@pytest.mark.parametrize(
    ("operation", "body", "said"),
    [
        (Operation.ENCODE, "return b''", "returned no byte from encode"),
        (Operation.ENCODE, f"return bytes({BOUND + 1})", "returned 4097 bytes from encode, and 4096 are the most"),
        (
            Operation.DECODE,
            f"return {{'a': 'x' * {BOUND - 7}}}",
            "returned 4097 bytes from decode, and 4096 are the most",
        ),
        (Operation.DECODE, "return {1: 2}", f"{NO_JSON}: Dict key must be str"),
        (Operation.DECODE, "return {'a': {1}}", f"{NO_JSON}: Type is not JSON serializable: set"),
        (Operation.DECODE, "d = {}\nd['d'] = d\nreturn d", f"{NO_JSON}: Recursion limit reached"),
    ],
)
def test_a_result_that_is_of_no_use_is_described(folder: Path, operation: Operation, body: str, said: str) -> None:
    """Empty, too long, or no JSON."""
    codec = write_method(folder, "useless", body).codec
    assert failure(ask(loaded(codec), operation, codec, b"{}")) == ("result", said, "")


def test_the_longest_result_is_taken(folder: Path) -> None:
    """Of both methods, and of encode as a bytearray too."""
    codec = write_method(
        folder, "long", f"return bytearray({BOUND}) if isinstance(value, dict) else {{'a': 'x' * {BOUND - 8}}}"
    ).codec
    worker = loaded(codec)
    assert ask(worker, Operation.ENCODE, codec, b"{}") == Answer(Status.DONE, bytes(BOUND))
    assert len(ask(worker, Operation.DECODE, codec, b"").payload) == BOUND


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ("raise ValueError('x')", "raised", "raised ValueError in {0}: x"),
        ("raise ValueError", "raised", "raised ValueError in {0}"),
        ("raise KeyError('missing')", "raised", "raised KeyError in {0}: 'missing'"),
        ("raise ValueError('a\\n' + 'b' * 1000)", "raised", f"raised ValueError in {{0}}: a {'b' * 269}..."),
        ("raise ValueError('\\ud800')", "raised", "raised ValueError in {0}: \\ud800"),
        ("raise MemoryError", "memory", "raised MemoryError in {0}"),
        ("class Odd(Exception):\n    __str__ = None\nraise Odd", "raised", "raised Odd in {0}"),
    ],
)
def test_what_a_codec_raises_is_described(folder: Path, body: str, kind: str, said: str) -> None:
    """Its type and words, on one line, bounded; and where."""
    codec = write_method(folder, "raising", body).codec
    worker = loaded(codec)
    for operation, name in ((Operation.ENCODE, "encode"), (Operation.DECODE, "decode")):
        found, text, at = failure(ask(worker, operation, codec, b"{}"))
        assert (found, text) == (kind, said.format(name))
        assert at.startswith("raising.py:")


def test_a_refusal_is_in_the_codecs_own_words(folder: Path) -> None:
    """The caller reads them, so they are on one line and bounded."""
    body = "from enos_ingest.codecs import CodecError\nraise CodecError(value['words'])"
    codec = write_method(folder, "refusing", body).codec
    worker = loaded(codec)
    for words, said in {"at most 5": b"at most 5", "a\nb": b"a b", "x" * 400: b"x" * 300 + b"...", "": b""}.items():
        payload: Any = orjson.dumps({"words": words})
        assert ask(worker, Operation.ENCODE, codec, payload) == Answer(Status.REFUSED, said)


def test_arguments_are_read_as_they_were_typed() -> None:
    """Between the hub and its worker."""
    arguments = Arguments("/a folder", 512, 524_288)
    assert Arguments.from_argv(arguments.to_argv()) == arguments
