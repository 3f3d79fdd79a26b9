"""Kill -9 and power cuts: what was acknowledged is there, of two points of one time and of a command the last."""

from __future__ import annotations

import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from enos_ingest.commands.command import State
from enos_ingest.storage import fold, inbox
from enos_ingest.storage.commands import SqliteCommands
from enos_ingest.storage.fold import Fold
from enos_ingest.storage.sqlite import connect_writer
from tests.storage.samples import DEVICE, PRODUCT, command, stored

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


COMMANDER = """
import asyncio, sys
from dataclasses import replace
from pathlib import Path
from enos_ingest.commands.command import State
from tests.storage.samples import command, commit, ordered
from enos_ingest.storage.writer import SqliteWriter

async def order(writer, number):
    while True:
        made = command(number, input=number)
        sent = replace(made, state=State.RELEASED, sent=number)
        for step in (made, sent, replace(sent, state=State.SUCCESS, finished=number, output={"was": number})):
            await commit(writer, ordered(step))
            sys.stdout.write(f"{number} {int(step.state)}\\n")
            sys.stdout.flush()
        number += 20

async def main():
    writer, first = SqliteWriter(Path(sys.argv[1])), int(sys.argv[2])
    await asyncio.gather(*[order(writer, number) for number in range(first, first + 20)])

asyncio.run(main())
"""


def test_acknowledged_steps_of_commands_survive_a_kill(tmp_path: Path) -> None:
    """A writer is killed amid commands, three times: each is as it was last acknowledged, or one step further."""
    path = tmp_path / "x.db"
    order = [State.CREATED, State.RELEASED, State.SUCCESS]
    acknowledged: dict[int, State] = {}
    for first in (1, 10**6 + 1, 2 * 10**6 + 1):
        with subprocess.Popen(
            [sys.executable, "-c", COMMANDER, str(path), str(first)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        ) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline().decode() for _ in range(400)]
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.read().decode().splitlines(keepends=True)
        assert process.returncode == -signal.SIGKILL
        for line in lines:
            if line.endswith("\n"):
                number, state = map(int, line.split())
                acknowledged[number] = State(state)
        with SqliteCommands(path) as commands:
            unfinished = {each.id for each in commands.unfinished()}
            for number, state in acknowledged.items():
                found = commands.get(command(number).id)
                assert found is not None
                steps = order.index(found.state) - order.index(state)
                assert steps == 0 or (steps == 1 and number >= first)
                assert found.input == number
                assert found.output == ({"was": number} if found.state is State.SUCCESS else None)
                assert (found.id in unfinished) == (found.state is not State.SUCCESS)
                # What it is now is what was acknowledged when the next one is killed.
                acknowledged[number] = found.state


OVERWRITER = """
import asyncio, sys
from pathlib import Path
from tests.storage.samples import commit, point, record
from enos_ingest.storage import fold
from enos_ingest.storage.writer import SqliteWriter

# Always amid a fold: small ones of many steps, one after another.
fold.FOLD_POINTS, fold.MOST_POINTS, fold.SLICE_SIZE, fold.REMOVED_SIZE, fold.IDLE_SECONDS = 200, 1000, 1500, 500, 0.0

async def main():
    writer, number = SqliteWriter(Path(sys.argv[1])), int(sys.argv[2])
    while True:
        # Every point of the round before is overwritten, in another order.
        times = sorted(range(97), key=lambda time: time * number % 97)
        await commit(writer, record(*[point(number, time=time) for time in times]))
        sys.stdout.write(f"{number} {writer.stats().folds}\\n")
        sys.stdout.flush()
        number += 1

asyncio.run(main())
"""


def test_a_kill_amid_a_fold_brings_nothing_old_back(tmp_path: Path) -> None:
    """Points are overwritten and folded without a pause, and the writer is killed, five times: the newest are there."""
    path = tmp_path / "x.db"
    last = folds = 0
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", OVERWRITER, str(path), str(last + 1)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        ) as process:
            assert process.stdout is not None
            for _ in range(60):
                last, folds = map(int, process.stdout.readline().split())
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().decode()
        for line in rest.splitlines(keepends=True):
            if line.endswith("\n"):
                last = int(line.split()[0])
        assert process.returncode == -signal.SIGKILL
        assert folds > 0
        found = stored(path)
        assert [each.time for each in found] == list(range(97))
        # The round that was on its way is there whole, or not at all.
        assert {each.value for each in found} in ({last}, {last + 1})
        last = found[0].value


def test_a_power_cut_leaves_a_moment_that_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever part of the log a power cut leaves, what is read is what had been accepted at one moment.

    Transactions of the fold are not synced: the log may end before them, between them or after them.
    """
    for name, value in [
        ("FOLD_POINTS", 20), ("IDLE_SECONDS", 0.0), ("SLICE_SIZE", 300), ("REMOVED_SIZE", 200)
    ]:  # fmt: skip
        monkeypatch.setattr(fold, name, value)
    path = tmp_path / "x.db"
    moments = _accept_and_fold(path)
    header, frame = 32, 24 + 4096
    log = Path(f"{path}-wal").read_bytes()
    cut = tmp_path / "cut.db"
    at = 0
    ends = [end for end in range(header, len(log) + 1, frame) if _is_commit(log[end - frame : end])]
    assert len(ends) > 2 * len(moments), "the fold has no transactions of its own"
    for end in ends:
        cut.write_bytes(path.read_bytes())
        Path(f"{cut}-wal").write_bytes(log[:end])
        Path(f"{cut}-shm").unlink(missing_ok=True)
        found = {each.time: each.value for each in stored(cut)}
        while found != moments[at]:
            at += 1
            assert at < len(moments), f"at {end} of the log there is what never was: {found}"
    assert at == len(moments) - 1


def _is_commit(frame: bytes) -> bool:
    """Whether a frame of the log is the last of a transaction: it says how many pages the database has then."""
    return len(frame) > 8 and struct.unpack_from(">I", frame, 4)[0] > 0


def _accept_and_fold(path: Path) -> list[dict[int, int]]:
    """Accept records that overwrite each other, folding beside them; returns what was accepted at each moment."""
    connection = connect_writer(path)
    connection.execute("INSERT INTO series VALUES (1, ?, ?, 'temp')", (PRODUCT, DEVICE))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    folding = Fold(connection, path)
    moments: list[dict[int, int]] = [{}]
    try:
        for value in range(1, 21):
            times = [time * value % 17 for time in range(12)]
            folding.appended(inbox.append(connection, [(1, time, str(value), None, 0) for time in times]))
            moments.append(moments[-1] | dict.fromkeys(times, value))
            for _ in range(4 * (value % 5)):
                folding.advance(idle=True)
        assert folding.state.folds > 3
        for suffix in ("", "-wal"):
            (path.parent / f"kept{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
    finally:
        connection.close()
    # Closing has emptied the log.
    for suffix in ("", "-wal"):
        (path.parent / f"kept{suffix}").rename(f"{path}{suffix}")
    return moments
