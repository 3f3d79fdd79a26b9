"""The program of the worker process: finds codecs and calls them, one request at a time.

Whatever a codec does must stay in here. What it prints goes to standard error, never between the answers; what it
raises becomes an answer; when it overruns or dies, the hub starts another worker. The worker ends with the hub: at the
end of its input, or, while a codec does not come back, by an alarm of its own.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, NamedTuple, TypedDict

import orjson

from enos_ingest.codecs.contract import Codec, parse_entry_point
from enos_ingest.codecs.exchange import Answer, Operation, Request, Status, read_request
from enos_ingest.errors import CodecError

__all__ = ["Arguments", "Failure", "Worker", "main"]

_SHOWN_CHARACTERS = 300
"""As much as a log line shows: an exception's text may hold the whole message."""

_MIB = 1024 * 1024


class Failure(TypedDict):
    """How a codec failed.

    Attributes:
        kind: `load`, `raised`, `result`, or `memory`: after that the process is not to be used again.
        text: the predicate of a sentence whose subject is the codec.
        at: where in the codec, "" where that says nothing.
    """

    kind: str
    text: str
    at: str


class Arguments(NamedTuple):
    """The program's arguments: a folder to import codecs from, and bounds."""

    folder: str
    memory_mb: int
    result_bytes: int

    def to_argv(self) -> list[str]:
        """As they are typed."""
        return [str(value) for value in self]

    @classmethod
    def from_argv(cls, argv: list[str]) -> Arguments:
        """The other way round."""
        folder, memory_mb, result_bytes = argv
        return cls(folder, int(memory_mb), int(result_bytes))


class _FailedError(Exception):
    """Carries a failure to where it is answered."""

    def __init__(self, kind: str, text: str, at: str = "") -> None:
        super().__init__(text)
        self.failure: Failure = {"kind": kind, "text": _shorten(text), "at": at}


class Worker:
    """The codecs that were loaded, by their names.

    Args:
        result_bytes: the longest result, of `encode` in bytes, of `decode` as JSON.
    """

    def __init__(self, result_bytes: int) -> None:
        self._result_bytes = result_bytes
        self._codecs: dict[str, Codec] = {}

    def answer(self, request: Request) -> Answer:
        """Do what is asked; what a codec raises is part of the answer, except for what ends a program."""
        try:
            return Answer(Status.DONE, self._perform(request))
        except _FailedError as error:
            return Answer(Status.FAILED, orjson.dumps(error.failure))
        except CodecError as error:
            return Answer(Status.REFUSED, _words(error).encode())

    def _perform(self, request: Request) -> bytes:
        match request.operation:
            case Operation.LOAD:
                self._codecs[request.codec] = _load(request.codec)
                return b""
            case Operation.ENCODE:
                return self._encode(self._codecs[request.codec], request.payload)
            case Operation.DECODE:
                return self._decode(self._codecs[request.codec], request.payload)

    def _encode(self, codec: Codec, payload: bytes) -> bytes:
        with _failures("encode"):
            result: object = codec.encode(orjson.loads(payload))
        if not isinstance(result, (bytes, bytearray)):
            raise _FailedError("result", f"returned {_type(result)} from encode, not bytes")
        if not result:
            raise _FailedError("result", "returned no byte from encode")
        return self._bounded(bytes(result), "encode")

    def _decode(self, codec: Codec, payload: bytes) -> bytes:
        with _failures("decode"):
            result: object = codec.decode(payload)
        if not isinstance(result, dict):
            raise _FailedError("result", f"returned {_type(result)} from decode, not a dict")
        try:
            data = orjson.dumps(result)
        except TypeError as error:
            raise _FailedError("result", f"returned from decode what is no JSON: {error}") from None
        return self._bounded(data, "decode")

    def _bounded(self, result: bytes, method: str) -> bytes:
        if len(result) > self._result_bytes:
            raise _FailedError(
                "result", f"returned {len(result)} bytes from {method}, and {self._result_bytes} are the most"
            )
        return result


