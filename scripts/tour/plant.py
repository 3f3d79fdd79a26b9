"""A small plant: what is declared, with secrets made for this run, and what its devices measure."""

from __future__ import annotations

import json
import math
import secrets
import time
from dataclasses import dataclass
from typing import Any

from enos_ingest.protocol.credentials import Credentials, make_credentials
from enos_ingest.protocol.identity import Channel, DeviceId, Publisher

__all__ = [
    "APPLICATION",
    "BATTERY",
    "DIRECT",
    "GATEWAY",
    "INVERTER",
    "OFFLINE",
    "OPERATOR",
    "SPARE",
    "UNKNOWN",
    "Plant",
    "measure",
    "now",
    "perform",
]

GATEWAY = DeviceId("GwQ7Lm2A", "gw-1")
INVERTER = DeviceId("InvK3x9P", "inv-1")
"""A sub-device of the gateway."""
BATTERY = DeviceId("BatR8t4Z", "rack-1")
"""Another one."""
OFFLINE = DeviceId("InvK3x9P", "inv-2")
"""A third one, which the gateway never logs in."""
DIRECT = DeviceId("InvK3x9P", "inv-9")
"""An inverter with a connection of its own."""
SPARE = DeviceId("InvK3x9P", "inv-5")
"""Another one, which nobody simulates: a person is that inverter."""
UNKNOWN = DeviceId("InvK3x9P", "inv-77")
"""A device that is not declared."""
OPERATOR = "olivia"
APPLICATION = "scada"
"""Business software, which sends values to devices."""

_MODELS = {"GwQ7Lm2A": "gateway", "InvK3x9P": "inverter", "BatR8t4Z": "battery_rack"}
_DEVICES = (GATEWAY, INVERTER, OFFLINE, BATTERY, DIRECT, SPARE)
_SUB_DEVICES = (INVERTER, OFFLINE, BATTERY)


def now() -> int:
    """The time in epoch milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Plant:
    """The declared things and their secrets."""

    device_secrets: dict[DeviceId, str]
    product_secrets: dict[str, str]
    operator_password: str
    api_key: str

    @classmethod
    def make(cls) -> Plant:
        """A plant with new random secrets."""
        return cls(
            {device: secrets.token_hex(16) for device in _DEVICES},
            {product: secrets.token_hex(16) for product in _MODELS},
            secrets.token_hex(8),
            secrets.token_hex(16),
        )

    def registry(self) -> str:
        """The registry file that declares it."""
        tables: list[dict[str, dict[str, Any]]] = [
            *(
                {"products": {"key": key, "secret": self.product_secrets[key], "model": _MODELS[key]}}
                for key in _MODELS
            ),
            *(
                {"devices": {"product": device.product_key, "key": device.device_key, "secret": secret}}
                for device, secret in self.device_secrets.items()
            ),
            {"gateways": {"device": str(GATEWAY), "sub_devices": [str(device) for device in _SUB_DEVICES]}},
            {"operators": {"name": OPERATOR, "password": self.operator_password, "scopes": ["read", "write"]}},
            {"applications": {"name": APPLICATION, "api_key": self.api_key, "scopes": ["control", "read"]}},
        ]
        lines = ["# Made by scripts/demo, with new secrets at every start."]
        for table in tables:
            for name, row in table.items():
                # Strings and lists of strings read the same in TOML and JSON.
                lines += ["", f"[[{name}]]", *(f"{key} = {json.dumps(value)}" for key, value in row.items())]
        return "\n".join(lines) + "\n"

    def credentials(self, publisher: Publisher, timestamp: int) -> Credentials:
        """What a device or a product's channel puts into CONNECT."""
        match publisher:
            case DeviceId():
                secret = self.device_secrets[publisher]
            case Channel(product_key):
                secret = self.product_secrets[product_key]
        return make_credentials(publisher, secret, timestamp)


def measure(device: DeviceId, when: int) -> dict[str, Any]:
    """What a device's sensors say at a time: slow waves, so that live values move."""
    wave = math.sin(when / 60_000 + len(device.device_key))
    match _MODELS[device.product_key]:
        case "inverter":
            return {
                "INV.GenActivePW": {"value": round(182.5 + 30 * wave, 1), "quality": 0},
                "INV.TempEquipment": round(41.0 + 4 * wave, 1),
                "INV.State": 1,
                "INV.GridConnected": True,
            }
        case "battery_rack":
            return {
                "BAT.SOC": round(63.0 + 9 * wave, 1),
                "BAT.RackVoltage": round(768.0 + 6 * wave, 1),
                "BAT.RackCurrent": round(-40.0 * wave, 1),
            }
        case _:
            return {"GW.CPULoad": round(22.0 + 6 * wave, 1), "GW.DoorOpen": False}


def perform(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """What a device puts out when it has done what a command says."""
    match method:
        case "thing.service.limitPower":
            return {"applied": params["limit"]}
        case "thing.service.balance":
            return {"started": True}
        case "thing.service.ping":
            return {"milliseconds": 3.5}
        case _:
            return {}
