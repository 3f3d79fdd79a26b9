"""`enos-ingest quarantine`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from enos_ingest.outcome import Rejection
from tests.cli.conftest import Command, store
from tests.process import COMMAND, PATIENCE, environment

TOPIC = "/sys/EbxGvUrE/gw-1/thing/measurepoint/resume"
NASTY = 'clear\x1b[2J\x07 line\r\nnext\x00 \u202eright to left "ö" \t tab'
PAYLOAD = f'{{"id": "1", "text": "{NASTY}"}}\n\xff'.encode("latin-1", "backslashreplace")


@pytest.fixture(autouse=True)
def rejected(declared: Path) -> None:
    """Three rejected messages; the last one tries to take over the terminal."""
    store(
        declared.parent,
        rejections=(
            Rejection(1_700_000_000_000, TOPIC, "EbxGvUrE/gw-1", 1206, "payload is empty", b"", 0),
            Rejection(1_700_000_000_001, TOPIC, "EbxGvUrE/gw-1", 1204, "params.measurepoints.x: unknown", b"{}", 2),
            Rejection(
                1_700_000_000_002, f"{TOPIC}/{NASTY}", f"EbxGvUrE/{NASTY}", 1009, f"no {NASTY}", PAYLOAD, len(PAYLOAD)
            ),
        ),
    )


def test_ls_prints_the_newest_first(run: Command) -> None:
    """A line each: id, time, code, publisher, topic, reason."""
    done = run("quarantine", "ls")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == ["3", "2", "1"]
    assert lines[1] == (
        f"     2  2023-11-14T22:13:20.001Z  1204  EbxGvUrE/gw-1  {TOPIC}  params.measurepoints.x: unknown"
    )
    assert [line.split()[0] for line in run("quarantine", "ls", "-n", "2").out.splitlines()] == ["3", "2"]
    assert run("quarantine", "ls", "--limit", "1").out == f"{lines[0]}\n"


def test_ls_as_json(run: Command) -> None:
    """One object a line, as it is, control characters escaped as JSON does."""
    rows = [json.loads(line) for line in run("quarantine", "ls", "--json").out.splitlines()]
    assert list(rows[0]) == ["id", "time", "topic", "publisher", "code", "reason", "size"]
    assert [row["code"] for row in rows] == [1009, 1204, 1206]
    assert [row["size"] for row in rows] == [len(PAYLOAD), 2, 0]
    assert rows[0]["topic"] == f"{TOPIC}/{NASTY}"


def test_show_prints_one_whole(run: Command) -> None:
    """All that is known of one message, its payload last."""
    done = run("quarantine", "show", "2")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "time       2023-11-14T22:13:20.001Z",
        f"topic      {TOPIC}",
        "publisher  EbxGvUrE/gw-1",
        "code       1204",
        "reason     params.measurepoints.x: unknown",
        "payload    2 bytes",
        "{}",
    ]


@pytest.mark.parametrize("arguments", [["ls"], ["show", "3"]])
def test_nothing_that_a_device_sent_steers_the_terminal(run: Command, arguments: list[str]) -> None:
    """Control characters, and those that turn the direction of reading, are printed as escapes."""
    out = run("quarantine", *arguments).out
    assert [character for character in out if not character.isprintable() and character not in "\n\t"] == []
    assert "clear\\x1b[2J\\x07 line\\r" in out
    assert "\\x00 \\u202eright to left" in out
    if arguments == ["ls"]:
        assert len(out.splitlines()) == 3, "a line break in a topic starts a line"


def test_the_payload_comes_byte_for_byte(declared: Path) -> None:
    """`--payload` writes what was received and nothing else."""
    command = [*COMMAND, "quarantine", "show", "3", "--payload"]
    done = subprocess.run(
        command, cwd=declared.parent, env=environment(), capture_output=True, timeout=PATIENCE, check=True
    )
    assert (done.stdout, done.stderr) == (PAYLOAD, b"")


def test_what_is_not_there_is_said(run: Command) -> None:
    """An id that does not exist is a fault, one that is no number is wrong usage."""
    assert run("quarantine", "show", "77") == (1, "", "enos-ingest: there is no quarantine entry 77\n")
    assert run("quarantine", "show", "9" * 30).code == 1
    assert run("quarantine", "show", "two").code == 2
    assert run("quarantine", "show").code == 2
    assert run("quarantine").code == 2


@pytest.mark.parametrize("count", ["0", "-1", "x", "1.5", "٣"])
def test_a_limit_is_a_number_from_1_on(run: Command, count: str) -> None:
    """Any other is wrong usage."""
    done = run("quarantine", "ls", "-n", count)
    assert done.code == 2
    assert f"{count!r} is not a number from 1 on" in done.err
