"""Debian's mosquitto-clients, run as a person at a bench runs them."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

from enos_ingest.testing.hub import Hub
from tests.process import COMMAND, PATIENCE, environment

__all__ = ["Watcher", "ask", "command_options", "publish", "watching"]


def publish(hub: Hub, *arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run mosquitto_pub against a hub."""
    return subprocess.run(
        ["mosquitto_pub", "-h", hub.host, "-p", str(hub.port), *arguments],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )


def ask(hub: Hub, *arguments: str) -> bytes:
    """Run mosquitto_rr, of the same package, against a hub: a request whose reply it waits for and prints."""
    topic = arguments[arguments.index("-t") + 1]
    done = subprocess.run(
        # It would speak MQTT 5.
        ["mosquitto_rr", "-V", "311", "-h", hub.host, "-p", str(hub.port), *arguments, "-e", f"{topic}_reply"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )
    return done.stdout


def command_options(hub: Hub, device: str) -> list[str]:
    """What `enos-ingest credentials DEVICE --options` prints, as a shell would read it."""
    done = subprocess.run(
        [*COMMAND, "credentials", device, "--options"],
        env=environment(storage__url=f"sqlite:///{hub.database}"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return shlex.split(done.stdout)


class Watcher:
    """A running `mosquitto_sub -v`; `-d` has it tell when its subscription stands."""

    def __init__(self, hub: Hub, *arguments: str) -> None:
        self.messages: list[tuple[str, str]] = []
        """Topic and payload of each message so far."""
        self._subscribed = False
        self._ended = False
        self._news = threading.Condition()
        # A terminal, as at the bench: into a pipe the program would keep back what it has to say.
        self._terminal, end = os.openpty()
        self._process = subprocess.Popen(
            ["mosquitto_sub", "-h", hub.host, "-p", str(hub.port), "-v", "-d", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=end,
        )
        os.close(end)
        self._reader = threading.Thread(target=self._read, name="mosquitto_sub")
        self._reader.start()

    def wait_until_subscribed(self) -> None:
        """Wait for SUBACK."""
        with self._news:
            assert self._news.wait_for(lambda: self._subscribed or self._ended, PATIENCE)
            assert self._subscribed

    def wait_for(self, count: int) -> list[tuple[str, str]]:
        """The first messages, once there are so many."""
        with self._news:
            self._news.wait_for(lambda: len(self.messages) >= count or self._ended, PATIENCE)
            assert len(self.messages) >= count, self.messages
            return self.messages[:count]

    def wait_for_reply(self, request_id: str) -> dict[str, Any]:
        """The reply to a request, once it has been seen."""

        def found() -> dict[str, Any] | None:
            replies = (json.loads(payload) for topic, payload in self.messages if topic.endswith("_reply"))
            return next((reply for reply in replies if reply["id"] == request_id), None)

        with self._news:
            self._news.wait_for(lambda: found() or self._ended, PATIENCE)
            reply = found()
        assert reply is not None, self.messages
        return reply

    def close(self) -> None:
        """End the program; with SIGTERM its handler would print, and with that at times its last line a second time."""
        self._process.kill()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        os.close(self._terminal)

    def _read(self) -> None:
        for line in self._lines():
            with self._news:
                topic, _, payload = line.partition(" ")
                if topic.startswith(("/", "sys/")):
                    self.messages.append((topic, payload))
                elif topic == "Subscribed":
                    self._subscribed = True
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _lines(self) -> Iterator[str]:
        rest = b""
        while True:
            try:
                rest += os.read(self._terminal, 65536)
            except OSError:  # nobody is at the other end any more
                return
            *lines, rest = rest.split(b"\r\n")
            for line in lines:
                yield line.decode()


@contextlib.contextmanager
def watching(hub: Hub, *arguments: str) -> Iterator[Watcher]:
    """Watch topics, from now until the end of the block."""
    watcher = Watcher(hub, *arguments)
    try:
        watcher.wait_until_subscribed()
        yield watcher
    finally:
        watcher.close()
