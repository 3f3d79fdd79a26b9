"""The hub as a process of its own, as an operator runs it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from enos_ingest.protocol.credentials import Credentials, make_credentials
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.testing.client import TestClient

__all__ = [
    "COMMAND",
    "PATIENCE",
    "HubProcess",
    "environment",
    "eventually",
    "next_millisecond",
    "running",
    "serve_once",
    "sign_in",
    "write_config",
]

PATIENCE = 60.0
"""Seconds after which a test that waits for an event is given up: no measure of speed, a machine may be busy."""

_PAUSE = 0.005

COMMAND = (sys.executable, "-m", "enos_ingest")


def environment(**settings: str) -> dict[str, str]:
    """Our environment without settings of a hub, but for these: `mqtt__bind="127.0.0.1:0"`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ENOS_INGEST__")}
    return {**inherited, **{f"ENOS_INGEST__{name.upper()}": value for name, value in settings.items()}}


def eventually(look: Callable[[], bool]) -> None:
    """Look again and again until it is so: for what tells nobody."""
    deadline = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(_PAUSE)  # without it a hub in this process would have to wait for us


def next_millisecond() -> None:
    """Come back in another millisecond: points without times have that of their receipt, and replace those of it."""
    now = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 == now:
        pass


def write_config(folder: Path, registry: str = "", **sections: str) -> Path:
    """A configuration in a folder: free ports, the database beside it, a registry that is applied at start.

    Args:
        registry: the registry file's TOML text.
        sections: the lines of other sections, or in place of these, such as `limits="drain_seconds = 60"`.
    """
    (folder / "registry.toml").write_text(registry)
    lines = {
        "mqtt": 'bind = "127.0.0.1:0"',
        "http": 'bind = "127.0.0.1:0"',
        "storage": 'url = "sqlite:///data/hub.db"',
        "registry": 'file = "registry.toml"',
        "log": 'format = "json"',
    }
    path = folder / "hub.toml"
    path.write_text("".join(f"[{section}]\n{text}\n" for section, text in {**lines, **sections}.items()))
    return path


class HubProcess:
    """A running `enos-ingest serve`; its log lines are read as they are written.

    Attributes:
        lines: the log so far, one dict a line.
        said: the lines of standard error that are no log lines.
    """

    def __init__(
        self,
        arguments: Sequence[str | Path],
        *,
        cwd: Path,
        environ: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self.lines: list[dict[str, Any]] = []
        self.said: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._process = subprocess.Popen(
            [*prefix, *COMMAND, "serve", *map(str, arguments)],
            cwd=cwd,
            env=environment() if environ is None else dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, name="log of the hub")
        self._reader.start()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def store_pid(self) -> int:
        """The id of the process that owns the database: the one child of a hub without codecs. Linux tells."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        (child,) = [int(child) for task in tasks for child in (task / "children").read_text().split()]
        return child

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port where MQTT is served, once it is."""
        host, _, port = str(self.wait_for("listening")["mqtt"]).rpartition(":")
        return host, int(port)

    @property
    def address(self) -> str:
        """Host and port where HTTP is served, once it is."""
        return str(self.wait_for("listening")["http"])

    def wait_for(self, event: str, *, after: int = 0, **fields: Any) -> dict[str, Any]:
        """The first log line whose event matches a regular expression and that has these fields.

        Args:
            after: how many lines of the log to pass over, such as `len(hub.lines)` before the cause.
        """

        def found() -> dict[str, Any] | None:
            matching = (line for line in self.lines[after:] if re.search(event, str(line["event"])))
            return next((line for line in matching if fields.items() <= line.items()), None)

        with self._news:
            self._news.wait_for(lambda: found() or self._ended, PATIENCE)
            line = found()
        if line is None:
            raise AssertionError(f"no log line {event!r} with {fields} in:\n" + self.log())
        return line

    def log(self) -> str:
        """Everything that was written to standard error, for messages of failed tests."""
        return "\n".join([*map(str, self.lines), *self.said])

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """The exit code, once the process has ended by itself."""
        code = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        self._process.kill()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self._process.stderr is not None
        self._process.stderr.close()

    def connect(self, device: str, secret: str) -> TestClient:
        """A client that is the device `PRODUCT/DEVICE`."""
        return TestClient(*self.endpoint, sign_in(device, secret), device)

    def get(self, path: str) -> tuple[int, str]:
        """The status and body of a GET."""
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for text in self._process.stderr:
            with self._news:
                try:
                    self.lines.append(json.loads(text))
                except ValueError:
                    self.said.append(text.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


@contextlib.contextmanager
def running(
    config: Path, *, environ: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
) -> Iterator[HubProcess]:
    """A hub that is killed at the end of the block, if it has not ended; it listens when the block starts.

    Args:
        prefix: a program that is started instead and runs it, with its arguments.
    """
    hub = HubProcess(["-c", config], cwd=config.parent, environ=environ, prefix=prefix)
    try:
        hub.wait_for("listening")
        yield hub
    finally:
        hub.kill()


def serve_once(
    arguments: Sequence[str | Path], *, cwd: Path, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `enos-ingest serve` where it is expected to end by itself."""
    return subprocess.run(
        [*COMMAND, "serve", *map(str, arguments)],
        cwd=cwd,
        env=environment() if environ is None else dict(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def sign_in(device: str, secret: str) -> Credentials:
    """What the device `PRODUCT/DEVICE` puts into CONNECT."""
    product_key, _, device_key = device.partition("/")
    return make_credentials(DeviceId(product_key, device_key), secret, 1_795_221_824_968)
