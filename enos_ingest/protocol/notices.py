"""What the hub tells devices unasked: their secret, and what was done with them in the registry.

Each is a message with `id`, `version`, `method` and `params`, as commands are.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import orjson

from enos_ingest.protocol.identity import DeviceId

__all__ = ["Action", "activation_info", "activation_topic", "to_device", "to_gateway"]

Action: TypeAlias = Literal["enable", "disable", "delete"]
"""What was done with a device."""


def activation_topic(device: DeviceId) -> str:
    """Where a device is told its secret."""
    return f"/ext/session/{device}/thing/activate/info"


def activation_info(identifier: str, device: DeviceId, asset_id: str, secret: str) -> bytes:
    """What it is told there.

    The C SDK looks for the text `deviceSecret` in the payload, and takes the string that follows.
    """
    params = {"assetId": asset_id, **_keys(device), "deviceSecret": secret}
    return _message(identifier, "thing.activate.info", params)


def to_device(identifier: str, action: Action, device: DeviceId) -> tuple[str, bytes]:
    """Topic and payload that tell a device what was done with itself."""
    return f"/sys/{device}/thing/{action}", _message(identifier, f"thing.{action}", {})


def to_gateway(identifier: str, action: Action, gateway: DeviceId, sub_device: DeviceId) -> tuple[str, bytes]:
    """Topic and payload that tell a gateway what was done with one of its sub-devices."""
    payload = _message(identifier, f"combine.{action}", [_keys(sub_device)])
    return f"/ext/session/{gateway}/combine/{action}", payload


def _message(identifier: str, method: str, params: Any) -> bytes:
    return orjson.dumps({"id": identifier, "version": "1.0", "method": method, "params": params})


def _keys(device: DeviceId) -> dict[str, str]:
    return {"productKey": device.product_key, "deviceKey": device.device_key}
