"""Log lines: what people read on a terminal, what programs read, and what neither may be done to."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from enos_ingest.logs import LogEvent, configure_logging, flush_logs, get_logger
from enos_ingest.protocol.identity import DeviceId

log = get_logger("enos_ingest.tests")
HOSTILE = "/sys/\x1b[2J\x9b31m\r\n2026 info forged\u2028\u202e"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the process's logging back, as other tests share it."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    root = logging.getLogger()
    names = ["enos_ingest", "amqtt", "transitions", "uvicorn", "uvicorn.error", "uvicorn.access", "paho", "asyncio"]
    levels = {name: logging.getLogger(name).level for name in names}
    handlers, level = list(root.handlers), root.level
    yield
    for ours in [handler for handler in root.handlers if handler not in handlers]:
        ours.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def fail(text: str) -> None:
    raise ValueError(text)


def written(stream: io.StringIO) -> str:
    flush_logs()
    return stream.getvalue()


def as_json(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written(stream).splitlines()]


def test_a_json_line_holds_time_level_event_logger_and_fields() -> None:
    """One object a line, the time in UTC milliseconds."""
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    log.bind(session=7).info("device %s", "connected", device=DeviceId("pk", "dk"), time=5)
    (line,) = as_json(stream)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "event": "device connected",
        "logger": "enos_ingest.tests",
        "session": 7,
        "device": "pk/dk",
        "time_": 5,
    }
    assert list(as_json(stream)[0])[:4] == ["time", "level", "event", "logger"]


def test_a_human_line_is_a_sentence_with_fields() -> None:
    """Values with blanks are quoted; no colours where there is no terminal."""
    stream = io.StringIO()
    configure_logging("info", "human", stream)
    log.warning("storage is slow", seconds=1.5, path="/var/my data", device=DeviceId("pk", "dk"), empty="")
    line = written(stream)
    sentence = 'warning  storage is slow seconds=1.5 path="/var/my data" device=pk/dk empty=""\n'
    assert line.endswith(sentence)
    assert "\x1b" not in line


def test_auto_is_human_on_a_terminal_and_json_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours only on a terminal, and not where NO_COLOR asks for none."""
    terminal, pipe, plain = Terminal(), io.StringIO(), Terminal()
    configure_logging("info", "auto", terminal)
    log.info("hello")
    configure_logging("info", "auto", pipe)
    log.info("hello")
    monkeypatch.setenv("NO_COLOR", "1")
    configure_logging("info", "auto", plain)
    log.info("hello")
    assert "\x1b[32minfo" in written(terminal)
    assert as_json(pipe)[0]["event"] == "hello"
    assert written(plain).endswith(" info     hello\n")
    assert "\x1b" not in written(plain)


@pytest.mark.parametrize("format_name", ["human", "json"])
def test_text_from_devices_cannot_forge_a_line_or_steer_a_terminal(format_name: str) -> None:
    """Wherever it stands: sentence, field, key, list, a library's message."""
    stream = io.StringIO()
    configure_logging("info", format_name, stream)
    log.info(
        HOSTILE,
        topic=HOSTILE,
        topics=[HOSTILE],
        table={HOSTILE: HOSTILE},
        raw=HOSTILE.encode(),
        object=OSError(HOSTILE),
    )
    logging.getLogger("paho.mqtt").error("got %s", HOSTILE)
    first, second, rest = written(stream).split("\n")
    assert rest == ""
    assert first.isprintable()
    assert second.isprintable()
    if format_name == "json":
        assert json.loads(first)["topic"] == HOSTILE


def test_an_exception_cannot_forge_a_line_either() -> None:
    """In human output each line of a traceback is set off and escaped."""
    stream = io.StringIO()
    configure_logging("info", "human", stream)
    try:
        fail(HOSTILE)
    except ValueError:
        log.exception("it failed")
    first, *rest, last = written(stream).split("\n")
    assert first.endswith("error    it failed")
    assert last == ""
    assert all(line.startswith("    | ") and line.isprintable() for line in rest)
    assert any("ValueError: /sys/\\x1b[2J" in line for line in rest)


def test_json_holds_the_traceback_in_one_field() -> None:
    """Also of a library's record."""
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    try:
        fail("x" * 5000)
    except ValueError:
        log.exception("ours")
        logging.getLogger("uvicorn.error").exception("theirs")
    ours, theirs = as_json(stream)
    assert ours["exception"].startswith("Traceback (most recent call last):\n")
    assert theirs["exception"].startswith("Traceback (most recent call last):\n")
    assert len(ours["exception"]) < 1000
    assert "exc_info" not in ours


