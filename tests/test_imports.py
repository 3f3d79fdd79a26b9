"""Imports run one way, as CONTRIBUTING says: the pure centre knows nothing of the rim, and nobody knows who wires."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import enos_ingest

PACKAGE = Path(enos_ingest.__file__).parent

MAY_IMPORT = {
    "errors": set[str](),
    "protocol": {"errors"},
    "schema": {"errors"},
    "models": {"errors", "protocol", "schema"},
    "devices": {"errors", "protocol", "schema", "toml"},
    "uplinks": {"devices", "errors", "models", "outcome", "protocol", "schema"},
    "pipeline": {"devices", "errors", "models", "outcome", "protocol", "schema", "uplinks"},
}
"""What the pure centre may know, part by part."""

NEVER = {
    "storage": {"broker", "endpoint", "http", "intake", "pipeline", "subscriber", "uplinks"},
    "commands": {"broker", "endpoint", "http", "intake", "subscriber"},
    "endpoint": {"commands", "http", "storage"},
    "http": {"broker", "intake", "subscriber"},
    "broker": {"endpoint", "intake", "storage"},
    "subscriber": {"broker", "endpoint", "storage"},
}
"""What the rim does not know of its neighbours."""

KNOWN_TO = {"service": {"cli", "testing"}, "wiring": {"service"}, "cli": {"__main__"}, "testing": set[str]()}
"""Who may import those who know everything."""


def part(module: str) -> str:
    """The file or folder of the package that a module belongs to."""
    return module.split(".")[1] if "." in module else "__init__"


def imported(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            modules = [node.module]
        elif isinstance(node, ast.Import):
            modules = [name.name for name in node.names]
        else:
            continue
        yield from (module for module in modules if module.split(".")[0] == "enos_ingest")


@cache
def imports() -> dict[str, set[str]]:
    """What each part imports of others."""
    found = defaultdict[str, set[str]](set)
    for path in PACKAGE.rglob("*.py"):
        mine = part(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
        found[mine] |= {part(module) for module in imported(path)} - {mine, "__init__"}
    return dict(found)


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_the_centre_knows_no_more_than_it_needs(name: str) -> None:
    """Whoever writes logs may: that is no way out."""
    assert imports().get(name, set()) - {"logs"} <= MAY_IMPORT[name]


@pytest.mark.parametrize("name", NEVER)
def test_the_rim_does_not_know_its_neighbours(name: str) -> None:
    """They meet in `service` and `wiring`."""
    assert imports()[name] & NEVER[name] == set()


@pytest.mark.parametrize("name", KNOWN_TO)
def test_nobody_knows_who_knows_everything(name: str) -> None:
    """But those who start it."""
    assert name in imports()
    assert {other for other, known in imports().items() if name in known} == KNOWN_TO[name]
