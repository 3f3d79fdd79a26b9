"""Gateways that change the registry, in a pipeline whose registry changes with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from enos_ingest.devices.changes import Change
from enos_ingest.devices.directory import Device, Directory, Product
from enos_ingest.devices.presence import Presence
from enos_ingest.outcome import Outcome
from enos_ingest.pipeline import Message, Pipeline
from enos_ingest.protocol.credentials import sign
from enos_ingest.protocol.identity import DeviceId, Publisher

__all__ = [
    "FREE",
    "GATEWAY",
    "GATEWAYS",
    "NEIGHBOUR",
    "RECEIVED",
    "SUB",
    "SUBS",
    "TAKEN",
    "WAITING",
    "Fleet",
    "keys",
    "signed",
]

GATEWAYS, SUBS = "EbxGvUrE", "Sb7PkXyZ"
GATEWAY, NEIGHBOUR = DeviceId(GATEWAYS, "gw-1"), DeviceId(GATEWAYS, "gw-2")
SUB, TAKEN, FREE = (DeviceId(SUBS, key) for key in ("sub001", "sub009", "free"))
"""A sub-device of the gateway, one of its neighbour, one of nobody."""
WAITING = DeviceId(SUBS, "waiting")
"""It has no secret yet."""
RECEIVED = 1_795_221_824_983


class Fleet:
    """A registry with two gateways, and a pipeline that changes it."""

    def __init__(self) -> None:
        self.presence = Presence()
        devices = [GATEWAY, NEIGHBOUR, SUB, TAKEN, FREE]
        self.directory = Directory(
            [Product(GATEWAYS, register=True), Product(SUBS)],
            [*(Device(each, f"secret of {each}", f"asset-{each.device_key}") for each in devices), Device(WAITING)],
            [(GATEWAY, SUB), (NEIGHBOUR, TAKEN)],
        )
        self._pipeline = Pipeline(lambda: self.directory, {}, self.presence, change_registry=self._change)

    def send(self, action: str, request: Any, device: DeviceId = GATEWAY, by: Publisher | None = None) -> Outcome:
        """Publish on a topic of a device; bytes as they are."""
        payload = request if isinstance(request, bytes) else orjson.dumps(request)
        topic = f"/sys/{device}/thing/{action}"
        outcome = self._pipeline.process(Message(topic, payload, RECEIVED, by or device))
        assert outcome is not None
        assert outcome.reply_topic == f"{topic}_reply"
        return outcome

    def ask(self, action: str, params: Any, device: DeviceId = GATEWAY, by: Publisher | None = None) -> Outcome:
        """Publish a request as the SDKs do."""
        method = f"thing.{action.replace('/', '.')}"
        return self.send(action, {"id": "7", "version": "1.0", "method": method, "params": params}, device, by)

    def _change(self, changes: Sequence[Change]) -> None:
        self.directory = self.directory.changed(changes)


def keys(*devices: DeviceId) -> list[dict[str, str]]:
    """Devices as requests name them."""
    return [{"productKey": each.product_key, "deviceKey": each.device_key} for each in devices]


def signed(device: DeviceId, *, secret: str = "", **changes: Any) -> dict[str, Any]:
    """An item of `topo/add`, signed as the Java SDK does it."""
    client, timestamp = "c", "1795221824982"
    content = f"clientId{client}deviceKey{device.device_key}productKey{device.product_key}timestamp{timestamp}"
    return {
        **keys(device)[0],
        "clientId": client,
        "timestamp": timestamp,
        "signMethod": "sha256",
        "sign": sign(secret or f"secret of {device}", content),
        **changes,
    }
