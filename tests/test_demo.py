"""`scripts/demo`, run as a person runs it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process import PATIENCE, environment, eventually

ROOT = Path(__file__).parent.parent
DEMO = str(ROOT / "scripts" / "demo")
CODES = ("200", "1204", "1206", "1212", "1257")
LIVE = "Ctrl-C ends the demo"


def environ() -> dict[str, str]:
    """The environment for a script: this interpreter, which has everything, and no virtual environment to make."""
    return {**environment(), "ENOS_INGEST_PYTHON": sys.executable}


class Demo:
    """A running demo; its output is read as it is written."""

    def __init__(self, *arguments: str, cwd: Path = ROOT) -> None:
        self._text = ""
        self._news = threading.Condition()
        self._ended = False
        # A session of its own, so that a signal to the group reaches what Ctrl-C on a terminal would reach.
        self._process = subprocess.Popen(
            [DEMO, *arguments],
            cwd=cwd,
            env=environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name="output of the demo")
        self._reader.start()

    def wait_for(self, text: str) -> str:
        """Everything printed so far, once `text` is among it."""
        with self._news:
            self._news.wait_for(lambda: text in self._text or self._ended, PATIENCE)
            assert text in self._text, self._text
            return self._text

    def press_ctrl_c(self) -> None:
        """Signal all that runs in the foreground."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """The exit code and everything printed, once it has ended by itself."""
        try:
            code = self._process.wait(PATIENCE)
        finally:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._reader.join(PATIENCE)
        return code, self._text

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                with self._news:
                    self._text += line
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


@pytest.fixture(scope="module")
def serving() -> Iterator[tuple[Demo, str]]:
    """A demo after its tour, and what it has printed by then."""
    demo = Demo()
    try:
        yield demo, demo.wait_for(LIVE)
    finally:
        demo.press_ctrl_c()
        demo.end()


def commands(printed: str) -> dict[str, str]:
    """The commands under "Your turn", by their titles."""
    turn = printed.partition(" Your turn ")[2]
    blocks = re.findall(r"^# (.+)\n((?:.+\n)+)", turn, flags=re.MULTILINE)
    return dict(blocks)


def run(command: str) -> str:
    """A command line in a shell, as pasted; its standard output."""
    done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def once() -> str:
    """What `scripts/demo --once` prints."""
    code, text = Demo("--once").end()
    assert code == 0, text
    return text


def test_once_shows_every_code_and_ends_with_0(once: str) -> None:
    """The tour shows each return code, the stored points and the refused messages, and leaves nothing behind."""
    text = once
    for number in CODES:
        assert re.search(rf"^{number} +\S.*\n.*/.*\n(?:.*\n)*?.*\"code\": {number}", text, re.MULTILINE), number
    assert "should have been" not in text
    assert "INV.GenActivePW" in text.partition("$ enos-ingest points")[2]
    assert "1257" in text.partition("$ enos-ingest quarantine ls")[2]
    assert not Path(re.findall(r"^Its log is (.*)/hub.log$", text, re.MULTILINE)[0]).exists()


def test_once_shows_each_topic_with_the_codes_that_it_can_have(once: str) -> None:
    """The table at the end counts every code on every topic, but 1257 where there is none."""
    rows = dict(re.findall(r"^(\d+) +[a-z ,]+? {2,}([\d-]+ +[\d-]+ +[\d-]+)$", once, re.MULTILINE))
    assert {number: [count != "-" for count in row.split()] for number, row in rows.items()} == {
        "200": [True, True, True],
        "1204": [True, True, True],
        "1206": [True, True, True],
        "1212": [True, True, True],
        "1257": [False, False, True],
    }


@pytest.mark.needs("mosquitto_pub", "mosquitto_sub")  # and mosquitto_rr, of the same package
def test_the_printed_lines_work_against_it(serving: tuple[Demo, str]) -> None:
    """Every mosquitto line that the demo prints is accepted, and the watching operator sees the replies."""
    lines = commands(serving[1])
    watch = next(line for title, line in lines.items() if title.startswith("Watch"))
    requests = [line for line in lines.values() if "-m " in line]
    ids = [re.findall(r'"id": "(\d+)"', line)[0] for line in requests]
    expected = dict(zip(ids, (200, 1204, 200, 200), strict=True))
    with subprocess.Popen(["sh", "-ec", f"exec {watch.strip()}"], stdout=subprocess.PIPE, text=True) as watcher:
        try:
            assert watcher.stdout is not None
            # Whatever arrives first says that the subscription stands: the plant reports every few seconds.
            watcher.stdout.readline()
            printed = [run(line) for line in requests]
            seen: dict[str, int] = {}
            for line in watcher.stdout:
                reply = re.search(r'\{"id":"(\d+)","code":(\d+)', line)
                if reply and reply[1] in expected:
                    seen[reply[1]] = int(reply[2])
                if seen.keys() == expected.keys():
                    break
        finally:
            watcher.kill()
    assert seen == expected
    assert printed == [f'{{"id":"{ids[0]}","code":200,"data":{{}}}}\n', "", "", ""]


@pytest.mark.needs("mosquitto_pub")
def test_who_takes_the_place_of_a_device_does_not_end_it(serving: tuple[Demo, str]) -> None:
    """The simulated device connects again, its sub-devices log in again, and the plant goes on reporting."""
    demo, text = serving
    setup = "\n".join(looking_around(text)[:3])
    watch = next(line for title, line in commands(text).items() if title.startswith("Watch"))
    address = " ".join(re.findall(r"-[hp] \S+", watch))
    options = "enos-ingest credentials GwQ7Lm2A/gw-1 --options"
    run(f'{setup}\neval "set -- $({options})"\nmosquitto_pub "$@" {address} -t /sys/GwQ7Lm2A/gw-1/x -m x')
    demo.wait_for("Again:")
    eventually(lambda: "3 devices, 200 in" in demo.wait_for("Again:").partition("Again:")[2])


@pytest.mark.needs("curl")
def test_the_printed_call_sets_a_value(serving: tuple[Demo, str]) -> None:
    """The line of business software works when pasted: the plant's inverter answers it."""
    line = next(line for title, line in commands(serving[1]).items() if title.startswith("Set a value"))
    assert '"code":0,"msg":"Success"' in run(line)


