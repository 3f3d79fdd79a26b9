"""A mosquitto of our own, on a free port of the loopback interface."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.endpoint.waiting import eventually

__all__ = ["run_mosquitto"]

_TRIES = 5


@contextmanager
def run_mosquitto() -> Iterator[int]:
    """Run one, with its defaults, which let anybody in from this machine; gives the port."""
    for _ in range(_TRIES):
        with _started(_free_port()) as port:
            if port is not None:
                yield port
                return
    raise AssertionError("mosquitto does not start")


@contextmanager
def _started(port: int) -> Iterator[int | None]:
    """One on this port; None where it ends at once, as somebody else was faster to take the port."""
    with subprocess.Popen(["mosquitto", "-p", str(port)], stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: _answers(port) or process.poll() is not None)
            yield port if process.poll() is None else None
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
