"""Products, devices, topology, applications and operators as one snapshot in memory."""

from __future__ import annotations

import base64
import copy
import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, TypeAlias

from enos_ingest.devices.changes import Change, DevicesRegistered, SecretMade, TopologyAdded, TopologyRemoved
from enos_ingest.devices.passwords import hash_api_key
from enos_ingest.protocol.identity import DeviceId

__all__ = ["Application", "Device", "Directory", "Link", "OperatorAccount", "Origin", "Product", "derive_asset_id"]

Origin: TypeAlias = Literal["file", "wire"]
"""Where a row of the registry is from: the registry file, or a device."""

Link: TypeAlias = tuple[DeviceId, DeviceId]
"""A gateway and a sub-device in its topology."""


@dataclass(frozen=True, slots=True)
class Product:
    """A kind of device; `model` is the modelId of its thing model, "" where it has none."""

    key: str
    secret: str = field(default="", repr=False)
    model: str = ""
    dynamic_activation: bool = False
    allow_reactivation: bool = False
    register: bool = False
    require_tls: bool = False
    codec: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """One device.

    Attributes:
        activated: the time of its first successful login in epoch milliseconds, None before.
        origin: what declared it last: the registry `file`, or the `wire`, where a gateway registered it.
        name, timezone: what the gateway said of it; the name as JSON text. "" for nothing.
        registrar: the gateway that has registered it, as `product/device`; "" for none.
    """

    id: DeviceId
    secret: str = field(default="", repr=False)
    asset_id: str = ""
    enabled: bool = True
    activated: int | None = None
    origin: Origin = "file"
    name: str = ""
    timezone: str = ""
    registrar: str = ""


@dataclass(frozen=True, slots=True)
class Application:
    """Business software that calls over HTTP; `api_key_hash` is made by `devices.passwords`."""

    name: str
    key: str = ""
    secret: str = field(default="", repr=False)
    api_key_hash: str = field(default="", repr=False)
    scopes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class OperatorAccount:
    """A person or tool that connects over MQTT; `password_hash` is made by `devices.passwords`."""

    name: str
    password_hash: str = field(default="", repr=False)
    scopes: frozenset[str] = frozenset()


