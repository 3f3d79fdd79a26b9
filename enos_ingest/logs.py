"""Log lines: structlog's bound loggers over the standard library, for people or as JSON."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Collection, Mapping, MutableMapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TextIO

import orjson
import structlog

from enos_ingest.line_writer import LineWriter

__all__ = ["FewLines", "LogEvent", "configure_logging", "dropped_lines", "flush_logs", "get_logger"]

_VALUE_CHARACTERS = 300
"""Enough for any topic, sentence or key; a payload or packet that gets into a line must not fill the disk."""

_ITEMS = 20
"""Items shown of a list or mapping, for the same reason."""

_DEPTH = 3
"""Levels shown of lists and mappings in each other."""

_TRACEBACK_LINES = 60

_WAITING_CHARACTERS = 4_194_304
"""What waits for a reader of the log that has stalled: some 20000 lines. Then lines are dropped, as devices must not
wait for whoever reads the log."""

_FLUSH_SECONDS = 2.0
"""How long the end of the process waits for such a reader."""

_MASK = "***"
_SECRET = re.compile(r"(?:^|_)(?:password|secret|sign|token|api_key|authorization)(?:_hash)?$")
_RESERVED = ("time", "level", "event", "logger")
_COLOURS = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "31;1"}

_FOREIGN_LEVELS = {
    # Every disconnection and refused login is a warning or an error to them; ours says it once, with the device.
    "amqtt": (logging.CRITICAL, logging.INFO),
    "transitions": (logging.CRITICAL, logging.WARNING),
    "uvicorn": (logging.WARNING, logging.INFO),
    "uvicorn.error": (logging.WARNING, logging.INFO),
    "uvicorn.access": (logging.CRITICAL, logging.INFO),
    "paho": (logging.WARNING, logging.INFO),
    "asyncio": (logging.WARNING, logging.INFO),
}
"""Loggers of libraries: the least level written, in general and where our own level is debug."""


# Not configured, as in somebody's tests, we stay silent: without a handler of ours the standard library would
# write warnings to standard error by itself.
logging.getLogger("enos_ingest").addHandler(logging.NullHandler())


class LogEvent(dict[str, Any]):
    """What a logger was given: `event` and the fields; as text a plain line, for handlers that are not ours."""

    def __str__(self) -> str:
        fields = {key: value for key, value in self.items() if key != "event"}
        return _sentence(str(self.get("event")), _clean_fields(fields))


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger that takes a sentence and fields: `log.info("device connected", device=..., address=...)`.

    It hands every line to the standard library's logger of that name. structlog's own configuration, which
    belongs to the program that we may be a guest in, is neither read nor changed.
    """
    processors: list[structlog.typing.Processor] = [
        structlog.stdlib.filter_by_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        _hand_to_logging,
    ]
    return structlog.stdlib.BoundLogger(logging.getLogger(name), processors, {})


def configure_logging(level: str, format: str, stream: TextIO | None = None) -> None:  # noqa: A002 the setting's name
    """Write log lines to `stream`, standard error by default; a second call replaces the first.

    They are written by a thread of their own: whoever logs never waits for the reader of the stream. At the end of
    the process what was logged is still written; one that ends without it, as by `os._exit`, calls `flush_logs`.

    Args:
        level: debug, info, warning or error: the least level of our own lines. Libraries write fewer.
        format: human, json, or auto: human where the stream is a terminal.
    """
    out = stream if stream is not None else sys.stderr
    terminal = out.isatty()
    human = format == "human" or (format == "auto" and terminal)
    handler = _OurHandler(out)
    handler.setFormatter(
        _HumanFormatter(colours=terminal and not os.environ.get("NO_COLOR")) if human else _JsonFormatter()
    )
    root = logging.getLogger()
    for old in _our_handlers():
        root.removeHandler(old)
        old.flush()
        old.close()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("enos_ingest").setLevel(level.upper())
    for name, (usual, debugging) in _FOREIGN_LEVELS.items():
        logging.getLogger(name).setLevel(debugging if level == "debug" else usual)


def flush_logs() -> None:
    """Wait until what was logged is written, but not for long where the reader has stalled."""
    for handler in _our_handlers():
        handler.flush()


def dropped_lines() -> int:
    """How many log lines could not be written, as their reader was too slow or the stream refused them."""
    return sum(handler.dropped for handler in _our_handlers())


