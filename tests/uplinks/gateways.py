"""Gateways with sub-devices in a pipeline of their own, for tests of their logins."""

from __future__ import annotations

from typing import Any

import orjson

from enos_ingest.devices.directory import Device, Directory, Product
from enos_ingest.devices.presence import Presence
from enos_ingest.outcome import Outcome, Rejection
from enos_ingest.pipeline import Message, Pipeline
from enos_ingest.protocol.credentials import sign
from enos_ingest.protocol.identity import DeviceId, Publisher

__all__ = [
    "DISABLED",
    "FOREIGN",
    "GATEWAY",
    "NEIGHBOUR",
    "OLD",
    "RECEIVED",
    "SECOND",
    "SECRET",
    "SUB",
    "SWITCHED_OFF",
    "THIRD",
    "Gateways",
    "login_request",
    "told",
]

GATEWAY, NEIGHBOUR, SWITCHED_OFF = (DeviceId("EbxGvUrE", key) for key in ("gw-1", "gw-2", "gw-off"))
SUB, SECOND, THIRD = (DeviceId("Sb7PkXyZ", key) for key in ("sub001", "sub002", "sub003"))
DISABLED = DeviceId("Sb7PkXyZ", "disabled")
FOREIGN = DeviceId("Sb7PkXyZ", "foreign")
OLD = DeviceId("Sb7PkXyZ", "activated before")
SECRET = "SubSecret456"
RECEIVED = 1_795_221_824_983


def directory() -> Directory:
    """Two gateways that share their sub-devices with one that is disabled, and a device of neither."""
    mine = [SUB, SECOND, THIRD, DISABLED, OLD]
    return Directory(
        [Product("EbxGvUrE"), Product("Sb7PkXyZ")],
        [
            Device(GATEWAY, "GwSecret123", "asset-gw-1"),
            Device(NEIGHBOUR, "GwSecret123", "asset-gw-2"),
            Device(SWITCHED_OFF, "GwSecret123", enabled=False),
            *(Device(device, SECRET, f"asset-{device.device_key}") for device in (SUB, SECOND, THIRD, FOREIGN)),
            Device(DISABLED, SECRET, enabled=False),
            Device(OLD, SECRET, activated=1),
        ],
        [(gateway, sub_device) for gateway in (GATEWAY, NEIGHBOUR, SWITCHED_OFF) for sub_device in mine],
    )


class Gateways:
    """A pipeline, and gateways that speak to it."""

    def __init__(self, sub_devices_per_gateway: int = 200) -> None:
        self.presence = Presence()
        registry = directory()
        self._pipeline = Pipeline(lambda: registry, {}, self.presence, sub_devices_per_gateway=sub_devices_per_gateway)

    def send(self, action: str, payload: bytes, gateway: Publisher = GATEWAY, owner: DeviceId = GATEWAY) -> Outcome:
        """Publish on a session topic."""
        topic = f"/ext/session/{owner}/combine/{action}"
        outcome = self._pipeline.process(Message(topic, payload, RECEIVED, gateway))
        assert outcome is not None
        assert outcome.reply_topic == f"{topic}_reply"
        return outcome

    def login(self, sub_device: DeviceId = SUB, gateway: DeviceId = GATEWAY, **changes: Any) -> Outcome:
        """Log a sub-device in; `changes` replace params."""
        return self.send("login", orjson.dumps(login_request(sub_device, **changes)), gateway, gateway)

    def logout(self, sub_device: DeviceId = SUB, gateway: DeviceId = GATEWAY) -> Outcome:
        """Log a sub-device out."""
        params = {"productKey": sub_device.product_key, "deviceKey": sub_device.device_key}
        request = {"id": "8", "version": "1.0", "method": "combine.logout", "params": params}
        return self.send("logout", orjson.dumps(request), gateway, gateway)


def login_request(sub_device: DeviceId = SUB, **changes: Any) -> dict[str, Any]:
    """A login that is granted, unless `changes` to its params say otherwise."""
    content = f"clientIdcdeviceKey{sub_device.device_key}productKey{sub_device.product_key}timestamp1"
    params = {
        "productKey": sub_device.product_key,
        "deviceKey": sub_device.device_key,
        "clientId": "c",
        "timestamp": "1",
        "signMethod": "sha256",
        "sign": sign(SECRET, content),
        **changes,
    }
    return {"id": "7", "version": "1.0", "method": "combine.login", "params": params}


def told(outcome: Outcome) -> tuple[int, str]:
    """Code and message of a reply, once it is clear that it is one, and that a refusal is kept."""
    reply = orjson.loads(outcome.reply)
    assert reply["code"] == outcome.code
    assert reply.get("message", "") == outcome.reason
    rejection = outcome.record.rejection if outcome.record else None
    if outcome.code == 200:
        assert rejection is None
    else:
        assert rejection is not None
        assert reply["data"] == _named(rejection)
        assert (rejection.code, rejection.reason) == (outcome.code, outcome.reason)
    return reply["code"], reply.get("message", "")


_OF_THE_SUB_DEVICE = {429, 705, 723, 740, 742, 746, 770, 771}
"""Codes that are about the sub-device that a login names, and not about the request."""


def _named(rejection: Rejection) -> dict[str, str]:
    """The data of a refusal: that of a login has the keys of the sub-device, as the C SDK reads no other."""
    if rejection.code not in _OF_THE_SUB_DEVICE or not rejection.topic.endswith("/combine/login"):
        return {}
    params = orjson.loads(rejection.payload)["params"]
    return {name: params[name] for name in ("productKey", "deviceKey")}