def main() -> None:
    """Serve the hub that started this process, until it closes our input."""
    arguments = Arguments.from_argv(sys.argv[-len(Arguments._fields) :])
    requests, answers = _take_pipes()
    _bound_memory(arguments.memory_mb)
    # Behind all others: a module of the folder cannot take the place of one that Python itself or the hub needs.
    sys.path.append(arguments.folder)
    worker = Worker(arguments.result_bytes)
    us = os.getpid()
    _send(answers, Answer(Status.DONE))
    while (request := read_request(requests)) is not None:
        # The hub kills us at once the limit; the alarm, whose default is to end the process, is for when it is gone.
        signal.setitimer(signal.ITIMER_REAL, 2 * request.limit / 1000)
        answer = worker.answer(request)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if os.getpid() != us:
            break  # a copy that a codec has forked: its answer would be taken for that of the next request
        _send(answers, answer)
    # At once: a thread that a codec has left behind would keep the process for ever.
    os._exit(0)


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Our input and output, out of the reach of a codec that reads or prints: it gets nothing, and standard error."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _bound_memory(memory_mb: int) -> None:
    """Let allocations beyond the bound fail, and leave no core file of what does crash."""
    try:
        import resource  # noqa: PLC0415 - not on every platform
    except ImportError:
        return
    for kind, wanted in ((resource.RLIMIT_AS, memory_mb * _MIB), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        bound = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        # macOS knows RLIMIT_AS and refuses to set it.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (bound, bound))


def _send(answers: BinaryIO, answer: Answer) -> None:
    answers.write(answer.to_bytes())
    answers.flush()


def _load(text: str) -> Codec:
    name, attribute = parse_entry_point(text)
    # A module that was mended after it failed is looked for again.
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(name)
    except Exception as error:  # noqa: BLE001 - a module may raise anything
        text = f"cannot be imported: {_described(error)}"
        raise _FailedError(_kind_of(error, "load"), text, _place(error)) from None
    if not hasattr(module, attribute):
        raise _FailedError("load", f"is not there: module {name} has no {attribute}", _file(module))
    codec: Any = getattr(module, attribute)
    if isinstance(codec, type):
        raise _FailedError("load", f"is a class: name an object, such as codec = {attribute}()", _file(module))
    for method in ("encode", "decode"):
        if not callable(getattr(codec, method, None)):
            raise _FailedError("load", f"has no method {method}", _file(module))
    found: Codec = codec
    return found


class _failures(contextlib.AbstractContextManager[None]):  # noqa: N801 - reads as the statement it is
    """What a codec raises while it is called, as a failure; a refusal in its own words passes."""

    def __init__(self, method: str) -> None:
        self._method = method

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, CodecError):
            text = f"raised {_described(error, f' in {self._method}')}"
            raise _FailedError(_kind_of(error, "raised"), text, _place(error)) from None


def _kind_of(error: Exception, usual: str) -> str:
    return "memory" if isinstance(error, MemoryError) else usual


def _described(error: Exception, where: str = "") -> str:
    words = _words(error)
    name = f"{type(error).__name__}{where}"
    return f"{name}: {words}" if words else name


def _words(error: Exception) -> str:
    """An exception's own text, which is a codec's too and may fail in its turn."""
    try:
        return _shorten(str(error))
    except Exception:  # noqa: BLE001
        return ""


def _type(result: object) -> str:
    return "None" if result is None else f"a value of type {type(result).__name__}"


def _shorten(text: str) -> str:
    """The text in bounds and on one line; half of a surrogate pair, which is no UTF-8, is written out."""
    cut = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
    return " ".join(cut.split()).encode("utf-8", "backslashreplace").decode()


def _place(error: Exception) -> str:
    """Where it was raised: the file's name and the line; "" where no code of a codec was reached."""
    ours = (__file__, importlib.__file__, "<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename not in ours]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def _file(module: ModuleType) -> str:
    return str(getattr(module, "__file__", None) or "")