class _OurHandler(logging.Handler):
    """Hands lines to the thread that writes them.

    A type of its own, so that a second configuration finds the first one's handler and no other.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._writer = LineWriter(stream, self._say_dropped, characters=_WAITING_CHARACTERS)

    @property
    def dropped(self) -> int:
        """How many lines could not be written."""
        return self._writer.dropped

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.write(self.format(record) + "\n")
        except Exception:  # noqa: BLE001 - a line that cannot be made must not end what it tells of
            self.handleError(record)

    def flush(self) -> None:
        self._writer.flush(_FLUSH_SECONDS)

    def close(self) -> None:
        self._writer.close()
        super().close()

    def _say_dropped(self, lines: int) -> str:
        event = LogEvent({"event": "log lines were dropped, their reader was too slow or refused them", "lines": lines})
        return self.format(logging.LogRecord(__name__, logging.WARNING, __file__, 0, event, None, None)) + "\n"


def _our_handlers() -> list[_OurHandler]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, _OurHandler)]


class _JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, event, logger, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        event, fields = _read(record)
        line: dict[str, object] = {
            "time": _utc(record.created),
            "level": record.levelname.lower(),
            "event": event,
            "logger": record.name,
        }
        for key, value in fields.items():
            line[f"{key}_" if key in _RESERVED else key] = value
        if record.exc_info:
            line["exception"] = "\n".join(_traceback(record))
        text = orjson.dumps(line).decode()
        # JSON itself escapes only the first 32; others can end a line for some readers, or steer a terminal.
        return text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


class _HumanFormatter(logging.Formatter):
    """Local time, level, sentence, fields; a traceback is set off by a bar on each line."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        event, fields = _read(record)
        # Local time is what the person at this terminal compares with.
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        level = f"{record.levelname.lower():<8}"
        if self._colours:
            time = f"\x1b[2m{time}\x1b[0m"
            level = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{level}\x1b[0m"
        lines = [f"{time} {level} {_sentence(event, fields)}"]
        if record.exc_info:
            lines += [f"    | {_escape(line)}" for line in _traceback(record)]
        return "\n".join(lines)


def _hand_to_logging(_logger: Any, _method: str, event_dict: MutableMapping[str, Any]) -> tuple[Any, Any]:
    """The last processor: a call of the standard library's logger, with the exception where handlers look for it."""
    exc_info = event_dict.pop("exc_info", None)
    # Four frames up is the line that logs: structlog is the three between.
    return (LogEvent(event_dict),), {"exc_info": exc_info, "stacklevel": 4}


def _read(record: logging.LogRecord) -> tuple[str, dict[str, object]]:
    """The sentence and the cleaned fields of any record, ours or a library's."""
    if isinstance(record.msg, LogEvent):
        fields = dict(record.msg)
        return _cut(str(fields.pop("event", ""))), _clean_fields(fields)
    return _cut(record.getMessage()), {}


def _clean_fields(fields: Mapping[str, Any]) -> dict[str, object]:
    return {str(key): _MASK if _is_secret(str(key), value) else _clean(value) for key, value in fields.items()}


def _is_secret(name: str, value: object) -> bool:
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.replace("-", "_")).lower()
    return value is not None and _SECRET.search(snake) is not None


def _clean(value: object, depth: int = 0) -> object:
    """The value as something that JSON holds, secrets masked, cut to a bearable size."""
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        # JSON writers take 64 bits, and Python no more than 4300 digits.
        return value if -(2**63) <= value < 2**64 else _cut(hex(value))
    if isinstance(value, bytes):
        return _cut(value[: _VALUE_CHARACTERS + 1].decode("utf-8", "backslashreplace"))
    # A tuple with a text of its own, such as a device id, is one value and no list.
    if isinstance(value, (Mapping, list, set, frozenset)) or type(value) is tuple:
        return _clean_items(value, depth + 1) if depth < _DEPTH else "..."
    return _cut(str(value))


class FewLines:
    """Says which lines of one kind are to be written, where strangers or devices decide how many there could be.

    Args:
        lines: how many may be written in one second.
    """

    def __init__(self, lines: int = 50) -> None:
        self._lines = lines
        self._left = lines
        self._since = 0.0
        self._unsaid = 0

    def next(self) -> int | None:
        """None where the next line is not to be written; else how many were not, since the last one that was."""
        now = time.monotonic()
        if now - self._since >= 1.0:
            self._since, self._left = now, self._lines
        if not self._left:
            self._unsaid += 1
            return None
        self._left -= 1
        unsaid, self._unsaid = self._unsaid, 0
        return unsaid


def _clean_items(holder: Collection[object], depth: int) -> object:
    if isinstance(holder, Mapping):
        shown = islice(holder.items(), _ITEMS)
        return {_cut(str(key)): _MASK if _is_secret(str(key), item) else _clean(item, depth) for key, item in shown}
    return [_clean(item, depth) for item in islice(holder, _ITEMS)]


def _cut(text: str) -> str:
    short = text if len(text) <= _VALUE_CHARACTERS else f"{text[:_VALUE_CHARACTERS]}... ({len(text)} characters)"
    # A lone surrogate is no UTF-8: neither a JSON writer nor a stream takes it.
    return short.encode("utf-8", "backslashreplace").decode()


def _sentence(event: str, fields: Mapping[str, object]) -> str:
    """`device connected device=pk/dk address=127.0.0.1:5000`, without control characters."""
    return " ".join([_escape(event), *(f"{_escape(key)}={_shown(value)}" for key, value in fields.items())])


def _shown(value: object) -> str:
    if isinstance(value, str):
        plain = value and value.isprintable() and not any(c in " =\"'\\" for c in value)
        return value if plain else '"' + _escape(value.replace("\\", "\\\\").replace('"', '\\"')) + '"'
    return _escape(orjson.dumps(value).decode())


def _escape(text: str) -> str:
    """The text without anything that ends a line, moves a cursor or turns the direction of reading."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _traceback(record: logging.LogRecord) -> list[str]:
    """The last lines of the traceback: the exception's own text may hold a whole payload."""
    assert record.exc_info is not None
    text = "".join(traceback.format_exception(*record.exc_info))
    return [_cut(line) for line in text.rstrip("\n").split("\n")][-_TRACEBACK_LINES:]


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
