"""What `docs/mqtt.md` says, read from its tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["ROOT", "Difference", "differences", "held", "statements", "tags"]

ROOT = Path(__file__).parents[3]

_PAGE = ROOT / "docs" / "mqtt.md"


class Difference(NamedTuple):
    """A script in which mosquitto says something else, and why."""

    script: str
    mosquitto: str
    here: str
    why: str


def tags(text: str) -> set[str]:
    """The normative statements that a text names."""
    return set(re.findall(r"\[MQTT-[0-9.-]+\]", text))


def held() -> dict[str, list[str]]:
    """The statements that are held, each with the files of its tests."""
    return {row[0]: re.findall(r"`([\w/]+)`", row[2]) for row in _rows("Held, each by a test")}


def statements() -> list[str]:
    """All statements that have a row, in whatever table."""
    return [cells[0] for cells in map(_cells, _PAGE.read_text().splitlines()) if cells[0].startswith("[MQTT-")]


def differences() -> list[Difference]:
    """The differences from mosquitto."""
    return [Difference(row[0].strip("`"), *row[1:]) for row in _rows("Differences from mosquitto")]


def _rows(heading: str) -> list[list[str]]:
    section = _PAGE.read_text().split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [_cells(line) for line in lines[1:]]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split(" | ")]
