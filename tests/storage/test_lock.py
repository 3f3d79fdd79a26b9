"""One hub to a database."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from enos_ingest.errors import StorageError
from enos_ingest.storage.lock import Lock
from tests.storage.samples import commit, open_writer, point, record, stored

HOLD = """
import sys
from pathlib import Path
from enos_ingest.storage.lock import Lock
lock = Lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_hub_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    """It would take rows from the inbox that the first is about to put in their place; afterwards it may."""
    path = tmp_path / "x.db"

    async def run() -> None:
        async with open_writer(path) as writer:
            await commit(writer, record(point(1)))
            with pytest.raises(StorageError, match="is in use by another hub: stop that one first"):
                async with open_writer(path):
                    pass
            await commit(writer, record(point(2, time=2)))
        async with open_writer(path) as writer:
            await commit(writer, record(point(3, time=3)))

    asyncio.run(run())
    assert [each.value for each in stored(path)] == [1, 2, 3]


def test_a_hub_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    """However it ended; the file that is left is empty and private."""
    path = tmp_path / "x.db"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(StorageError, match="in use"):
            Lock(path)
        process.kill()
    Lock(path).close()
    status = Path(f"{path}-lock").stat()
    assert (status.st_size, status.st_mode & 0o777) == (0, 0o600)


def test_a_file_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """With its name."""
    with pytest.raises(StorageError, match=r"x\.db-lock cannot be made: No such file or directory"):
        Lock(tmp_path / "nowhere" / "x.db")
