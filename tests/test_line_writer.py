"""Log lines whose reader stalls: nobody waits for it, and what is lost is counted."""

from __future__ import annotations

import errno
import fcntl
import io
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from enos_ingest.line_writer import LineWriter
from enos_ingest.protocol.credentials import make_credentials
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.testing.client import TestClient
from tests.process import COMMAND, PATIENCE, environment, write_config

LINE = "x" * 99 + "\n"

REGISTRY = """
[[products]]
key = "P"
model = "inverter"
[[devices]]
product = "P"
key = "d"
secret = "a-device-secret"
"""


def narrow(pipe: int) -> None:
    """Leave a pipe as little room as the system allows."""
    if sys.platform == "linux":
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)


class Pipe:
    """A pipe with little room, whose reader reads when the test says so."""

    def __init__(self) -> None:
        self._reader, writer = os.pipe()
        narrow(writer)
        self.stream = os.fdopen(writer, "w")
        self.lines = LineWriter(self.stream, lambda count: f"{count} dropped\n", characters=10 * len(LINE))

    def read(self, count: int) -> list[str]:
        """The next so many lines."""
        text = b""
        while text.count(b"\n") < count:
            text += os.read(self._reader, 1 if text.count(b"\n") == count - 1 else 100)
        return text.decode().splitlines(keepends=True)

    def close(self) -> None:
        """Nobody reads any more."""
        os.close(self._reader)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe, with a writer of lines."""
    pipe = Pipe()
    yield pipe
    pipe.lines.close()
    pipe.stream.close()


def stall(lines: LineWriter) -> None:
    """Write until the pipe is full and the thread waits for its reader."""
    for number in itertools.count():
        lines.write(f"{number:099}\n")
        if not lines.flush(1.0):  # a thread that is let write needs no such time
            return


class Disk(io.StringIO):
    """A stream that is full at times."""

    full = False

    def write(self, text: str) -> int:
        """Take the text, or not."""
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(text)


def test_lines_are_written_in_their_order() -> None:
    """Those of one thread, and all of them."""
    stream = io.StringIO()
    lines = LineWriter(stream, str, characters=10**6)

    def write(name: str) -> None:
        for number in range(1000):
            lines.write(f"{name} {number}\n")

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lines.flush(PATIENCE)
    for name in "ab":
        mine = [line for line in stream.getvalue().splitlines() if line.startswith(name)]
        assert mine == [f"{name} {number}" for number in range(1000)]


def test_a_stalled_reader_holds_nobody_up_and_misses_what_there_is_no_room_for(pipe: Pipe) -> None:
    """In the place of what was dropped stands how much that was; what comes after it is written again."""
    stall(pipe.lines)
    for number in range(1000):
        pipe.lines.write(f"{number:099}\n")
    assert pipe.lines.dropped == 990
    assert not pipe.lines.flush(0.01)
    read = pipe.read(1)
    while "990 dropped\n" not in read:
        read += pipe.read(1)
    assert [int(line) for line in read[-11:-1]] == list(range(10))
    pipe.lines.write("and on\n")
    assert pipe.read(1) == ["and on\n"]
    assert pipe.lines.flush(PATIENCE)
    assert pipe.lines.dropped == 990


def test_a_stream_that_does_not_block_is_waited_for(pipe: Pipe) -> None:
    """As another program may make a terminal that both write to."""
    os.set_blocking(pipe.stream.fileno(), False)
    stall(pipe.lines)
    pipe.lines.write("the last\n")
    while pipe.read(1) != ["the last\n"]:
        pass
    assert pipe.lines.flush(PATIENCE)


def test_nobody_who_reads_is_no_fault(pipe: Pipe) -> None:
    """As behind `2>&1 | head`."""
    pipe.close()
    for _ in range(3):
        pipe.lines.write(LINE)
        assert pipe.lines.flush(PATIENCE)
    assert pipe.lines.dropped == 3


def test_lines_that_a_full_disk_refused_are_told_of_later() -> None:
    """Before the next that it takes."""
    disk = Disk()
    lines = LineWriter(disk, lambda count: f"{count} dropped\n", characters=1000)
    for full, line in ((False, "1\n"), (True, "2\n"), (True, "3\n"), (False, "4\n"), (False, "5\n")):
        disk.full = full
        lines.write(line)
        assert lines.flush(PATIENCE)
    assert disk.getvalue() == "1\n2 dropped\n4\n5\n"
    assert lines.dropped == 2


def test_a_closed_writer_writes_what_it_has_and_takes_no_more() -> None:
    """What comes too late is counted."""
    stream = io.StringIO()
    lines = LineWriter(stream, str, characters=1000)
    lines.write("1\n")
    lines.close()
    lines.write("2\n")
    assert lines.flush(PATIENCE)
    assert stream.getvalue() == "1\n"
    assert lines.dropped == 1


@pytest.mark.parametrize("ending", ["sys.exit()", "logs.flush_logs(); os._exit(0)", "raise ValueError"])
def test_what_was_logged_before_the_end_is_written(ending: str) -> None:
    """All of it, before what the interpreter says itself."""
    program = (
        "import os, sys\n"
        "from enos_ingest import logs\n"
        "logs.configure_logging('info', 'json')\n"
        "for number in range(2000): logs.get_logger('enos_ingest.x').info('line', number=number)\n"
        f"{ending}\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    numbers = [int(number) for number in re.findall(r'"number":(\d+)', done.stderr)]
    assert numbers == list(range(2000))


def test_a_stalled_reader_does_not_keep_a_process_from_its_end() -> None:
    """It is waited for, and not for long; the interpreter ends in peace."""
    program = (
        "import sys\n"
        "from enos_ingest import logs\n"
        "logs.configure_logging('info', 'json')\n"
        "for number in range(100_000): logs.get_logger('enos_ingest.x').info('line', number=number)\n"
        "print('logged', flush=True)\n"
        "sys.exit(7)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "logged\n"
        started = time.monotonic()
        assert process.wait(PATIENCE) == 7
        assert time.monotonic() - started > 1
        assert "Fatal" not in process.stderr.read()


def test_a_hub_serves_on_while_nobody_reads_its_log(tmp_path: Path) -> None:
    """And stops when it is asked to; its reader learns how much it missed."""
    config = write_config(tmp_path, REGISTRY, log='format = "json"\nlevel = "debug"')
    with subprocess.Popen(
        [*COMMAND, "serve", "-c", str(config)], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        narrow(process.stderr.fileno())
        listening = next(line for line in process.stderr if '"listening"' in line)
        found = re.search(r'"mqtt":"(.*?):(\d+)"', listening)
        assert found is not None
        credentials = make_credentials(DeviceId("P", "d"), "a-device-secret", 1)
        for number in range(100):  # each of them two lines
            with TestClient(found[1], int(found[2]), credentials, "P/d") as client:
                reply = client.resume({"INV.GenActivePW": number}, time=number)
                assert reply["code"] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
