"""A folder as an operator has it, and commands run in it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from enos_ingest.cli import main
from enos_ingest.outcome import Point, Record, Rejection
from enos_ingest.storage.writer import SqliteWriter
from tests.storage.samples import commit

SECRETS = ("product-secret-1", "device-secret-1", "device-secret-2", "app-secret-1", "api-key-1", "operator-password-1")

REGISTRY = """
[[products]]
key = "EbxGvUrE"
secret = "product-secret-1"
model = "inverter"
[[products]]
key = "Sb7PkXyZ"
[[devices]]
product = "EbxGvUrE"
key = "gw-1"
secret = "device-secret-1"
[[devices]]
product = "Sb7PkXyZ"
key = "sub001"
secret = "device-secret-2"
enabled = false
[[gateways]]
device = "EbxGvUrE/gw-1"
sub_devices = ["Sb7PkXyZ/sub001"]
[[applications]]
name = "scada"
key = "app-1"
secret = "app-secret-1"
api_key = "api-key-1"
scopes = ["read", "control"]
[[operators]]
name = "alice"
password = "operator-password-1"
scopes = ["read", "write"]
"""


class Result(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


Command = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, empty; no setting comes from the environment."""
    for name in [name for name in os.environ if name.startswith("ENOS_INGEST__")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    """Run one command in the folder."""
    assert folder

    def run_command(*arguments: str | Path) -> Result:
        capfd.readouterr()
        try:
            code = main([str(each) for each in arguments])
        except SystemExit as usage:
            code = int(usage.code or 0)
        out, err = capfd.readouterr()
        return Result(code, out, err)

    return run_command


@pytest.fixture
def declared(run: Command, folder: Path) -> Path:
    """The folder once the registry has been applied; the path is its registry file."""
    file = folder / "registry.toml"
    file.write_text(REGISTRY)
    assert run("registry", "apply", file).code == 0
    return file


def store(folder: Path, *points: Point, rejections: tuple[Rejection, ...] = ()) -> None:
    """Store what a hub would have."""

    async def write() -> None:
        writer = SqliteWriter(folder / "data" / "enos-ingest.db")
        await commit(writer, Record(list(points)))
        for rejection in rejections:
            await commit(writer, Record([], rejection))
        await writer.close()

    asyncio.run(write())