def looking_around(printed: str) -> list[str]:
    """The lines under "Look around": three that set up a shell, then commands."""
    return [line[2:] for line in printed.partition("Look around")[2].splitlines() if line.startswith("  ")]


def test_the_printed_commands_look_around(serving: tuple[Demo, str]) -> None:
    """The lines that look around work when pasted: each prints something and ends with 0."""
    lines = looking_around(serving[1])
    setup, looks = lines[:3], [line for line in lines[3:] if line.startswith("enos-ingest ")]
    assert len(looks) == 9
    for look in looks:
        assert run("\n".join([*setup, look])), look


def test_once_shows_values_on_their_way_back(once: str) -> None:
    """What is typed, what the device gets and answers, and what the shell is told, also of a device that is offline."""
    text = once.partition("9. Values go back")[2]
    switched = text.partition("An inverter is switched")[2]
    assert "$ enos-ingest command set InvK3x9P/inv-9 INV.State 1\n" in switched
    command_id = re.findall(
        r'"id": "(\d{18})", "version": "1.0", "method": "thing.service.measurepoint.set"', switched
    )[0]
    assert f'"id": "{command_id}", "code": 200' in switched
    assert f"\n  {command_id}  success\n" in switched
    assert "/sys/BatR8t4Z/rack-1/thing/service/measurepoint/set" in text
    assert re.search(r'success +\{"applied":50\.?0?\}', text)
    listed = text.partition("$ enos-ingest command ls")[2]
    assert re.findall(r"Z  (\S+) +(\S+)/", listed) == [
        ("created", "InvK3x9P"),
        ("success", "BatR8t4Z"),
        ("success", "InvK3x9P"),
        ("success", "InvK3x9P"),
    ]


@pytest.mark.parametrize(
    "moment",
    ["1. A plant is declared", "2. Devices connect", "5. Many reports", "8. What is", "9. Values", " kW, 200 in "],
)
def test_ctrl_c_at_any_moment_ends_it_in_order(moment: str) -> None:
    """Wherever the tour is, or while the plant reports live, Ctrl-C ends it, and the hub in order."""
    demo = Demo()
    demo.wait_for(moment)
    demo.press_ctrl_c()
    code, text = demo.end()
    assert (code, "Traceback" in text) == (0, False), text
    folder = re.findall(r"^Its log is (.*)/hub.log$", text, re.MULTILINE)
    assert not folder or not Path(folder[0]).exists()
    assert not folder or text.endswith("The hub has stopped. Its files are removed.\n")


def test_taken_ports_are_named_and_others_used() -> None:
    """Where 1883 and 8080 are taken the demo says so and serves on other ports."""
    with contextlib.ExitStack() as stack:
        for port in (1883, 8080):
            holder = stack.enter_context(socket.socket())
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):  # somebody else holds it already
                holder.bind(("127.0.0.1", port))
                holder.listen()
        code, text = Demo("--once").end()
    assert code == 0
    assert re.search(r"^Port 1883 is taken: MQTT is served on \d+ here\.$", text, re.MULTILINE)
    assert re.search(r"^Port 8080 is taken: HTTP is served on \d+ here\.$", text, re.MULTILINE)


def test_a_folder_is_kept_and_taken_again(tmp_path: Path) -> None:
    """--folder starts at the caller's folder, keeps the files, and serves for another demo."""
    for _ in range(2):
        code, text = Demo("--once", "--folder", "kept", cwd=tmp_path).end()
        assert code == 0, text
    assert {"data", "enos-ingest.toml", "hub.log", "registry.toml"} <= {
        path.name for path in (tmp_path / "kept").iterdir()
    }


def test_somebody_elses_folder_is_refused(tmp_path: Path) -> None:
    """A folder with other files is not touched: one sentence, exit code 3."""
    (tmp_path / "enos-ingest.toml").write_text("# mine\n")
    code, text = Demo("--once", "--folder", str(tmp_path)).end()
    assert code == 3
    assert text.endswith(f"scripts/demo: {tmp_path} holds other files: name a new folder, or one of an earlier demo\n")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("enos-ingest.toml", "# mine\n")]


@pytest.mark.needs("bash")
def test_a_reader_that_leaves_ends_it_quietly() -> None:
    """`scripts/demo --once | head -1` prints one line and no complaint."""
    command = ["bash", "-c", f"set -o pipefail; '{DEMO}' --once | head -1"]
    done = subprocess.run(command, env=environ(), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