@pytest.mark.parametrize(
    "name", ["password", "secret", "sign", "token", "api_key", "authorization", "Authorization", "apiKey", "api-key",
             "device_secret", "accessToken", "password_hash"],
)  # fmt: skip
@pytest.mark.parametrize("format_name", ["human", "json"])
def test_values_of_secret_fields_are_masked(name: str, format_name: str) -> None:
    """At the top and inside a mapping, in both formats and in the text for other handlers."""
    stream = io.StringIO()
    configure_logging("info", format_name, stream)
    log.info("login", **{name: "hunter2"}, params={"inner": [{name: "hunter2"}]})
    assert "hunter2" not in written(stream)
    assert written(stream).count("***") == 2
    assert "hunter2" not in str(LogEvent({"event": "login", name: "hunter2"}))


def test_names_that_only_look_like_secrets_are_shown() -> None:
    """`design` holds `sign`, and that there was no password is worth knowing."""
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    log.info("x", design="d", tokens=3, sign_method="sha256", password=None)
    line = as_json(stream)[0]
    assert (line["design"], line["tokens"], line["sign_method"], line["password"]) == ("d", 3, "sha256", None)


def test_long_values_are_cut() -> None:
    """A payload in a field does not fill the disk, whatever it is wrapped in."""
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    big = "é" * 100_000
    deep: list[Any] = []
    for _ in range(500):
        deep = [deep, big]
    log.info(big, text=big, raw=big.encode(), many=[big] * 1000, table={str(n): n for n in range(1000)}, deep=deep)
    logging.getLogger("paho").error(big)
    ours, theirs = as_json(stream)
    assert ours["text"] == "é" * 300 + "... (100000 characters)"
    assert len(ours["many"]) == len(ours["table"]) == 20
    assert all(len(line) < 50_000 for line in written(stream).splitlines())
    assert theirs["event"] == ours["event"] == ours["text"]


@pytest.mark.parametrize(
    "value", [2**64, -(2**63) - 1, 10**5000, float("nan"), "\ud800", b"\xff", {1, 2}, object()], ids=type
)
@pytest.mark.parametrize("format_name", ["human", "json"])
def test_any_value_makes_a_line(value: object, format_name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers beyond 64 bits, NaN, lone surrogates, bytes, anything: no logging error, one line."""
    stream = io.StringIO()
    configure_logging("info", format_name, stream)
    log.info("odd", value=value)
    assert len(written(stream).splitlines()) == 1
    assert capsys.readouterr().err == ""


def test_configuring_again_replaces_the_handler() -> None:
    """The second call wins, no line comes twice, other programs' handlers stay."""
    first, second = io.StringIO(), io.StringIO()
    guest = logging.NullHandler()
    logging.getLogger().addHandler(guest)
    configure_logging("info", "json", first)
    configure_logging("error", "json", second)
    log.warning("too low")
    log.error("once")
    assert written(first) == ""
    assert [line["event"] for line in as_json(second)] == ["once"]
    assert guest in logging.getLogger().handlers


def test_libraries_write_little_unless_we_debug() -> None:
    """amqtt calls every disconnection an error; its lines and uvicorn's access lines come only with debug."""
    usual, debugging = io.StringIO(), io.StringIO()
    for level, stream in (("info", usual), ("debug", debugging)):
        configure_logging(level, "json", stream)
        logging.getLogger("amqtt.broker").error("client gone")
        logging.getLogger("uvicorn.access").info("GET /healthz")
        logging.getLogger("uvicorn.error").info("started")
        logging.getLogger("somebody.else").info("hello")
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
        log.debug("detail")
    assert [line["event"] for line in as_json(usual)] == ["Invalid HTTP request received."]
    events = [line["event"] for line in as_json(debugging)]
    assert events == ["client gone", "GET /healthz", "started", "Invalid HTTP request received.", "detail"]


def test_other_handlers_see_a_plain_sentence_from_the_line_that_logs(caplog: pytest.LogCaptureFixture) -> None:
    """A test suite reads our lines with pytest's caplog, without any configuration of ours."""
    caplog.set_level("INFO", "enos_ingest")
    log.info("point stored", device=DeviceId("pk", "dk"), secret="s")
    (record,) = caplog.records
    assert record.getMessage() == "point stored device=pk/dk secret=***"
    assert record.filename == "test_logs.py"
    assert record.name == "enos_ingest.tests"
    assert isinstance(record.msg, LogEvent)
    assert record.msg["device"] == DeviceId("pk", "dk")


def test_without_configuration_nothing_is_printed() -> None:
    """In somebody's process we are a guest: silent, and structlog's own configuration is left alone."""
    program = (
        "import structlog\n"
        "from enos_ingest.logs import get_logger\n"
        "get_logger('enos_ingest.x').error('loud', a=1)\n"
        "assert not structlog.is_configured()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
