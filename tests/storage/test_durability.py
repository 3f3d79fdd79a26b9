"""Kill -9: what was acknowledged is there."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.storage.samples import stored

WRITER = """
import asyncio, sys
from pathlib import Path
from tests.storage.samples import commit, point, record
from enos_ingest.storage.writer import SqliteWriter

async def send(writer, start):
    number = start
    while True:
        await commit(writer, record(point(number, time=number), point(str(number), name="b", time=number)))
        sys.stdout.write(f"{number}\\n")
        sys.stdout.flush()
        number += 20

async def main():
    writer, first = SqliteWriter(Path(sys.argv[1])), int(sys.argv[2])
    await asyncio.gather(*[send(writer, start) for start in range(first, first + 20)])

asyncio.run(main())
"""


def test_acknowledged_points_survive_a_kill(tmp_path: Path) -> None:
    """A writer is killed in full swing, three times: every record it acknowledged is there, whole."""
    path = tmp_path / "x.db"
    acknowledged: set[int] = set()
    for first in (0, 10**6, 2 * 10**6):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(first)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        ) as process:
            assert process.stdout is not None
            for _ in range(400):
                acknowledged.add(int(process.stdout.readline()))
            process.send_signal(signal.SIGKILL)
            # What it printed before it died counts; the last line may be cut.
            rest = process.stdout.read().decode()
        acknowledged.update(int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n"))
        assert process.returncode == -signal.SIGKILL
        found = stored(path)
        numbers = {each.time for each in found if each.measurepoint == "temp"}
        assert acknowledged <= numbers
        assert numbers == {each.time for each in found if each.measurepoint == "b"}
        assert all(each.value == (each.time if each.measurepoint == "temp" else str(each.time)) for each in found)
