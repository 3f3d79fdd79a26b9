"""Who speaks: devices, integration channels, operators."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

__all__ = ["CHANNEL_DEVICE_KEY", "Channel", "DeviceId", "Hub", "Identity", "Operator", "Publisher"]

CHANNEL_DEVICE_KEY = "%channel%"
"""What stands for the device key in the user name of an integration channel."""


class DeviceId(NamedTuple):
    """A device, named as everywhere in EnOS by its product and device key."""

    product_key: str
    device_key: str

    def __str__(self) -> str:
        return f"{self.product_key}/{self.device_key}"


class Channel(NamedTuple):
    """The message-integration channel of one product (securemode 4)."""

    product_key: str

    def __str__(self) -> str:
        return f"{CHANNEL_DEVICE_KEY}&{self.product_key}"


class Operator(NamedTuple):
    """A person or tool that connects over MQTT, with the scopes `read` and `write`."""

    name: str
    scopes: frozenset[str]

    def __str__(self) -> str:
        return self.name


class Hub(NamedTuple):
    """This service's own subscriber on the embedded broker."""

    name: str = "%hub%"

    def __str__(self) -> str:
        return self.name


Publisher: TypeAlias = DeviceId | Channel
"""In whose name an uplink is sent; operators speak in the name of the topic's device or channel."""

Identity: TypeAlias = DeviceId | Channel | Operator | Hub
"""Who holds an MQTT connection."""