class Directory:
    """An immutable snapshot of the registry; a change makes a new one.

    Args:
        products, devices, applications, operators: the rows; devices name declared products.
        topology: (gateway, sub-device) pairs; a sub-device may belong to several gateways.
        wired: those of the pairs that came over the wire.
        released: pairs of the registry file that are no more, as the gateway has let the sub-device go, and when.
    """

    def __init__(
        self,
        products: Iterable[Product] = (),
        devices: Iterable[Device] = (),
        topology: Iterable[Link] = (),
        applications: Iterable[Application] = (),
        operators: Iterable[OperatorAccount] = (),
        *,
        wired: Iterable[Link] = (),
        released: Mapping[Link, int] = MappingProxyType({}),
    ) -> None:
        self.products: Mapping[str, Product] = MappingProxyType({row.key: row for row in products})
        self._devices = {row.id: row for row in devices}
        self.devices: Mapping[DeviceId, Device] = MappingProxyType(self._devices)
        self._assets = _by_asset_id(self.devices)
        self._counts: Counter[str] | None = None
        self.applications: Mapping[str, Application] = MappingProxyType({row.name: row for row in applications})
        self.operators: Mapping[str, OperatorAccount] = MappingProxyType({row.name: row for row in operators})
        sub_devices: dict[DeviceId, set[DeviceId]] = {}
        gateways: dict[DeviceId, set[DeviceId]] = {}
        for gateway, sub_device in topology:
            sub_devices.setdefault(gateway, set()).add(sub_device)
            gateways.setdefault(sub_device, set()).add(gateway)
        # A call over HTTP must find its application without a look at each; of two with the same key it is the first.
        self._by_key = {row.key: row for row in reversed([*self.applications.values()]) if row.key}
        self._by_api_key = {
            row.api_key_hash: row for row in reversed([*self.applications.values()]) if row.api_key_hash
        }
        self._sub_devices = {key: frozenset(value) for key, value in sub_devices.items()}
        self._gateways = {key: frozenset(value) for key, value in gateways.items()}
        self.wired = frozenset(wired)
        self.released: Mapping[Link, int] = MappingProxyType(dict(released))

    def count_devices(self, product_key: str) -> int:
        """How many devices a product has; counted when somebody asks."""
        if self._counts is None:
            self._counts = Counter(device.product_key for device in self.devices)
        return self._counts[product_key]

    def find_by_key(self, key: str) -> Application | None:
        """The application with this `key`, EnOS's appKey."""
        return self._by_key.get(key)

    def find_by_api_key(self, api_key: str) -> Application | None:
        """The application with this API key, looked up by the key's digest: the time that takes tells nothing."""
        return self._by_api_key.get(hash_api_key(api_key))

    @property
    def topology(self) -> Mapping[DeviceId, frozenset[DeviceId]]:
        """The sub-devices of each gateway."""
        return MappingProxyType(self._sub_devices)

    def sub_devices(self, gateway: DeviceId) -> frozenset[DeviceId]:
        """The devices that `gateway` may represent; empty for one that is no gateway."""
        return self._sub_devices.get(gateway, frozenset())

    def gateways(self, device: DeviceId) -> frozenset[DeviceId]:
        """The gateways that `device` belongs to; empty for a device that connects by itself."""
        return self._gateways.get(device, frozenset())

    def find_by_asset_id(self, asset_id: str) -> DeviceId | None:
        """The device with this asset id."""
        return self._assets.get(asset_id)

    def may_represent(self, speaker: DeviceId, device: DeviceId) -> bool:
        """Whether `speaker` is `device`, or a gateway with `device` in its topology."""
        return speaker == device or device in self._sub_devices.get(speaker, ())

    def changed(self, changes: Iterable[Change]) -> Directory:
        """The directory with changes of the registry made, one after the other; itself where nothing differs.

        What the rows of now do not bear is left out: the store refuses it with its whole message. What is the same as
        before is shared, not copied.
        """
        new = self
        for change in changes:
            new = new._changed(change)
        return new

    def bears_link(self, gateway: DeviceId, sub_device: DeviceId) -> bool:
        """Whether both exist and neither is the other's kind: a gateway is never a sub-device."""
        return (
            gateway != sub_device
            and gateway in self.devices
            and sub_device in self.devices
            and gateway not in self._gateways
            and sub_device not in self._sub_devices
        )

    def _changed(self, change: Change) -> Directory:
        match change:
            case TopologyAdded(gateway, sub_devices, _):
                return self._with_links(gateway, sub_devices)
            case TopologyRemoved(gateway, sub_devices, time):
                return self._without_links(gateway, sub_devices, time)
            case DevicesRegistered(_, devices, _):
                return self._with_devices(devices)
            case SecretMade(device, secret, _):
                return self._with_secret(device, secret)
            case _:
                return self

    def _with_links(self, gateway: DeviceId, sub_devices: Collection[DeviceId]) -> Directory:
        fresh = frozenset(sub_devices) - self.sub_devices(gateway)
        if not fresh or not all(self.bears_link(gateway, sub_device) for sub_device in sub_devices):
            return self
        links = {(gateway, sub_device) for sub_device in fresh}
        released = {link: time for link, time in self.released.items() if link not in links}
        # One that it takes back is the file's again: let go once more it must be known as that.
        wired = self.wired | (links - self.released.keys())
        return self._relinked(gateway, fresh, wired=wired, released=released)

    def _without_links(self, gateway: DeviceId, sub_devices: Collection[DeviceId], time: int) -> Directory:
        gone = self.sub_devices(gateway).intersection(sub_devices)
        if not gone:
            return self
        links = {(gateway, sub_device) for sub_device in gone}
        released = {**self.released, **dict.fromkeys(links - self.wired, time)}
        return self._relinked(gateway, gone, wired=self.wired - links, released=released)

    def _relinked(
        self, gateway: DeviceId, changed: frozenset[DeviceId], *, wired: frozenset[Link], released: dict[Link, int]
    ) -> Directory:
        """A copy in which `gateway` has those sub-devices more, or less, of which it has had none, or each."""
        return self._copied(
            _sub_devices=_replaced(self._sub_devices, {gateway: self.sub_devices(gateway) ^ changed}),
            _gateways=_replaced(self._gateways, {each: self.gateways(each) ^ {gateway} for each in changed}),
            wired=wired,
            released=MappingProxyType(released),
        )

    def _with_devices(self, devices: Collection[Device]) -> Directory:
        if any(
            row.id in self.devices or row.id.product_key not in self.products or row.asset_id in self._assets
            for row in devices
        ):
            return self
        rows = {row.id: replace(row, origin="wire") for row in devices}
        return self._with_rows(rows, _assets=self._assets | _by_asset_id(rows), _counts=None)

    def _with_secret(self, device: DeviceId, secret: str) -> Directory:
        row = self.devices.get(device)
        if row is None or row.secret:
            return self
        return self._with_rows({device: replace(row, secret=secret)})

    def _with_rows(self, rows: dict[DeviceId, Device], **parts: object) -> Directory:
        # A dict is copied as it is; through the proxy each key would be hashed anew, 30 ms for 100 000 devices.
        devices = self._devices | rows
        return self._copied(_devices=devices, devices=MappingProxyType(devices), **parts)

    def _copied(self, **parts: object) -> Directory:
        """A copy with some of its parts replaced, the others shared."""
        new = copy.copy(self)
        vars(new).update(parts)
        return new


def _by_asset_id(devices: Mapping[DeviceId, Device]) -> dict[str, DeviceId]:
    return {row.asset_id: row.id for row in devices.values() if row.asset_id}


def _replaced(
    sets: dict[DeviceId, frozenset[DeviceId]], new: Mapping[DeviceId, frozenset[DeviceId]]
) -> dict[DeviceId, frozenset[DeviceId]]:
    """The sets with some in place of others; those that are empty are left out."""
    replaced = {**sets, **new}
    for key, value in new.items():
        if not value:
            del replaced[key]
    return replaced


def derive_asset_id(device: DeviceId) -> str:
    """The asset id of a device that declares none: stable, 12 letters and digits."""
    digest = hashlib.sha256(f"{device.product_key}\n{device.device_key}".encode()).digest()
    return base64.b32encode(digest)[:12].decode().lower()
