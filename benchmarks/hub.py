"""What is measured: a hub of this checkout or of another, or a peer, as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.process import Process

__all__ = ["HERE", "Hub", "HubError", "run_hub", "run_peer"]

HERE = Path(__file__).resolve().parent.parent
"""The checkout that this file is part of."""

_STOP_SECONDS = 60.0
_HTTP_SECONDS = 30.0


class HubError(Exception):
    """There is nothing to measure: the hub does not start, or says nothing."""


@dataclass(frozen=True)
class Hub:
    """A running server.

    Args:
        http: where its metrics are, None where nobody tells.
        process: what it uses of the machine, None where it is none of ours.
        folder: its files.
    """

    host: str
    port: int
    http: str | None = None
    process: Process | None = None
    folder: Path | None = None

    @property
    def database(self) -> Path:
        """The database of a hub of ours."""
        assert self.folder is not None
        return self.folder / "data" / "enos-ingest.db"

    @property
    def log(self) -> Path:
        """What it writes to standard error."""
        assert self.folder is not None
        return self.folder / "hub.log"

    def cpu_seconds(self) -> float | None:
        """How much processor time it has used, where that can be seen."""
        return None if self.process is None else self.process.cpu_seconds()

    def resident_bytes(self) -> int | None:
        """How much memory it has now, where that can be seen."""
        return None if self.process is None else self.process.resident_bytes()

    def metric(self, name: str) -> float | None:
        """A metric without labels, None where it has none of that name."""
        if self.http is None:
            return None
        # Not through a proxy that the environment may name.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{self.http}/metrics", timeout=_HTTP_SECONDS) as response:
            found = re.search(rf"^{re.escape(name)} (\S+)", response.read().decode(), re.MULTILINE)
        return float(found[1]) if found else None

    def unfolded_points(self) -> int | None:
        """How many committed points wait to be folded into their place, None where nothing ever does."""
        told = self.metric("enos_ingest_unfolded_points")
        if told is not None:
            return int(told)
        with contextlib.closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'inbox'").fetchone():
                return None
            return int(connection.execute("SELECT coalesce(sum(points), 0) FROM inbox").fetchone()[0])

    def worst_commit_seconds(self) -> float | None:
        """The longest commit so far, None for a hub that does not tell."""
        return self.metric("enos_ingest_worst_commit_seconds")


@contextlib.contextmanager
def run_hub(
    folder: Path,
    registry: str,
    *,
    checkout: Path = HERE,
    module: Sequence[str] = ("enos_ingest", "serve"),
    limits: Mapping[str, int] | None = None,
) -> Iterator[Hub]:
    """A hub on free ports.

    Args:
        registry: its registry file's text.
        checkout: whose code it runs, with the Python and the packages that run us.
        module: the module that serves, with its first arguments.
        limits: settings `limits.*` that are not the defaults.

    Raises:
        HubError: it does not start; with what it wrote last.
    """
    (folder / "registry.toml").write_text(registry, "utf-8")
    config = folder / "enos-ingest.toml"
    lines = [
        '[mqtt]\nbind = "127.0.0.1:0"\n[http]\nbind = "127.0.0.1:0"',
        '[registry]\nfile = "registry.toml"\n[log]\nformat = "json"\n[limits]',
        *(f"{name} = {value}" for name, value in (limits or {}).items()),
    ]
    config.write_text("\n".join(lines) + "\n", "utf-8")
    command = [sys.executable, "-m", *module, "-c", str(config)]
    log = folder / "hub.log"

    def listening() -> Hub | None:
        for line in log.read_text("utf-8", "replace").splitlines():
            if '"event":"listening"' in line:
                with contextlib.suppress(json.JSONDecodeError):
                    found = json.loads(line)
                    host, _, port = found["mqtt"].rpartition(":")
                    return Hub(host, int(port), found["http"], Process(process.pid), folder)
        return None

    with log.open("wb") as output, _running(command, folder, output=None, errors=output, path=checkout) as process:
        yield _await_start(process, log, listening)


@contextlib.contextmanager
def run_peer(folder: Path, registry: str, command: Sequence[str]) -> Iterator[Hub]:
    """A peer, which is told where the registry file is and where its files go, and says on which port it listens.

    Raises:
        HubError: it does not start; with what it wrote last.
    """
    file, said, log = folder / "registry.toml", folder / "peer.out", folder / "hub.log"
    file.write_text(registry, "utf-8")
    arguments = [*command, "--registry", str(file), "--folder", str(folder), "--port", "0"]

    def listening() -> Hub | None:
        found = re.search(r"^listening (\S+):(\d+)$", said.read_text("utf-8", "replace"), re.MULTILINE)
        return Hub(found[1], int(found[2]), None, Process(process.pid), folder) if found else None

    with (
        said.open("wb") as output,
        log.open("wb") as errors,
        _running(arguments, folder, output=output, errors=errors, path=HERE) as process,
    ):
        yield _await_start(process, log, listening)


@contextlib.contextmanager
def _running(
    command: Sequence[str], folder: Path, *, output: IO[bytes] | None, errors: IO[bytes], path: Path
) -> Iterator[subprocess.Popen[bytes]]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ENOS_INGEST__")}
    process = subprocess.Popen(
        command,
        # Not the folder that we run in: `python -m` would find the code of whatever checkout that is.
        cwd=folder,
        env={**environ, "PYTHONPATH": str(path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if output is None else output,
        stderr=errors,
    )
    try:
        yield process
    except BaseException:
        _stop(process)
        raise
    code = _stop(process)
    if code:
        raise HubError(f"the server ended with {code} when it was asked to stop")


def _stop(process: subprocess.Popen[bytes]) -> int:
    """End a process in order, or at once where it does not; returns its exit code."""
    process.terminate()
    try:
        return process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _await_start(process: subprocess.Popen[bytes], log: Path, listening: Callable[[], Hub | None]) -> Hub:
    while True:
        ended = process.poll() is not None
        hub = listening()
        if hub is not None:
            return hub
        if ended:
            lines = log.read_text("utf-8", "replace").splitlines()
            raise HubError(f"the hub does not start: {lines[-1] if lines else 'it says nothing'}")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
