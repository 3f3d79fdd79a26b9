"""A peer that runs: its programs started, its address known, all of them ended with the block."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from enos_ingest.errors import EnosIngestError
from enos_ingest.models.catalogue import Catalogue

__all__ = ["PEERS", "Peer", "PeerError", "run_peer"]

_HERE = Path(__file__).parent
_SCHEMAS = _HERE.parent.parent / "schemas"
_HOST = "127.0.0.1"
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0

_MOSQUITTO = """\
# Every packet at once, and nothing dropped or held back by a limit.
listener {port} {host}
set_tcp_nodelay true
max_inflight_messages 0
max_queued_messages 0
max_connections -1
# A password file cannot hold a device's signature, which is made anew for each connection.
allow_anonymous true
persistence false
connection_messages false
log_dest stderr
"""


class PeerError(Exception):
    """A peer cannot run: a program is missing, or does not start; with what it wrote last."""


@dataclass(frozen=True)
class Peer:
    """Where a peer serves MQTT, and the database that it stores in."""

    host: str
    port: int
    database: Path
    processes: Sequence[subprocess.Popen[bytes]]

    def wait(self) -> None:
        """Wait until the peer ends by itself, which it does when one of its processes does."""
        self.processes[-1].wait()


@contextlib.contextmanager
def run_peer(name: str, registry: Path, folder: Path, port: int = 0) -> Iterator[Peer]:
    """Run one of PEERS, ready for devices.

    Args:
        registry: a registry file; of it the products' models and the devices' secrets are used.
        folder: for the database and the logs; made where it is missing.
        port: where to listen on 127.0.0.1; 0 for a free one.

    Raises:
        PeerError: it cannot run.
    """
    (folder / "models").mkdir(parents=True, exist_ok=True)
    _write_models(registry, folder / "models")
    database = folder / "points.db"
    arguments = [
        *("--registry", registry, "--database", database),
        *("--envelopes", _SCHEMAS / "envelopes", "--models", folder / "models"),
    ]
    with contextlib.ExitStack() as stack:
        processes, port = PEERS[name](stack, list(map(str, arguments)), folder, port)
        yield Peer(_HOST, port, database, processes)


_Started = tuple[Sequence[subprocess.Popen[bytes]], int]
"""The processes of a peer, the one that ends when another does last; and the port."""


def _start_node(stack: contextlib.ExitStack, arguments: Sequence[str], folder: Path, port: int) -> _Started:
    node = _HERE / "node"
    if not (node / "node_modules").is_dir():
        raise PeerError("node_modules is missing: run `npm install --prefix benchmarks/peers/node`")
    command = [_program("node"), str(node / "server.mjs"), *arguments, "--port", str(port)]
    server = stack.enter_context(_process(command, folder / "node.log", subprocess.PIPE))
    return [server], _await_listening("server.mjs", server, folder / "node.log")


def _start_script(stack: contextlib.ExitStack, arguments: Sequence[str], folder: Path, port: int) -> _Started:
    broker, port = _start_mosquitto(stack, folder, port)
    command = [sys.executable, str(_HERE / "script" / "ingest.py"), *arguments, "--port", str(port)]
    script = stack.enter_context(_process(command, folder / "ingest.log", subprocess.PIPE))
    return [broker, script], _await_listening("ingest.py", script, folder / "ingest.log")


PEERS: Mapping[str, Callable[[contextlib.ExitStack, Sequence[str], Path, int], _Started]] = MappingProxyType(
    {"node": _start_node, "script": _start_script}
)
"""How each peer is started, by name."""


def _start_mosquitto(stack: contextlib.ExitStack, folder: Path, port: int) -> tuple[subprocess.Popen[bytes], int]:
    config, log = folder / "mosquitto.conf", folder / "mosquitto.log"
    while True:
        # mosquitto takes no port 0. What is free here may be taken a moment later, hence the loop.
        chosen = port or _free_port()
        config.write_text(_MOSQUITTO.format(host=_HOST, port=chosen), "utf-8")
        broker = stack.enter_context(_process([_program("mosquitto"), "-c", str(config)], log, subprocess.DEVNULL))
        if _runs(broker, log):
            return broker, chosen
        if port or "Address already in use" not in _complaint(log):
            raise PeerError(f"mosquitto does not start: {_complaint(log)}")


@contextlib.contextmanager
def _process(command: Sequence[str], log: Path, stdout: int) -> Iterator[subprocess.Popen[bytes]]:
    """A program whose standard error goes to a file, ended with the block."""
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
    with process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _await_listening(name: str, process: subprocess.Popen[bytes], log: Path) -> int:
    """The port that a program of ours says it listens on."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], _START_SECONDS)
    line = process.stdout.readline().decode() if ready else ""
    if not line.startswith("listening "):
        raise PeerError(f"{name} does not start: {_complaint(log)}")
    return int(line.rpartition(":")[2])


def _runs(mosquitto: subprocess.Popen[bytes], log: Path) -> bool:
    """Whether mosquitto listens, once its log says so or it has ended."""
    deadline = time.monotonic() + _START_SECONDS
    while mosquitto.poll() is None and time.monotonic() < deadline:
        if re.search(r"mosquitto version \S+ running", log.read_text("utf-8", "replace")):
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            mosquitto.wait(0.02)
    return False


def _write_models(registry: Path, folder: Path) -> None:
    """A JSON Schema of the points of each thing model that the registry names."""
    try:
        products = tomllib.loads(registry.read_text("utf-8"))["products"]
        names = {str(product["model"]) for product in products}
        catalogue = Catalogue.load(_SCHEMAS / "models")
    except (OSError, tomllib.TOMLDecodeError, KeyError, EnosIngestError) as error:
        raise PeerError(f"the registry file {registry} cannot be used: {error!r}") from None
    for name in sorted(names):
        compiled = catalogue.get(name)
        if compiled is None:
            raise PeerError(f"the registry file {registry} names the model {name}, which is not in schemas/models")
        (folder / f"{name}.json").write_text(json.dumps(compiled.schema), "utf-8")


def _program(name: str) -> str:
    # Debian has daemons in /usr/sbin, which is not on every user's PATH.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        raise PeerError(f"{name} is not installed")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _complaint(log: Path) -> str:
    """What a program wrote last, or the error that stands above Node's stack trace."""
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*Error\b", line)]
    return (errors or lines or ["it says nothing"])[-1]
