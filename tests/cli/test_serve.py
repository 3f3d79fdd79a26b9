"""What `enos-ingest serve` does about the process: open files, signals."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.process import COMMAND, PATIENCE, environment, running, write_config


def started_with(folder: Path, soft: int, hard: int, connections: int) -> dict[str, Any]:
    """The log line about open files of a hub that the system allows so many; it ends for want of its registry."""
    arguments = ["--set", "registry.file=gone.toml", "--set", f"limits.connections={connections}"]
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


def test_the_limit_on_open_files_is_raised_and_told_in_devices(tmp_path: Path) -> None:
    """The soft limit becomes the hard one; some files are not devices."""
    line = started_with(tmp_path, soft=500, hard=700, connections=300)
    assert (line["level"], line["open_files"], line["connections"]) == ("info", 700, 380)
    assert line["event"] == "open files are enough for so many connections"


@pytest.mark.parametrize(("hard", "devices"), [(600, 280), (60, 0)])
def test_a_limit_on_open_files_that_is_too_low_is_a_warning(tmp_path: Path, hard: int, devices: int) -> None:
    """It is known at the start, not when the fleet comes."""
    line = started_with(tmp_path, soft=hard, hard=hard, connections=281)
    assert (line["level"], line["open_files"], line["connections"]) == ("warning", hard, devices)
    assert line["wanted"] == 281


def test_sighup_without_tls_changes_nothing(tmp_path: Path) -> None:
    """It would end another program; here it is a line in the log."""
    with running(write_config(tmp_path)) as hub:
        hub.signal(signal.SIGHUP)
        hub.wait_for("there is no certificate to read again", level="info")
        assert hub.get("/readyz")[0] == 200
        hub.signal(signal.SIGTERM)
        assert hub.wait() == 0
