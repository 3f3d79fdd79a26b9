"""Which devices are online, and through which gateway."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import TypeAlias

from enos_ingest.devices.directory import Directory
from enos_ingest.protocol.identity import DeviceId

__all__ = ["Presence", "Told"]

Told: TypeAlias = Callable[[DeviceId, bool, str, DeviceId | None], None]
"""Is told that a device came, went, or is there by another way: whether it is online now, why in a word, and the
gateway through which it is, or was; None for a connection of its own."""


class Presence:
    """Who is online now; empty at start, as nothing is known of the time before.

    A device that connects by itself is online while it holds its connection; a newer one of the same device comes
    after the end of the older one. A sub-device is online from its login to its logout, to the login of the same
    sub-device through another gateway, or to the end of its gateway's connection.

    Attributes:
        online: how many devices are online, counted as they come and go.
        on_online: told of each connect and each login, also of a device that was online before by another way.
        on_change: told of each change, in such a way that the last one of a device says how it is now.
    """

    def __init__(self) -> None:
        self.online = 0
        self.on_online: Callable[[DeviceId], None] = _tell_nobody
        self.on_change: Told = _tell_nobody_more
        self._connected: set[DeviceId] = set()
        self._gateway_of: dict[DeviceId, DeviceId] = {}
        # Of each of them, the secret that it had when it logged in.
        self._secrets: dict[DeviceId, str] = {}
        self._sub_devices: dict[DeviceId, set[DeviceId]] = {}
        self._seen: set[DeviceId] = set()

    def connect(self, device: DeviceId) -> None:
        """Take a device online that has connected."""
        if not self.is_online(device):
            self.online += 1
        self._connected.add(device)
        self.on_change(device, True, "connected", None)
        self.on_online(device)

    def disconnect(self, device: DeviceId, why: str = "client") -> frozenset[DeviceId]:
        """Take a device offline; its sub-devices go offline with it and are returned.

        Args:
            why: a word for how its connection has ended, see `CLOSED_REASONS`.
        """
        self._connected.remove(device)
        self._has_left(device, why, None)
        sub_devices = frozenset(self._sub_devices.get(device, ()))
        for sub_device in sorted(sub_devices):
            self.logout(device, sub_device, "gateway")
        return sub_devices

    def login(self, gateway: DeviceId, sub_device: DeviceId, secret: str = "") -> None:
        """Take a sub-device online through a gateway; the newest login wins over another gateway's.

        Args:
            secret: its own; once the registry holds another, it is offline.
        """
        if not self.is_online(sub_device):
            self.online += 1
        previous = self._gateway_of.get(sub_device)
        if previous is not None:
            self._forget(previous, sub_device)
        self._gateway_of[sub_device] = gateway
        self._secrets[sub_device] = secret
        self._sub_devices.setdefault(gateway, set()).add(sub_device)
        if previous != gateway:
            if previous is not None:
                self.on_change(sub_device, False, "taken_over", previous)
            self.on_change(sub_device, True, "login", gateway)
        self.on_online(sub_device)

    def logout(self, gateway: DeviceId, sub_device: DeviceId, why: str = "logout") -> bool:
        """Take a sub-device offline, for a reason in a word; False where it is not online through this gateway."""
        if self._gateway_of.get(sub_device) != gateway:
            return False
        del self._gateway_of[sub_device], self._secrets[sub_device]
        self._forget(gateway, sub_device)
        self._has_left(sub_device, why, gateway)
        return True

    def close(self) -> None:
        """Take offline who is left when the hub stops: sub-devices of gateways that are not connected."""
        for sub_device, gateway in list(self._gateway_of.items()):
            self.logout(gateway, sub_device, "stopped")

    def is_online(self, device: DeviceId) -> bool:
        """Whether a device is online at all, on its own connection or through a gateway."""
        return device in self._connected or device in self._gateway_of

    def is_online_through(self, gateway: DeviceId, sub_device: DeviceId) -> bool:
        """Whether a sub-device is logged in through this very gateway."""
        return self._gateway_of.get(sub_device) == gateway

    def gateway_of(self, sub_device: DeviceId) -> DeviceId | None:
        """The gateway that a sub-device is logged in through, None for none."""
        return self._gateway_of.get(sub_device)

    def sub_devices(self, gateway: DeviceId) -> AbstractSet[DeviceId]:
        """The sub-devices that are online through a gateway, until the next change."""
        return self._sub_devices.get(gateway, frozenset())

    def forget_strangers(self, directory: Directory) -> frozenset[DeviceId]:
        """Take sub-devices offline whose gateway could not log them in any more as it did.

        The registry knows them no more, has disabled them or their gateway, moved them from it, given them another
        secret, or has them come by themselves, with TLS. Those are returned. Connections of devices are for the
        endpoint to end.
        """
        gone: list[DeviceId] = []
        for sub_device, gateway in list(self._gateway_of.items()):
            device = directory.devices.get(sub_device)
            if device is None:
                why = "deleted"
            elif not device.enabled:
                why = "disabled"
            elif (
                sub_device not in directory.sub_devices(gateway)
                or device.secret != self._secrets[sub_device]
                or directory.products[sub_device.product_key].require_tls
            ):
                why = "registry"
            elif not directory.devices[gateway].enabled:
                why = "gateway"
            else:
                continue
            gone.append(sub_device)
            self.logout(gateway, sub_device, why)
        self._seen &= directory.devices.keys()
        return frozenset(gone)

    def is_first_login(self, device: DeviceId) -> bool:
        """Whether this is the first successful login of a device since the start; True only once."""
        if device in self._seen:
            return False
        self._seen.add(device)
        return True

    def forget_first_logins(self, devices: Iterable[DeviceId]) -> None:
        """Have the next login of devices be their first again: that of before could not be stored."""
        self._seen.difference_update(devices)

    def has_logged_in(self, device: DeviceId) -> bool:
        """Whether a device's first successful login was since the start: the registry in memory may not have it yet."""
        return device in self._seen

    def _has_left(self, device: DeviceId, why: str, gateway: DeviceId | None) -> None:
        """Say that one way of a device has ended; it may be there by the other."""
        if self.is_online(device):
            self.on_change(device, True, why, self._gateway_of.get(device))
        else:
            self.online -= 1
            self.on_change(device, False, why, gateway)

    def _forget(self, gateway: DeviceId, sub_device: DeviceId) -> None:
        remaining = self._sub_devices[gateway]
        remaining.discard(sub_device)
        if not remaining:
            del self._sub_devices[gateway]


def _tell_nobody(_: DeviceId) -> None:
    """Where nobody asked to be told."""


def _tell_nobody_more(_: DeviceId, __: bool, ___: str, ____: DeviceId | None) -> None:
    """Where nobody asked to be told."""
