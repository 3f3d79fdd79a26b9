"""`enos-ingest points`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from enos_ingest.outcome import Point
from tests.cli.conftest import Command, store
from tests.process import COMMAND, PATIENCE, environment

DEVICE = "EbxGvUrE/gw-1"
HOUR = 3_600_000
NOON = 1_700_049_600_000
"""2023-11-15T12:00:00Z"""


def point(measurepoint: str, time: int, value: Any, quality: int | None = None, origin: str = "resume") -> Point:
    return Point("EbxGvUrE", "gw-1", measurepoint, time, value, quality, origin)


STORED = [
    point("Power", NOON, 1.02, 9),
    point("State", NOON + 1, {"mode": "charge", "cells": [1, 2]}, None, "integration"),
    point("temp", NOON - HOUR, 3.0),
    point("temp", NOON, 9_007_199_254_740_993, None, "post"),
    point("temp", NOON + HOUR, "wärme"),
]


@pytest.fixture
def stored(declared: Path) -> Path:
    """The folder with points of every kind."""
    store(declared.parent, *STORED)
    return declared.parent


def values(out: str) -> list[Any]:
    return [json.loads(line)["value"] for line in out.splitlines()]


@pytest.mark.usefixtures("stored")
def test_json_has_exactly_these_keys(run: Command) -> None:
    """One object a line, each with the same seven keys in this order, values as they were sent."""
    done = run("points", DEVICE, "--json")
    assert (done.code, done.err) == (0, "")
    rows = [json.loads(line) for line in done.out.splitlines()]
    keys = ["productKey", "deviceKey", "measurepoint", "time", "value", "quality", "origin"]
    assert [list(row) for row in rows] == [keys] * len(STORED)
    assert [tuple(row.values()) for row in rows] == [tuple(each) for each in STORED]
    assert '"value":3.0' in done.out
    assert '"value":9007199254740993' in done.out


@pytest.mark.usefixtures("stored")
def test_lines_for_people(run: Command) -> None:
    """Time in UTC, measurement point, value, quality where there is one, origin."""
    assert run("points", DEVICE, "--point", "Power").out == (
        "2023-11-15T12:00:00.000Z  Power                     1.02  quality 9  (resume)\n"
    )
    assert run("points", DEVICE, "--point", "State").out == (
        '2023-11-15T12:00:00.001Z  State                     {"mode":"charge","cells":[1,2]}  (integration)\n'
    )
    assert len(run("points", DEVICE).out.splitlines()) == len(STORED)


def test_no_value_steers_the_terminal(run: Command, declared: Path) -> None:
    """What a device sent is printed without what a terminal would take for commands."""
    store(declared.parent, point("text", NOON, "clear\x1b[2J \u202eleft \x85"))
    out = run("points", DEVICE).out
    assert out.endswith('  "clear\\u001b[2J \\u202eleft \\x85"  (resume)\n')
    assert out.rstrip("\n").isprintable()


@pytest.mark.usefixtures("stored")
def test_the_latest_value_of_each_point(run: Command) -> None:
    """`--latest` prints one line a measurement point; bounds leave out what is not within."""
    assert values(run("points", DEVICE, "--latest", "--json").out) == [STORED[0].value, STORED[1].value, "wärme"]
    assert values(run("points", DEVICE, "--latest", "--point", "temp", "--json").out) == ["wärme"]
    assert values(run("points", DEVICE, "--latest", "--to", str(NOON), "--json").out) == [1.02]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    "noon",
    [
        str(NOON),
        "2023-11-15T12:00:00Z",
        "2023-11-15T12:00:00",
        "2023-11-15 12:00",
        "2023-11-15T20:00:00+08:00",
        "2023-11-15T12:00:00.000999Z",
    ],
)
def test_bounds_are_inclusive_in_every_notation(run: Command, noon: str) -> None:
    """Epoch milliseconds and ISO 8601, in UTC where it names no zone, mean the same moment."""
    assert values(run("points", DEVICE, "--point", "temp", "--from", noon, "--json").out) == [2**53 + 1, "wärme"]
    assert values(run("points", DEVICE, "--point", "temp", "--to", noon, "--json").out) == [3.0, 2**53 + 1]
    assert values(run("points", DEVICE, "--point", "temp", "--from", noon, "--to", noon, "--json").out) == [2**53 + 1]


@pytest.mark.usefixtures("stored")
def test_a_day_is_its_first_moment(run: Command) -> None:
    """A date alone is midnight in UTC."""
    assert values(run("points", DEVICE, "--from", "2023-11-16", "--json").out) == []
    assert len(values(run("points", DEVICE, "--from", "2023-11-15", "--json").out)) == len(STORED)


@pytest.mark.usefixtures("stored")
def test_what_is_not_there_is_said(run: Command) -> None:
    """No points of a known device is no error; an unknown device is one."""
    assert run("points", "Sb7PkXyZ/sub001") == (0, "", "no such points of Sb7PkXyZ/sub001 are stored\n")
    assert run("points", DEVICE, "--point", "TEMP", "--json") == (0, "", f"no such points of {DEVICE} are stored\n")
    assert run("points", "Sb7PkXyZ/nobody") == (
        1,
        "",
        "enos-ingest: Sb7PkXyZ/nobody is not declared and has no stored points\n",
    )


def test_no_database_is_said(run: Command, folder: Path) -> None:
    """Before anything was stored there is nothing to read, and nothing is made."""
    sentence = (
        f"enos-ingest: no database at {folder}/data/enos-ingest.db: start the service once, or run `registry apply`"
    )
    assert run("points", DEVICE) == (3, "", f"{sentence}\n")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["EbxGvUrE"], "'EbxGvUrE' is not PRODUCT/DEVICE, such as EbxGvUrE/gw-1"),
        (["EbxGvUrE/"], "'EbxGvUrE/' is not PRODUCT/DEVICE"),
        (["a/b/c"], "'a/b/c' is not PRODUCT/DEVICE"),
        ([DEVICE, "--from", "yesterday"], "'yesterday' is neither epoch milliseconds nor ISO 8601"),
        ([DEVICE, "--to", "2023-13-01"], "'2023-13-01' is neither epoch milliseconds nor ISO 8601"),
        ([DEVICE, "--from", "9" * 30], "is neither epoch milliseconds nor ISO 8601"),
        ([DEVICE, "--since", "1"], "unrecognized arguments: --since 1"),
        ([], "the following arguments are required: PRODUCT/DEVICE"),
    ],
)
def test_wrong_usage_is_said(run: Command, arguments: list[str], said: str) -> None:
    """Wrong arguments end with exit code 2 and a sentence."""
    done = run("points", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_a_reader_that_has_enough_ends_the_command(stored: Path) -> None:
    """`enos-ingest points ... | head -1` ends without a complaint."""
    store(stored, *(point("long", time, "x" * 1000) for time in range(2000)))
    command = [*COMMAND, "points", DEVICE, "--json"]
    with subprocess.Popen(
        command, cwd=stored, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b'"measurepoint":"Power"' in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE) == 0
