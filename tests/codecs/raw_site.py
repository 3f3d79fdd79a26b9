"""Hubs whose devices report in bytes, their frames, and codecs that take their time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from enos_ingest.codecs.sample import codec as sample
from enos_ingest.testing.client import TestClient
from enos_ingest.testing.hub import Hub, run_hub
from tests.endpoint.raw import connect_packet
from tests.models.documents import point, thing_model

SAMPLE = "enos_ingest.codecs.sample:codec"
MODEL = thing_model("m", temp=point("DOUBLE"))
RAW = "/sys/P/d/thing/model/up_raw"
RESUME = "/sys/P/d/thing/measurepoint/resume"

GATED_RESUME = """
    import os, time
    from enos_ingest.codecs.sample import codec as sample

    class Gated:
        encode = sample.encode

        def decode(self, data):
            open("{0}/begun", "w").close()
            while not os.path.exists("{0}/release"):
                time.sleep(0.005)  # a process of its own, which nobody can wake
            return sample.decode(data)

    codec = Gated()
"""
"""Decodes a frame once it is told to."""


def registry(codec: str, **others: str) -> dict[str, Any]:
    """Devices `d` and `e` of product P with this codec, a device `d` of each other product, a gateway without any."""
    products = {"P": codec, **others}
    return {
        "products": [
            {"key": "G", "model": "m"},
            *({"key": key, "secret": "ps", "model": "m", "codec": name} for key, name in products.items()),
        ],
        "devices": [
            {"product": "G", "key": "gw", "secret": "s"},
            {"product": "P", "key": "e", "secret": "s"},
            *({"product": key, "key": "d", "secret": "s"} for key in products),
            {"product": "P", "key": "sub", "secret": "s"},
        ],
        "gateways": [{"device": "G/gw", "sub_devices": ["P/sub"]}],
        "operators": [{"name": "alice", "password": "alice-password", "scopes": ["read", "write"]}],
    }


@contextmanager
def hub_with(codec: str, folder: Path, *, settings: dict[str, object] | None = None, **others: str) -> Iterator[Hub]:
    """A hub with these codecs; a busy machine does not overrun them."""
    known = {"codecs.path": str(folder), "codecs.seconds": 20.0, **(settings or {})}
    with run_hub(registry=registry(codec, **others), models=[MODEL], settings=known) as hub:
        yield hub


def frame(value: object = 1.5, time: int = 5, identifier: str = "5", name: str = "temp") -> bytes:
    """A report of one point of the past."""
    params = {"measurepoints": {name: value}, "time": time}
    return sample.encode({"id": identifier, "version": "1.0", "method": "thing.measurepoint.resume", "params": params})


def resume(time: int) -> bytes:
    """The same as JSON."""
    return (
        b'{"id":"%d","version":"1.0","method":"thing.measurepoint.resume",'
        b'"params":{"measurepoints":{"temp":1.5},"time":%d}}' % (time, time)
    )


def ask(device: TestClient, topic: str, payload: bytes) -> dict[str, Any]:
    """Publish a frame, and return the message of the frame that answers it."""
    device.subscribe(f"{topic}_reply")
    device.publish(topic, payload)
    return sample.decode(device.next_message(f"{topic}_reply"))


def packets(hub: Hub, name: str = "P/d") -> bytes:
    """The CONNECT of a device."""
    return connect_packet(hub.credentials(name))


def times(hub: Hub, device: str = "P/d") -> list[int]:
    """Of its stored points."""
    return [stored.time for stored in hub.points(device)]
