"""Whether a peer does what it is measured for: one device reports over MQTT, what is stored is read back."""

from __future__ import annotations

import json
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

from benchmarks.peers.peer import Peer, PeerError, run_peer
from enos_ingest.protocol.credentials import make_credentials
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.testing.client import ConnectionRefusedByHubError, TestClient

__all__ = ["check_peer"]

_DEVICE = DeviceId("CheckInv", "device-0")
_SECRET = "4d7f3a"
_REGISTRY = f"""\
[[products]]
key = "{_DEVICE.product_key}"
model = "inverter"
[[devices]]
product = "{_DEVICE.product_key}"
key = "{_DEVICE.device_key}"
secret = "{_SECRET}"
"""

_POINTS = {"INV.GenActivePW": 182.5, "INV.State": 1, "Power": {"value": 1.5, "quality": 9}}
_STORED = [("INV.GenActivePW", "182.5", None), ("INV.State", "1", None), ("Power", "1.5", 9)]


def check_peer(name: str) -> None:
    """Start a peer, report through it, and end it.

    Raises:
        PeerError: it does not start, or does not do what is expected.
    """
    with tempfile.TemporaryDirectory(prefix="enos-ingest-peer-") as folder:
        registry = Path(folder) / "registry.toml"
        registry.write_text(_REGISTRY, "utf-8")
        with run_peer(name, registry, Path(folder)) as peer:
            # mosquitto has no way to check a device's signature.
            if name != "script":
                _intrude(name, peer)
            _report(name, peer)


def _intrude(name: str, peer: Peer) -> None:
    forged = make_credentials(_DEVICE, "guessed", time.time_ns() // 1_000_000)
    try:
        TestClient(peer.host, peer.port, forged, str(_DEVICE)).disconnect()
    except ConnectionRefusedByHubError as refused:
        if refused.code == 4:
            return
    raise PeerError(f"{name} does not refuse a wrong signature with CONNACK 4")


def _report(name: str, peer: Peer) -> None:
    made = make_credentials(_DEVICE, _SECRET, time.time_ns() // 1_000_000)
    with TestClient(peer.host, peer.port, made, str(_DEVICE)) as device:
        # In the order of times, so that the rows come in the order of the requests.
        _expect(name, 200, device.resume(_POINTS, 1_000))
        _expect(name, 1204, device.resume({"INV.State": "on"}, 2_000))
        _expect(name, 200, device.resume_batch([{"time": at, "measurepoints": _POINTS} for at in (3_000, 4_000)]))
        _expect(name, 1206, device.resume_batch([]))
        _expect(name, 1212, device.resume_batch([{"deviceKey": "other", "time": 5_000, "measurepoints": _POINTS}]))
    # Every reply follows its commit: what was answered is there to be read.
    with closing(sqlite3.connect(peer.database)) as database:
        rows = database.execute(
            "SELECT product_key, device_key, time, measurepoint, value, quality "
            "FROM points JOIN series ON series.id = points.series ORDER BY time, measurepoint"
        ).fetchall()
    wanted = [(*_DEVICE, at, *row) for at in (1_000, 3_000, 4_000) for row in _STORED]
    if rows != wanted:
        raise PeerError(f"{name} has stored {rows}, not {wanted}")


def _expect(name: str, code: int, reply: dict[str, object]) -> None:
    if reply["code"] != code or reply["data"] != {}:
        raise PeerError(f"{name} answers {json.dumps(reply)} where {code} is right")
