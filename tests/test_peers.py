"""`python -m benchmarks.peers`: what this build is measured against does what it is measured for.

The Node.js peer needs packages that apt does not have: `python -m benchmarks.peers check node` is its test.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.peers.peer import PeerError, run_peer
from tests.process import PATIENCE, environment

ROOT = Path(__file__).parent.parent
REGISTRY = """\
[[products]]
key = "P"
model = "inverter"
[[devices]]
product = "P"
key = "d"
secret = "s"
"""


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """A registry file with one device."""
    path = tmp_path / "bench.toml"
    path.write_text(REGISTRY)
    return path


def command(*arguments: str | Path) -> list[str]:
    """The command line."""
    return [sys.executable, "-m", "benchmarks.peers", *map(str, arguments)]


def run(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command where it is expected to end by itself."""
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
        check=False,
    )


@contextmanager
def taken_port() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.needs("mosquitto")
def test_the_script_stores_what_a_device_reports() -> None:
    """A device reports through mosquitto and the script; what was answered with 200 is read back from the database."""
    done = run("check", "script")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "script: stores before it answers, refuses what does not fit\n"


@pytest.mark.needs("mosquitto")
def test_sigterm_ends_all_processes(tmp_path: Path, registry: Path) -> None:
    """The command says where it listens; after SIGTERM nobody listens there."""
    with subprocess.Popen(
        command("script", "--registry", registry, "--folder", tmp_path / "peer", "--port", "0"),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            word, address = process.stdout.readline().split()
            host, port = address.split(":")
            assert word == "listening"
            socket.create_connection((host, int(port)), PATIENCE).close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(2 * PATIENCE) == 0
        finally:
            process.kill()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), PATIENCE)


@pytest.mark.needs("mosquitto")
def test_the_processes_end_with_the_block(tmp_path: Path, registry: Path) -> None:
    """They run inside the block, and are gone after it."""
    with run_peer("script", registry, tmp_path) as peer:
        assert [process.poll() for process in peer.processes] == [None, None]
    assert None not in [process.poll() for process in peer.processes]


@pytest.mark.needs("mosquitto")
def test_a_peer_whose_part_ends_has_ended(tmp_path: Path, registry: Path) -> None:
    """The script ends when mosquitto does; nobody waits for half a peer."""
    with run_peer("script", registry, tmp_path) as peer:
        os.kill(peer.processes[0].pid, signal.SIGKILL)
        peer.wait()
        assert peer.processes[1].poll() == 1


@pytest.mark.needs("mosquitto")
def test_a_taken_port_is_said(tmp_path: Path, registry: Path) -> None:
    """A port that was asked for and is not free ends the start, with mosquitto's own words."""
    with taken_port() as port:
        done = run("script", "--registry", registry, "--folder", tmp_path, "--port", str(port))
    assert done.returncode == 1
    assert "mosquitto does not start" in done.stderr
    assert "Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_packages_get_the_command_that_installs_them(tmp_path: Path, registry: Path) -> None:
    """Without node_modules the Node.js peer says in one sentence how to install it."""
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks", ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas")
    done = run("node", "--registry", registry, "--folder", tmp_path / "peer", cwd=tmp_path)
    sentence = "node_modules is missing: run `npm install --prefix benchmarks/peers/node`"
    assert (done.returncode, done.stderr) == (1, f"benchmarks.peers: {sentence}\n")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[products]", "cannot be used"),
        ("[[products]]\nkey = 'P'\n", "cannot be used"),
        (REGISTRY.replace("inverter", "kettle"), "names the model kettle"),
    ],
)
def test_a_registry_that_is_no_use_is_refused(tmp_path: Path, registry: Path, text: str, sentence: str) -> None:
    """Before any program is started."""
    registry.write_text(text)
    with pytest.raises(PeerError, match=sentence), run_peer("script", registry, tmp_path):
        pytest.fail("a peer runs with it")
