"""Opening: URLs, permissions, and files that are no database of ours."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from enos_ingest.errors import ConfigError, StorageError
from enos_ingest.storage import sqlite
from enos_ingest.storage.faults import explain
from enos_ingest.storage.sqlite import connect_reader, connect_writer, parse_url


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///x.db", "/etc/enos/x.db"),
        ("sqlite:///data/x.db", "/etc/enos/data/x.db"),
        ("sqlite:////var/lib/x.db", "/var/lib/x.db"),
        ("sqlite:///with space%20#1.db", "/etc/enos/with space%20#1.db"),
    ],
)
def test_url_names_a_file(url: str, path: str) -> None:
    """Three slashes start at the base folder, four at the root; nothing is decoded."""
    assert parse_url(url, Path("/etc/enos")) == Path(path)


@pytest.mark.parametrize(
    "url",
    ["", "x.db", "sqlite:x.db", "sqlite://", "sqlite:///", "sqlite:////", "sqlite://host/x.db", "sqlite:///:memory:",
     "sqlite:///data/", "sqlite:///x.db?mode=ro", "sqlite:///x\0.db", "mysql://u:hunter2@host/db"],
)  # fmt: skip
def test_other_urls_are_refused(url: str) -> None:
    """What names no SQLite file is refused with a sentence that says what is supported, and shows no password."""
    with pytest.raises(ConfigError, match=r"sqlite:///relative/path\.db") as caught:
        parse_url(url, Path("/etc/enos"))
    assert "hunter2" not in str(caught.value)


def test_new_database_is_private(tmp_path: Path) -> None:
    """The file, its log and its shared memory are 0600, folders we make 0700, whatever the umask."""
    path = tmp_path / "a" / "b" / "x.db"
    before = os.umask(0)
    try:
        connection = connect_writer(path)
    finally:
        os.umask(before)
    connection.execute("INSERT INTO meta VALUES ('x', 1)")
    assert [mode(folder) for folder in (tmp_path / "a", tmp_path / "a" / "b")] == [0o700, 0o700]
    assert [mode(file) for file in sorted(path.parent.iterdir())] == [0o600, 0o600, 0o600]
    connection.close()


def test_existing_folder_keeps_its_mode(tmp_path: Path) -> None:
    """A folder that was there before is not touched."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    connect_writer(folder / "x.db").close()
    assert mode(folder) == 0o755


def test_link_to_a_missing_file_makes_it_private(tmp_path: Path) -> None:
    """Through a symbolic link the target is made, with mode 0600."""
    link, target = tmp_path / "link.db", tmp_path / "target.db"
    link.symlink_to(target)
    connect_writer(link).close()
    assert mode(target) == 0o600


def test_writer_survives_power_loss(tmp_path: Path) -> None:
    """Writers use WAL and sync at each commit."""
    connection = connect_writer(tmp_path / "x.db")
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    connection.close()


def test_reader_cannot_write(tmp_path: Path) -> None:
    """A reader's connection refuses to change anything."""
    connect_writer(tmp_path / "x.db").close()
    connection = connect_reader(tmp_path / "x.db")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM meta")
    connection.close()


def test_reader_of_a_missing_database(tmp_path: Path) -> None:
    """A reader makes no database, it says how to get one."""
    path = tmp_path / "none" / "x.db"
    with pytest.raises(StorageError, match=f"no database at {path}: start the service once, or run `registry apply`"):
        connect_reader(path)
    assert not path.parent.exists()


def test_reader_of_an_empty_file(tmp_path: Path) -> None:
    """An empty file is no database yet."""
    path = tmp_path / "x.db"
    path.touch()
    with pytest.raises(StorageError, match="is empty: start the service once"):
        connect_reader(path)


def test_empty_file_becomes_a_database(tmp_path: Path) -> None:
    """A writer fills an empty file, as `touch` or a temporary file leaves it."""
    path = tmp_path / "x.db"
    path.touch()
    connect_writer(path).close()
    connect_reader(path).close()


def test_text_file_is_no_database(tmp_path: Path) -> None:
    """Some other file is refused and left alone, by writers and readers."""
    path = tmp_path / "x.db"
    path.write_text("hello, this is a diary\n" * 100)
    before = path.read_bytes()
    for connect in (connect_writer, connect_reader):
        with pytest.raises(StorageError, match="is not a SQLite database"):
            connect(path)
    assert path.read_bytes() == before


def test_damaged_database(tmp_path: Path) -> None:
    """A database whose pages are overwritten is called damaged."""
    path = tmp_path / "x.db"
    connect_writer(path).close()
    data = bytearray(path.read_bytes())
    data[100:4096] = b"\xff" * (4096 - 100)
    path.write_bytes(data)
    with pytest.raises(StorageError, match="is damaged: stop the service and restore"):
        connect_writer(path)


def test_folder_in_place_of_a_file(tmp_path: Path) -> None:
    """A folder is not opened as a database."""
    for connect in (connect_writer, connect_reader):
        with pytest.raises(StorageError, match="is a folder: name a file"):
            connect(tmp_path)


def test_file_in_place_of_a_folder(tmp_path: Path) -> None:
    """A path through a file cannot be made."""
    (tmp_path / "data").touch()
    for path in (tmp_path / "data" / "x.db", tmp_path / "data" / "deeper" / "x.db"):
        with pytest.raises(StorageError, match="cannot be made"):
            connect_writer(path)
        with pytest.raises(StorageError, match="no database at"):
            connect_reader(path)


def test_folder_that_cannot_be_made() -> None:
    """Where the system makes no folders, nobody can: root neither."""
    with pytest.raises(StorageError, match=r"cannot be made: .*: name a folder that this user may write"):
        connect_writer(Path("/proc/enos/x.db"))


def test_links_in_a_circle(tmp_path: Path) -> None:
    """Links that lead nowhere end in a sentence."""
    link = tmp_path / "x.db"
    link.symlink_to(link)
    with pytest.raises(StorageError, match="cannot be"):
        connect_writer(link)


def test_an_old_sqlite_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python with a SQLite that lacks what we use says so, instead of a syntax error."""
    monkeypatch.setattr(sqlite, "MINIMUM_SQLITE", (99, 0, 0))
    with pytest.raises(StorageError, match=r"comes with SQLite .*, at least 99\.0\.0 is needed: use a newer Python"):
        connect_writer(tmp_path / "x.db")


def test_every_error_has_a_sentence() -> None:
    """Errors that no file can be made to give are explained too."""
    path = Path("/data/x.db")
    assert explain(MemoryError(), path) == "out of memory while using database /data/x.db: give the service more memory"
    assert (
        explain(sqlite3.OperationalError("no such table: points"), path) == "database /data/x.db: no such table: points"
    )
    assert explain(StorageError("as it is"), path) == "as it is"
