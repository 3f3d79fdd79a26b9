"""`enos-ingest attributes`, `events` and `tags`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from enos_ingest.devices.changes import AttributesSet, Change, EventReported, TagsSet
from enos_ingest.outcome import Record
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.writer import SqliteWriter
from tests.cli.conftest import Command
from tests.storage.samples import commit

DEVICE = DeviceId("EbxGvUrE", "gw-1")
NOON = 1_700_049_600_000
"""2023-11-15T12:00:00Z"""
WHO = {"productKey": "EbxGvUrE", "deviceKey": "gw-1"}


def store(folder: Path, *changes: Change) -> None:
    """Store what a hub would have."""

    async def write() -> None:
        writer = SqliteWriter(folder / "data" / "enos-ingest.db")
        await commit(writer, Record([], changes=changes))
        await writer.close()

    asyncio.run(write())


@pytest.fixture
def stored(declared: Path) -> Path:
    """The folder with facts of every kind."""
    store(
        declared.parent,
        AttributesSet(DEVICE, {"site": "Zürich", "rating": {"count": 3}}, NOON, "post"),
        AttributesSet(DEVICE, {"power": 2.0}, NOON + 1, "integration"),
        TagsSet(DEVICE, {"row": "1", "note": "a\x1b[2J \u202eb"}, NOON),
        EventReported(DEVICE, "alarm", NOON, {"level": 3, "text": "\x1b[2J"}, "post", NOON),
        EventReported(DEVICE, "alarm", NOON + 1, {"level": 4}, "integration", NOON),
        EventReported(DEVICE, "restarted", NOON + 2, {}, "post", NOON),
    )
    return declared.parent


def rows(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.usefixtures("stored")
def test_attributes_as_json(run: Command) -> None:
    """One object a line by identifier, values as they were sent."""
    done = run("attributes", str(DEVICE), "--json")
    assert (done.code, done.err) == (0, "")
    assert [list(row.items()) for row in rows(done.out)] == [
        list({**WHO, "attribute": name, "value": value, "time": time, "origin": origin}.items())
        for name, value, time, origin in (
            ("power", 2.0, NOON + 1, "integration"),
            ("rating", {"count": 3}, NOON, "post"),
            ("site", "Zürich", NOON, "post"),
        )
    ]
    assert '"value":2.0' in done.out


@pytest.mark.usefixtures("stored")
def test_attributes_for_people(run: Command) -> None:
    """When, which, what, and on which way it came."""
    assert run("attributes", str(DEVICE)).out.splitlines() == [
        "2023-11-15T12:00:00.001Z  power                     2.0  (integration)",
        '2023-11-15T12:00:00.000Z  rating                    {"count":3}  (post)',
        '2023-11-15T12:00:00.000Z  site                      "Zürich"  (post)',
    ]


@pytest.mark.usefixtures("stored")
def test_tags(run: Command) -> None:
    """By key; no value steers the terminal."""
    printed = run("tags", str(DEVICE), "--json").out
    assert printed.replace("\n", "").isprintable()
    found = rows(printed)
    assert found == [
        {**WHO, "tagKey": "note", "tagValue": "a\x1b[2J \u202eb", "time": NOON},
        {**WHO, "tagKey": "row", "tagValue": "1", "time": NOON},
    ]
    assert [list(row) for row in found] == [[*WHO, "tagKey", "tagValue", "time"]] * 2
    assert run("tags", str(DEVICE)).out.splitlines() == [
        "2023-11-15T12:00:00.000Z  note                      a\\x1b[2J \\u202eb",
        "2023-11-15T12:00:00.000Z  row                       1",
    ]


@pytest.mark.usefixtures("stored")
def test_events(run: Command) -> None:
    """By name, then time; no text steers the terminal."""
    found = rows(run("events", str(DEVICE), "--json").out)
    assert found == [
        {**WHO, "event": "alarm", "time": NOON, "fields": {"level": 3, "text": "\x1b[2J"}, "origin": "post"},
        {**WHO, "event": "alarm", "time": NOON + 1, "fields": {"level": 4}, "origin": "integration"},
        {**WHO, "event": "restarted", "time": NOON + 2, "fields": {}, "origin": "post"},
    ]
    assert [list(row) for row in found] == [[*WHO, "event", "time", "fields", "origin"]] * 3
    assert run("events", str(DEVICE)).out.splitlines() == [
        '2023-11-15T12:00:00.000Z  alarm                     {"level":3,"text":"\\u001b[2J"}  (post)',
        '2023-11-15T12:00:00.001Z  alarm                     {"level":4}  (integration)',
        "2023-11-15T12:00:00.002Z  restarted                 {}  (post)",
    ]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("arguments", "times"),
    [
        (["--event", "alarm"], [0, 1]),
        (["--event", "ALARM"], []),
        (["--from", "2023-11-15T12:00:00.001Z"], [1, 2]),
        (["--to", str(NOON + 1)], [0, 1]),
        (["--event", "alarm", "--from", str(NOON + 1), "--to", str(NOON + 1)], [1]),
    ],
)
def test_events_of_a_name_and_a_time(run: Command, arguments: list[str], times: list[int]) -> None:
    """Bounds are inclusive; names are case-sensitive."""
    found = rows(run("events", str(DEVICE), "--json", *arguments).out)
    assert [row["time"] - NOON for row in found] == times


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("command", ["attributes", "events", "tags"])
def test_what_is_not_there_is_said(run: Command, command: str) -> None:
    """Nothing of a known device is no error; an unknown device is one."""
    assert run(command, "Sb7PkXyZ/sub001") == (0, "", f"no such {command} of Sb7PkXyZ/sub001 are stored\n")
    what = f"enos-ingest: Sb7PkXyZ/nobody is not declared and has no stored {command}\n"
    assert run(command, "Sb7PkXyZ/nobody") == (1, "", what)


@pytest.mark.parametrize("command", ["attributes", "events", "tags"])
def test_no_database_is_said(run: Command, folder: Path, command: str) -> None:
    """Before anything was stored there is nothing to read, and nothing is made."""
    done = run(command, str(DEVICE))
    assert (done.code, done.out) == (3, "")
    assert f"no database at {folder}/data/enos-ingest.db" in done.err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("command", ["attributes", "events", "tags"])
def test_wrong_usage_is_said(run: Command, command: str) -> None:
    """Wrong arguments end with exit code 2 and a sentence."""
    done = run(command, "EbxGvUrE")
    assert (done.code, done.out) == (2, "")
    assert "'EbxGvUrE' is not PRODUCT/DEVICE" in done.err
