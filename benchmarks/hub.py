"""The hub that is measured: a process of its own with a registry made for the run, or one that runs already."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.reports import MODEL
from enos_ingest.protocol.identity import DeviceId

__all__ = ["Account", "Hub", "HubError", "make_registry", "read_registry", "run_hub"]

Account = tuple[DeviceId, str]
"""A device and its secret."""

_PRODUCT = "BenchInv"
_STOP_SECONDS = 30.0


class HubError(Exception):
    """There is nothing to measure: the hub does not start, or a registry file is no use."""


class Hub(NamedTuple):
    """Where a hub serves; `http` is None for one whose metrics are not asked for."""

    host: str
    port: int
    http: str | None

    def cpu_seconds(self) -> float | None:
        """How much processor time the hub has used, where it tells."""
        if self.http is None:
            return None
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{self.http}/metrics", timeout=10) as response:
            found = re.search(r"^process_cpu_seconds_total (\S+)", response.read().decode(), re.MULTILINE)
        return float(found[1]) if found else None


def make_registry(devices: int) -> str:
    """A registry file of so many devices, with new secrets."""
    lines = ["# Made by benchmarks.uplinks.", "[[products]]", f'key = "{_PRODUCT}"', f'model = "{MODEL}"']
    for number in range(devices):
        secret = secrets.token_hex(16)
        lines += ["[[devices]]", f'product = "{_PRODUCT}"', f'key = "device-{number}"', f'secret = "{secret}"']
    return "\n".join(lines) + "\n"


def read_registry(text: str, devices: int) -> list[Account]:
    """The first devices of a registry file that may send what the workload sends.

    Raises:
        HubError: there are too few, or it is no registry file.
    """
    try:
        document = tomllib.loads(text)
        products = {row["key"] for row in document["products"] if row.get("model") == MODEL}
        found = [
            (DeviceId(row["product"], row["key"]), row["secret"])
            for row in document["devices"]
            if row["product"] in products
        ]
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise HubError(f"the registry file cannot be used: {error!r}") from None
    if len(found) < devices:
        raise HubError(f"the registry file has {len(found)} devices of a product with the model {MODEL}, not {devices}")
    return found[:devices]


@contextlib.contextmanager
def run_hub(folder: Path, registry: str) -> Iterator[Hub]:
    """A hub as a process of its own, on free ports, with its files in `folder`.

    Raises:
        HubError: it does not start; with what it wrote last.
    """
    (folder / "registry.toml").write_text(registry, "utf-8")
    config = folder / "enos-ingest.toml"
    config.write_text(
        '[mqtt]\nbind = "127.0.0.1:0"\n[http]\nbind = "127.0.0.1:0"\n'
        '[registry]\nfile = "registry.toml"\n[log]\nformat = "json"\n',
        "utf-8",
    )
    log = folder / "hub.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "enos_ingest", "serve", "-c", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=output,
        )
    try:
        yield _await_start(process, log)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_start(process: subprocess.Popen[bytes], log: Path) -> Hub:
    while True:
        ended = process.poll() is not None
        lines = log.read_text("utf-8", "replace").splitlines()
        for line in lines:
            if '"event":"listening"' in line:
                with contextlib.suppress(json.JSONDecodeError):
                    found = json.loads(line)
                    host, _, port = found["mqtt"].rpartition(":")
                    return Hub(host, int(port), found["http"])
        if ended:
            raise HubError(f"the hub does not start: {lines[-1] if lines else 'it says nothing'}")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
