"""What `enos-ingest serve` does about the process: open files, signals."""

from __future__ import annotations

import contextlib
import json
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.process import COMMAND, PATIENCE, environment, running, write_config

REGISTRY = """
[[products]]
key = "P"
model = "inverter"
[[devices]]
product = "P"
key = "d"
secret = "s"
"""


def started_with(folder: Path, soft: int, hard: int, connections: int, http: int = 200) -> dict[str, Any]:
    """The log line about open files of a hub that the system allows so many; it ends for want of its registry."""
    limits = {"connections": connections, "http_connections": http}
    arguments = ["--set", "registry.file=gone.toml"]
    for name, value in limits.items():
        arguments += ["--set", f"limits.{name}={value}"]
    done = subprocess.run(
        ["sh", "-c", f'ulimit -Sn {soft}; ulimit -Hn {hard}; exec "$@"', "sh", *COMMAND, "serve", *arguments],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    (found,) = [line for line in lines if "open files" in line["event"]]
    return dict(found)


def test_the_limit_on_open_files_is_raised_and_told_in_connections(tmp_path: Path) -> None:
    """The soft limit becomes the hard one; some files are no connections."""
    line = started_with(tmp_path, soft=500, hard=700, connections=300)
    assert (line["level"], line["open_files"], line["connections"], line["http_connections"]) == ("info", 700, 308, 200)
    assert line["event"] == "open files are enough for so many connections"


@pytest.mark.parametrize(
    ("hard", "devices", "http", "wanted"),
    [
        (692, 300, 200, None),
        (691, 300, 199, {"limits.http_connections": 200}),
        (592, 300, 100, {"limits.http_connections": 200}),
        (591, 300, 99, {"limits.http_connections": 200}),
        (590, 299, 99, {"limits.connections": 300, "limits.http_connections": 200}),
        (60, 0, 0, {"limits.connections": 300, "limits.http_connections": 200}),
    ],
)
def test_a_limit_on_open_files_that_is_too_low_is_a_warning(
    tmp_path: Path, hard: int, devices: int, http: int, wanted: dict[str, int] | None
) -> None:
    """It is known at the start, not when the fleet comes; devices come first, and HTTP keeps a quarter."""
    line = started_with(tmp_path, soft=hard, hard=hard, connections=300)
    assert (line["open_files"], line["connections"], line["http_connections"]) == (hard, devices, http)
    assert (line["level"], line.get("wanted")) == ("warning" if wanted else "info", wanted)


@contextlib.contextmanager
def flood(address: tuple[str, int], *, kept: int) -> Iterator[None]:
    """Open far more connections than are kept; the block starts once all others have been closed."""
    with contextlib.ExitStack() as opened:
        sockets = {opened.enter_context(socket.create_connection(address, PATIENCE)) for _ in range(kept + 400)}
        while len(sockets) > kept:
            readable, _, _ = select.select(sockets, [], [], PATIENCE)
            assert readable, f"{len(sockets)} are open"
            for each in readable:
                with contextlib.suppress(ConnectionResetError):
                    if each.recv(100):
                        continue  # CONNACK 3
                sockets.discard(each)
        yield


def test_devices_and_callers_cannot_take_each_others_files(tmp_path: Path) -> None:
    """With every connection of the one kind taken, the other kind is served, from no more files than they need."""
    bounds = "connections = 60\nhttp_connections = 60\nconnect_seconds = 60"
    few_files = ["sh", "-c", 'ulimit -n 312; exec "$@"', "sh"]
    with running(write_config(tmp_path, REGISTRY, limits=bounds), prefix=few_files) as hub:
        assert hub.wait_for("open files", level="info")["open_files"] == 312
        host, _, port = hub.address.rpartition(":")
        with flood((host, int(port)), kept=60), hub.connect("P/d", "s") as device:
            assert device.resume({"temp": 21.5}, time=1)["code"] == 200
        with flood(hub.endpoint, kept=60):
            assert hub.get("/readyz")[0] == 200
        assert [line for line in hub.lines if line["level"] == "error"] == []


def test_sighup_without_tls_changes_nothing(tmp_path: Path) -> None:
    """It would end another program; here it is a line in the log."""
    with running(write_config(tmp_path)) as hub:
        hub.signal(signal.SIGHUP)
        hub.wait_for("there is no certificate to read again", level="info")
        assert hub.get("/readyz")[0] == 200
        hub.signal(signal.SIGTERM)
        assert hub.wait() == 0
