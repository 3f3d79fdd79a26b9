"""What keeps a service from starting is said in one sentence, and nothing is left behind."""

from __future__ import annotations

import re
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from enos_ingest.testing.hub import run_hub
from tests.process import serve_once, write_config
from tests.service_site import REGISTRY, SECRET, database


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def refused(arguments: list[str | Path], folder: Path) -> str:
    """The one sentence with which the start ends."""
    done = serve_once(arguments, cwd=folder)
    said = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    assert len(said) == 1, done.stderr
    assert said[0].startswith("enos-ingest: ")
    assert "Traceback" not in done.stderr
    return said[0].removeprefix("enos-ingest: ")


@pytest.mark.parametrize("listener", ["mqtt", "http"])
def test_a_taken_port_is_said(tmp_path: Path, taken_port: int, listener: str) -> None:
    """A port that another program has ends the start with the setting to change."""
    config = write_config(tmp_path, **{listener: f'bind = "127.0.0.1:{taken_port}"'})
    assert refused(["-c", config], tmp_path) == (
        f"cannot listen on 127.0.0.1:{taken_port}: address already in use by another program; "
        f"stop it or choose another port ({listener}.bind)"
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[mqtt]\nbnd = "x"\n', "unknown setting mqtt.bnd; did you mean mqtt.bind?"),
        ("[mqtt\n", "not valid TOML: Expected ']' at the end of a table declaration (at line 1, column 6)"),
        ("[limits]\nin_flight = 0\n", "limits.in_flight must be a whole number from 1 to 1000000, not 0"),
        (None, "there is no such configuration file"),
    ],
    ids=["unknown key", "syntax", "range", "missing"],
)
def test_a_bad_configuration_is_said(tmp_path: Path, text: str | None, sentence: str) -> None:
    """The sentence names the file, and the setting or the line."""
    config = tmp_path / "hub.toml"
    if text is not None:
        config.write_text(text)
    assert refused(["-c", config], tmp_path) == f"{config}: {sentence}"


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (None, "models: the folder {folder} cannot be read: No such file or directory"),
        ({}, "models: no thing model in {folder}: put ThingModel JSON files (*.json) there"),
        ({"a.json": "{"}, "{folder}/a.json: not JSON: unexpected end of data: line 1 column 2 (char 1)"),
        ({"a.json": "{}"}, "{folder}/a.json: modelId: missing"),
    ],
    ids=["no folder", "empty folder", "no JSON", "no model"],
)
def test_bad_models_are_said(tmp_path: Path, files: dict[str, str] | None, sentence: str) -> None:
    """The sentence names the folder or the file."""
    folder = tmp_path / "things"
    if files is not None:
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
    config = write_config(tmp_path, models='path = "things"')
    assert refused(["-c", config], tmp_path) == sentence.format(folder=folder)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[devices", "not TOML: Expected ']]' at the end of an array declaration (at line 1, the end of the file)"),
        (REGISTRY.replace(f'secret = "{SECRET}"', ""), "devices[0] EbxGvUrE/inv-1: secret missing"),
        (REGISTRY.replace("inverter", "toaster"), "products[0] EbxGvUrE: unknown model toaster (known: {known})"),
    ],
    ids=["syntax", "secret", "model"],
)
def test_a_bad_registry_file_is_said(tmp_path: Path, text: str, sentence: str) -> None:
    """The sentence names the file, the table, the index and the key."""
    config = write_config(tmp_path, text)
    known = "battery_rack, gateway, inverter"
    assert refused(["-c", config], tmp_path) == f"{tmp_path}/registry.toml: {sentence.format(known=known)}"


def newer(path: Path) -> None:
    path.parent.mkdir()
    with run_hub(settings={"storage.url": f"sqlite:///{path}"}, folder=path.parent):
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 99")


def foreign(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")


def letter(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("Dear reader, this is a letter and no database. " * 100)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (newer, r"database \S+ has schema version 99, this program knows up to \d+: use the newer version"),
        (foreign, r"database \S+ belongs to another program: name another file"),
        (letter, r"\S+ is not a SQLite database: name another file, or move this one away"),
    ],
)
def test_a_database_that_is_not_ours_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], None], sentence: str
) -> None:
    """What a newer version or another program wrote is not touched."""
    config = write_config(tmp_path)
    make(database(config))
    before = database(config).read_bytes()
    said = refused(["-c", config], tmp_path)
    assert re.match(sentence, said), said
    assert database(config).read_bytes() == before
