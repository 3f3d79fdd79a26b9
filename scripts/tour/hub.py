"""The service as a process of its own, in a folder with its files."""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import sys
from pathlib import Path

from enos_ingest.errors import StartError
from enos_ingest.sockets import Bind, bind_socket
from scripts.tour.stop import Stop

__all__ = ["FolderError", "Hub", "StartFailedError"]

_MADE_BY = "# Made by scripts/demo."
_START_SECONDS = 30.0
_STOP_SECONDS = 20.0
"""More than `limits.drain_seconds`, the 10 seconds that a draining hub takes at most."""


class FolderError(Exception):
    """The folder cannot be used for a demo."""


class StartFailedError(Exception):
    """The service did not start."""


class Hub:
    """A service that is started, looked into and stopped.

    Args:
        folder: where its files go.
        api_key: what commands that call it show.
    """

    def __init__(self, folder: Path, api_key: str) -> None:
        self.folder = folder
        self._environment = {**os.environ, "ENOS_INGEST_KEY": api_key}
        self.config = folder / "enos-ingest.toml"
        self.log = folder / "hub.log"
        self.mqtt = Bind("127.0.0.1", 1883)
        self.http = Bind("127.0.0.1", 8080)
        self._process: subprocess.Popen[bytes] | None = None

    def write_files(self, registry: str) -> None:
        """Write the configuration and the registry file, with free ports where the usual ones are taken.

        Raises:
            FolderError: the folder holds somebody else's files, or cannot be written.
        """
        self.mqtt, self.http = _free(self.mqtt), _free(self.http)
        text = (
            f'{_MADE_BY}\n\n[mqtt]\nbind = "{self.mqtt}"\n\n[http]\nbind = "{self.http}"\n\n'
            '[registry]\nfile = "registry.toml"\n\n[log]\nformat = "human"\n'
        )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            ours = self.config.exists() and self.config.read_text("utf-8").startswith(_MADE_BY)
            if not ours and any(self.folder.iterdir()):
                raise FolderError(f"{self.folder} holds other files: name a new folder, or one of an earlier demo")
            self.config.write_text(text, "utf-8")
            registry_file = self.folder / "registry.toml"
            registry_file.touch(mode=0o600)
            registry_file.write_text(registry, "utf-8")
        except OSError as error:
            raise FolderError(f"{self.folder} cannot be used: {error.strerror or error}") from None

    def start(self, stop: Stop) -> None:
        """Start the service; return when it is ready.

        Raises:
            StartFailedError: it ended, or did not become ready.
            Stopped: somebody asked the tour to end.
        """
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C is for the tour, which then asks the service to drain.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "enos_ingest", "serve", "-c", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        waited = 0.0
        while not self._is_ready():
            stop.wait(0.05)
            waited += 0.05
            if not self.is_running or waited > _START_SECONDS:
                raise StartFailedError(f"the hub does not start: {self.last_words()}")

    @property
    def is_running(self) -> bool:
        """Whether the service is there."""
        return self._process is not None and self._process.poll() is None

    def last_words(self) -> str:
        """The last line that the service wrote."""
        with contextlib.suppress(OSError):
            lines = self.log.read_text("utf-8", "replace").splitlines()
            return lines[-1].removeprefix("enos-ingest: ") if lines else "it says nothing"
        return "its log cannot be read"

    def stop(self) -> int | None:
        """Ask the service to drain, and wait; its exit code, None where none was running."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._process.wait()

    def kill(self) -> None:
        """End the service at once."""
        if self._process is not None:
            self._process.kill()

    def run(self, *arguments: str) -> str:
        """Run `enos-ingest` with this hub's configuration, and return what it prints."""
        return self.call(*arguments)[1]

    def call(self, *arguments: str) -> tuple[int, str]:
        """The same, with the exit code before it."""
        done = subprocess.run(
            [sys.executable, "-m", "enos_ingest", *arguments[:2], "-c", str(self.config), *arguments[2:]],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            start_new_session=True,
        )
        return done.returncode, done.stdout.decode("utf-8", "replace")

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(self.http.host, self.http.port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _free(wanted: Bind) -> Bind:
    """The address, with another port where its own is taken."""
    for bind in (wanted, Bind(wanted.host, 0)):
        try:
            with bind_socket(bind) as bound:
                return Bind(bind.host, bound.getsockname()[1])
        except StartError:
            continue
    return wanted
