"""The worker process: what a codec may do to it, and that neither it nor its hub outlives what it should."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from enos_ingest.codecs import lane as lane_module
from enos_ingest.codecs import process as process_module
from enos_ingest.codecs.process import clean_environment
from enos_ingest.devices.directory import Product
from tests.codecs.conftest import Run
from tests.codecs.site import BOUND, MESSAGE, PLAIN, codecs_of, fault, is_gone, until, write, write_method
from tests.endpoint.waiting import eventually

HANG = "while True:\n    pass"

HUB = f"""
import asyncio, sys
from pathlib import Path
from enos_ingest.codecs.codecs import Codecs
from enos_ingest.devices.directory import Product
from enos_ingest.settings import CodecsSettings

async def main():
    codecs = Codecs(CodecsSettings(seconds=4.0, workers=1), folder=Path(sys.argv[1]), message_bytes={BOUND})
    await codecs.encode(Product("P", codec="plain:codec"), {{}})
    print(*codecs.pids, flush=True)
    await codecs.encode(Product("P", codec=sys.argv[2]), {{}})
    print("called", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def printed(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """What codecs have printed, each line with its codec."""
    events = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [(event["codec"], event["text"]) for event in events if event["event"] == "a codec printed"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("sys.exit(3)", "exit code 3"),
        ("os._exit(4)", "exit code 4"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("ctypes.string_at(0)", "SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGRTMIN + 3)", f"signal {signal.SIGRTMIN + 3}"),
        # 4 is where the answers go: nothing that a codec comes across, and nothing that hurts the hub.
        ("os.write(4, b'\\xff' * 9)", "it sent an answer of 4294967295 bytes"),
        ("os.write(4, b'\\0\\0\\0\\1\\7')", "it sent 7 is not a valid Status"),
    ],
)
def test_a_codec_that_ends_the_process_fails_its_own_call(run: Run, tmp_path: Path, body: str, said: str) -> None:
    """Those behind it, of any product, are served by a new one."""
    bad, good = write_method(tmp_path, "bad", f"import signal\n{body}"), write(tmp_path, "good", PLAIN)

    async def main() -> None:
        async with codecs_of(tmp_path, workers=1) as codecs:
            await codecs.encode(good, MESSAGE)
            (pid,) = codecs.pids
            failing = asyncio.create_task(fault(codecs.encode(bad, MESSAGE)))
            others = [asyncio.create_task(codecs.encode(good, MESSAGE)) for _ in range(3)]
            assert await failing == f"codec bad:codec ended its worker process ({said})"
            assert [json.loads(each) for each in await asyncio.gather(*others)] == [MESSAGE] * 3
            assert len(codecs.pids) == 1
            assert codecs.pids != [pid]
            assert is_gone(pid)

    run(main())


def test_a_call_that_overruns_is_ended_with_its_process(run: Run, tmp_path: Path) -> None:
    """And with what the codec has started; the next call gets a new process."""
    child = tmp_path / "child"
    start = f"sleeper = subprocess.Popen(['sleep', '1000'])\nopen({str(child)!r}, 'w').write(str(sleeper.pid))"
    slow = write_method(tmp_path, "slow", f"import subprocess\n{start}\n{HANG}")
    good = write(tmp_path, "good", PLAIN)

    async def main() -> None:
        async with codecs_of(tmp_path, seconds=3.0, workers=1) as codecs:
            await codecs.encode(good, MESSAGE)
            (pid,) = codecs.pids
            assert await fault(codecs.encode(slow, MESSAGE)) == "codec slow:codec took longer than 3 s"
            assert is_gone(pid)
            await until(lambda: is_gone(int(child.read_text())))
            assert json.loads(await codecs.encode(good, MESSAGE)) == MESSAGE

    run(main())


def test_a_copy_that_a_codec_has_forked_answers_nothing(run: Run, tmp_path: Path) -> None:
    """Else its answer would be the next call's, and that of each call the answer of the one before."""
    copied, ended = tmp_path / "copied", tmp_path / "ended"
    os.mkfifo(copied)
    os.mkfifo(ended)
    write(
        tmp_path,
        "forking",
        f"""
        import json, os

        class Forking:
            def encode(self, message):
                if message["id"] == "first":
                    if not os.fork():
                        open({str(copied)!r}).close()  # until the call is answered
                        self.kept = open({str(ended)!r}, "w")  # until the copy ends
                elif message["id"] == "second":
                    open({str(copied)!r}, "w").close()
                    open({str(ended)!r}).read()
                return json.dumps(message).encode()

            def decode(self, data):
                return json.loads(data)

        codec = Forking()
        """,
    )
    product = Product("P", codec="forking:codec")

    async def main() -> None:
        async with codecs_of(tmp_path, workers=1) as codecs:
            for name in ("first", "second", "third"):
                assert json.loads(await codecs.encode(product, {"id": name})) == {"id": name}

    run(main())


def test_what_a_codec_has_started_ends_with_its_process(run: Run, tmp_path: Path) -> None:
    """Although that has ended by itself; and its call fails at once, whoever holds its pipes as well."""
    child = tmp_path / "child"
    start = f"pid = os.fork()\nif not pid:\n    time.sleep(1000)\nopen({str(child)!r}, 'w').write(str(pid))"
    product = write_method(tmp_path, "leaving", f"{start}\nos._exit(4)")

    async def main() -> None:
        async with codecs_of(tmp_path, seconds=60.0) as codecs:
            said = "codec leaving:codec ended its worker process (exit code 4)"
            assert await fault(codecs.encode(product, MESSAGE)) == said
            await until(lambda: is_gone(int(child.read_text())))

    run(main())


def test_a_module_may_take_longer_to_import_than_a_call(run: Run, tmp_path: Path) -> None:
    """It is imported once."""
    source = "import time\ntime.sleep(1.1)\nclass C:\n  encode = decode = lambda *_: b'x'\ncodec = C()"
    slow = write(tmp_path, "slow", source)

    async def main() -> None:
        async with codecs_of(tmp_path, seconds=1.0) as codecs:
            assert await codecs.encode(slow, MESSAGE) == b"x"

    run(main())


def test_a_module_that_is_never_imported_is_given_up(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And left alone then; others are served."""
    monkeypatch.setattr(lane_module, "_LOAD_SECONDS", 3.0)
    endless, good = write(tmp_path, "endless", HANG), write(tmp_path, "good", PLAIN)

    async def main() -> None:
        async with codecs_of(tmp_path) as codecs:
            said = "codec endless:codec took longer than 3 s"
            assert await fault(codecs.encode(endless, MESSAGE)) == said
            assert await fault(codecs.encode(endless, MESSAGE)) == said
            assert json.loads(await codecs.encode(good, MESSAGE)) == MESSAGE

    run(main())


def test_a_module_that_ends_the_process_as_it_is_imported(run: Run, tmp_path: Path) -> None:
    """Is left alone as well."""
    product = write(tmp_path, "ending", "import sys\nsys.exit(5)")

    async def main() -> None:
        async with codecs_of(tmp_path) as codecs:
            said = "codec ending:codec ended its worker process (exit code 5)"
            assert await fault(codecs.encode(product, MESSAGE)) == said
            assert await fault(codecs.encode(product, MESSAGE)) == said
            assert codecs.pids == []

    run(main())


def test_a_process_that_dies_between_calls_is_replaced(run: Run, tmp_path: Path) -> None:
    """No call notices."""
    good = write(tmp_path, "good", PLAIN)

    async def main() -> None:
        async with codecs_of(tmp_path) as codecs:
            for _ in range(2):
                assert json.loads(await codecs.encode(good, MESSAGE)) == MESSAGE
                (pid,) = codecs.pids
                os.kill(pid, signal.SIGKILL)
                await until(lambda: not codecs.pids)

    run(main())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds to a bound on address space")
def test_a_codec_that_takes_too_much_memory_fails(run: Run, tmp_path: Path) -> None:
    """Its process is replaced, as what it holds would be missed by others; in the bounds all goes well."""
    body = "kept.append(bytearray(value['mb'] * 2**20))\nreturn b'%d' % len(kept)"
    greedy = write_method(tmp_path, "greedy", body)
    (tmp_path / "greedy.py").write_text("kept = []\n" + (tmp_path / "greedy.py").read_text())

    async def main() -> None:
        async with codecs_of(tmp_path, memory_mb=128) as codecs:
            assert await codecs.encode(greedy, {"mb": 40}) == b"1"
            (pid,) = codecs.pids
            assert await fault(codecs.encode(greedy, {"mb": 128})) == "codec greedy:codec raised MemoryError in encode"
            assert await codecs.encode(greedy, {"mb": 40}) == b"1"
            assert len(codecs.pids) == 1
            assert codecs.pids != [pid]

    run(main())


def test_the_least_memory_is_enough_for_the_sample(run: Run, tmp_path: Path) -> None:
    """With the longest message that a hub reads by default."""
    good = write(tmp_path, "good", PLAIN)

    async def main() -> None:
        async with codecs_of(tmp_path, memory_mb=64) as codecs:
            said = await fault(codecs.encode(good, {"text": "x" * 524_288}))
            assert said.startswith("codec good:codec returned 5243")
            assert json.loads(await codecs.encode(good, MESSAGE)) == MESSAGE

    run(main())


def test_what_a_codec_prints_is_logged(run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Never is it taken for an answer; and what it reads from its input is nothing."""
    body = "print('out', repr(sys.stdin.read()), flush=True)\nprint('err\\xff\\x1b', file=sys.stderr)\nreturn b'x'"
    talking = write_method(tmp_path, "talking", body)

    async def main() -> None:
        async with codecs_of(tmp_path) as codecs:
            assert await codecs.encode(talking, MESSAGE) == b"x"
            await until(lambda: len(printed(caplog)) == 2)

    run(main())
    assert printed(caplog) == [("talking:codec", "out ''"), ("talking:codec", "err\xff\x1b")]


def test_what_a_codec_prints_is_bounded(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten lines a second, and a line that does not end is cut."""
    monkeypatch.setattr("enos_ingest.logs.time.monotonic", lambda: 5.0)
    body = "os.write(2, b'x' * 5000 + b'\\n' + b'line\\n' * 500 + b'end')\nos._exit(0)"
    talking = write_method(tmp_path, "talking", body)

    async def main() -> None:
        async with codecs_of(tmp_path) as codecs:
            await fault(codecs.encode(talking, MESSAGE))

    run(main())
    lines = [text for _, text in printed(caplog)]
    assert len(lines) == 10
    assert max(map(len, lines)) == 1000


def test_the_end_of_what_a_codec_prints_is_logged_without_a_line_end(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that dies has no time for one."""
    talking = write_method(tmp_path, "talking", "os.write(2, b'the end')\nos._exit(0)")

    async def main() -> None:
        async with codecs_of(tmp_path) as codecs:
            await fault(codecs.encode(talking, MESSAGE))

    run(main())
    assert printed(caplog) == [("talking:codec", "the end")]


def test_the_environment_holds_no_setting(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where Python is, and the language."""
    monkeypatch.setenv("ENOS_INGEST__STORAGE__URL", "sqlite:///secret.db")
    monkeypatch.setenv("SOME_TOKEN", "secret")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    product = write_method(tmp_path, "looking", "import json\nreturn json.dumps(dict(os.environ)).encode()")

    async def main() -> None:
        async with codecs_of(tmp_path) as codecs:
            environ = json.loads(await codecs.encode(product, MESSAGE))
            assert environ == clean_environment(os.environ)
            assert environ["LC_ALL"] == "C.UTF-8"
            assert "secret" not in str(environ)
            assert environ.keys() >= {"PATH", "LC_ALL"}

    run(main())


def test_only_the_folder_and_what_is_installed_is_imported_from(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the working folder; and a module of the folder takes the place of no other."""
    working, folder = tmp_path / "working", tmp_path / "codecs"
    stray = write_method(working, "stray", "return b'stray'")
    write(folder, "json", "raise RuntimeError('no place for this')")
    product = write(folder, "plain", PLAIN)
    monkeypatch.chdir(working)

    async def main() -> None:
        async with codecs_of(folder) as codecs:
            assert "No module named 'stray'" in await fault(codecs.encode(stray, MESSAGE))
            assert json.loads(await codecs.encode(product, MESSAGE)) == MESSAGE

    run(main())


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (None, "No such file or directory"),
        ("exit 7", "exit code 7"),
        ("exec sleep 1000", "it took too long"),
    ],
)
def test_a_process_that_does_not_start_is_left_alone(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    program: str | None,
    said: str,
) -> None:
    """For a while all calls fail at once, with the reason, which is logged once."""
    python = tmp_path / "python"
    if program is not None:
        python.write_text(f"#!/bin/sh\necho x >> {tmp_path}/tries\n{program}\n")
        python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    if said == "it took too long":
        monkeypatch.setattr(process_module, "_START_SECONDS", 3.0)
    product = write(tmp_path, "plain", PLAIN)

    async def main() -> None:
        async with codecs_of(tmp_path) as codecs:
            for _ in range(3):
                assert (await fault(codecs.encode(product, MESSAGE))) == (
                    f"the worker process of codecs did not start: {said}"
                )
            assert codecs.pids == []

    run(main())
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1
    assert program is None or (tmp_path / "tries").read_text() == "x\n"


@pytest.mark.parametrize("codec", ["plain:codec", "hanging:codec"])
def test_the_process_ends_with_a_hub_that_is_killed(tmp_path: Path, codec: str) -> None:
    """While it waits for a call, and while a codec does not come back."""
    write(tmp_path, "plain", PLAIN)
    begun = tmp_path / "begun"
    write_method(tmp_path, "hanging", f"open({str(begun)!r}, 'w').close()\n{HANG}")
    hub = subprocess.Popen([sys.executable, "-c", HUB, str(tmp_path), codec], stdout=subprocess.PIPE, text=True)
    try:
        assert hub.stdout is not None
        pid = int(hub.stdout.readline())
        if codec == "plain:codec":
            assert hub.stdout.readline() == "called\n"
        else:
            eventually(begun.exists)
        assert not is_gone(pid)
    finally:
        hub.kill()
        hub.communicate()
    eventually(lambda: is_gone(pid))
