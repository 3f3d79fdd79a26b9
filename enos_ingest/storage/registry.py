"""Products, devices, topology and accounts, read and changed in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from enos_ingest.devices.apply import apply_declaration, hash_passwords
from enos_ingest.devices.declaration import Declaration
from enos_ingest.devices.differences import Difference
from enos_ingest.devices.directory import (
    Application,
    Device,
    Directory,
    Link,
    OperatorAccount,
    Origin,
    Product,
)
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.faults import translated
from enos_ingest.storage.opened import Opened
from enos_ingest.storage.sqlite import connect_reader, connect_writer
from enos_ingest.storage.store import StoredRegistry
from enos_ingest.storage.transactions import snapshot, transaction

__all__ = ["SqliteRegistry", "open_registry"]

_REGISTRY_ORIGINS: tuple[Origin, ...] = ("file", "wire")
"""How a device came into the registry; the database holds the index, so the order must not change."""

_Row: TypeAlias = tuple[Any, ...]


class SqliteRegistry(Opened):
    """The registry in a database, open for reading and changing; a context manager; used by one thread at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection

    def directory(self) -> Directory:
        """The registry as it is now."""
        with translated(self._path):
            return _load_directory(self._connection)

    def revision(self) -> int:
        """A number that grows with every change of the registry but those over the wire; cheap to ask for."""
        with translated(self._path):
            return _revision(self._connection)

    def stored(self) -> StoredRegistry:
        """The registry as it is now, and how far it is, as of one moment."""
        with translated(self._path), snapshot(self._connection):
            serial = self._connection.execute("SELECT value FROM meta WHERE name = 'registry_serial'").fetchone()[0]
            return StoredRegistry(_revision(self._connection), int(serial), _load_directory(self._connection))

    def apply(self, compute: Callable[[Directory], Directory]) -> tuple[Directory, Directory]:
        """Change the registry to what `compute` makes of it, nobody else coming between.

        Returns:
            the registry before and after, both as stored.

        Raises:
            StorageError: the database cannot be written, or the outcome contradicts itself (a device of a product
                that is not there, an asset id used twice); nothing is changed then, nor when `compute` raises.
        """
        with translated(self._path), transaction(self._connection):
            old = _load_directory(self._connection)
            new = compute(old)
            if not _write(self._connection, old, new):
                return old, old
            return old, _load_directory(self._connection)

    def declare(
        self, declaration: Declaration, models: Collection[str], *, prune: bool = False, restore: bool = False
    ) -> list[Difference]:
        """Apply a registry file, and return what that changed, and what it left as devices have changed it.

        Args:
            models: the modelIds that products may name.

        Raises:
            RegistryError: every fault of the file; nothing was changed.
            StorageError: as `apply`.
        """
        # Passwords are hashed first: no uplink is committed while a transaction of ours is open.
        hashed = hash_passwords(declaration, self.directory())
        changes: list[Difference] = []

        def compute(current: Directory) -> Directory:
            new, changes[:] = apply_declaration(hashed, current, models, prune=prune, restore=restore)
            return new

        self.apply(compute)
        return changes

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def open_registry(path: Path, *, read_only: bool = False) -> SqliteRegistry:
    """Open the registry in the database at `path`; it is made where it is missing, unless `read_only`.

    Raises:
        StorageError: as `connect_writer`, or `connect_reader`.
    """
    return SqliteRegistry(path, connect_reader(path) if read_only else connect_writer(path))


def _revision(connection: sqlite3.Connection) -> int:
    """As `SqliteRegistry.revision`."""
    return int(connection.execute("SELECT value FROM meta WHERE name = 'registry_revision'").fetchone()[0])


def _load_directory(connection: sqlite3.Connection) -> Directory:
    """Everything that is declared, as of one moment."""
    with snapshot(connection):
        products = [
            Product(key, secret, model, bool(dynamic), bool(again), bool(register), bool(tls), codec)
            for key, secret, model, dynamic, again, register, tls, codec in connection.execute(
                "SELECT key, secret, model, dynamic_activation, allow_reactivation, register, require_tls, codec "
                "FROM products ORDER BY key"
            )
        ]
        devices = [
            Device(
                DeviceId(product_key, device_key),
                secret,
                asset_id,
                bool(enabled),
                activated,
                _REGISTRY_ORIGINS[origin],
                *said,
            )
            for product_key, device_key, secret, asset_id, enabled, activated, origin, *said in connection.execute(
                "SELECT product_key, device_key, secret, asset_id, enabled, activated, origin, name, timezone, "
                "registrar FROM devices ORDER BY product_key, device_key"
            )
        ]
        links = {
            _link(row): _REGISTRY_ORIGINS[row[4]]
            for row in connection.execute(
                "SELECT gateway_product_key, gateway_device_key, product_key, device_key, origin FROM topology"
            )
        }
        released = {
            _link(row): int(row[4])
            for row in connection.execute(
                "SELECT gateway_product_key, gateway_device_key, product_key, device_key, time FROM released"
            )
        }
        applications = [
            Application(name, key, secret, api_key_hash, _scopes(scopes))
            for name, key, secret, api_key_hash, scopes in connection.execute(
                "SELECT name, key, secret, api_key_hash, scopes FROM applications ORDER BY name"
            )
        ]
        operators = [
            OperatorAccount(name, password_hash, _scopes(scopes))
            for name, password_hash, scopes in connection.execute(
                "SELECT name, password_hash, scopes FROM operators ORDER BY name"
            )
        ]
    wired = [link for link, origin in links.items() if origin == "wire"]
    return Directory(products, devices, links, applications, operators, wired=wired, released=released)


def _write(connection: sqlite3.Connection, old: Directory, new: Directory) -> bool:
    """Store the differences between `old`, which is stored, and `new`; returns whether there were any.

    The revision grows if there are. A device that stays keeps its stored `activated`, whatever `new` says: the writer
    may have set it since. A device that goes leaves its points behind: they are history, not registry.
    """
    before = connection.total_changes
    _write_products(connection, old.products, new.products)
    _write_devices(connection, old.devices, new.devices)
    _write_topology(connection, _links(old), _links(new))
    _write_released(connection, old.released, new.released)
    _write_applications(connection, old.applications, new.applications)
    _write_operators(connection, old.operators, new.operators)
    changed = connection.total_changes != before
    if changed:
        connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'registry_revision'")
    return changed


def _write_products(connection: sqlite3.Connection, old: Mapping[str, Product], new: Mapping[str, Product]) -> None:
    connection.executemany("DELETE FROM products WHERE key = ?", _gone(old, new))
    connection.executemany(
        "INSERT INTO products VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
        "secret = excluded.secret, model = excluded.model, dynamic_activation = excluded.dynamic_activation, "
        "allow_reactivation = excluded.allow_reactivation, register = excluded.register, "
        "require_tls = excluded.require_tls, codec = excluded.codec",
        [
            (
                row.key,
                row.secret,
                row.model,
                row.dynamic_activation,
                row.allow_reactivation,
                row.register,
                row.require_tls,
                row.codec,
            )
            for row in _changed(old, new)
        ],
    )


def _write_devices(
    connection: sqlite3.Connection, old: Mapping[DeviceId, Device], new: Mapping[DeviceId, Device]
) -> None:
    connection.executemany("DELETE FROM devices WHERE product_key = ? AND device_key = ?", old.keys() - new.keys())
    changed = [row for row in _changed(old, new) if not _same_but_activated(old.get(row.id), row)]
    # Asset ids are unique at every moment, so two devices can only swap theirs if both let go first.
    connection.executemany(
        "UPDATE devices SET asset_id = '' WHERE product_key = ? AND device_key = ?",
        [row.id for row in changed if row.id in old and old[row.id].asset_id != row.asset_id],
    )
    connection.executemany(
        "INSERT INTO devices (product_key, device_key, secret, asset_id, enabled, activated, origin, name, timezone, "
        "registrar) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (product_key, device_key) DO UPDATE SET "
        "secret = excluded.secret, asset_id = excluded.asset_id, enabled = excluded.enabled, "
        "origin = excluded.origin, name = excluded.name, timezone = excluded.timezone, registrar = excluded.registrar",
        [
            (
                *row.id,
                row.secret,
                row.asset_id,
                row.enabled,
                row.activated,
                _REGISTRY_ORIGINS.index(row.origin),
                row.name,
                row.timezone,
                row.registrar,
            )
            for row in changed
        ],
    )


def _write_topology(connection: sqlite3.Connection, old: Mapping[Link, Origin], new: Mapping[Link, Origin]) -> None:
    connection.executemany(
        "DELETE FROM topology WHERE gateway_product_key = ? AND gateway_device_key = ? "
        "AND product_key = ? AND device_key = ?",
        [(*gateway, *device) for gateway, device in old.keys() - new.keys()],
    )
    connection.executemany(
        "INSERT INTO topology (gateway_product_key, gateway_device_key, product_key, device_key, origin) "
        "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET origin = excluded.origin",
        [
            (*gateway, *device, _REGISTRY_ORIGINS.index(origin))
            for (gateway, device), origin in new.items()
            if old.get((gateway, device)) != origin
        ],
    )


def _write_released(connection: sqlite3.Connection, old: Mapping[Link, int], new: Mapping[Link, int]) -> None:
    connection.executemany(
        "DELETE FROM released WHERE gateway_product_key = ? AND gateway_device_key = ? "
        "AND product_key = ? AND device_key = ?",
        [(*gateway, *device) for gateway, device in old.keys() - new.keys()],
    )
    connection.executemany(
        "INSERT INTO released (gateway_product_key, gateway_device_key, product_key, device_key, time) "
        "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET time = excluded.time",
        [(*gateway, *device, time) for (gateway, device), time in new.items() if old.get((gateway, device)) != time],
    )


def _write_applications(
    connection: sqlite3.Connection, old: Mapping[str, Application], new: Mapping[str, Application]
) -> None:
    connection.executemany("DELETE FROM applications WHERE name = ?", _gone(old, new))
    connection.executemany(
        "INSERT INTO applications VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET key = excluded.key, "
        "secret = excluded.secret, api_key_hash = excluded.api_key_hash, scopes = excluded.scopes",
        [(row.name, row.key, row.secret, row.api_key_hash, _scopes_text(row.scopes)) for row in _changed(old, new)],
    )


def _write_operators(
    connection: sqlite3.Connection, old: Mapping[str, OperatorAccount], new: Mapping[str, OperatorAccount]
) -> None:
    connection.executemany("DELETE FROM operators WHERE name = ?", _gone(old, new))
    connection.executemany(
        "INSERT INTO operators VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
        "password_hash = excluded.password_hash, scopes = excluded.scopes",
        [(row.name, row.password_hash, _scopes_text(row.scopes)) for row in _changed(old, new)],
    )


def _gone(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[_Row]:
    return [(key,) for key in old.keys() - new.keys()]


def _changed(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> Iterable[Any]:
    return [row for key, row in new.items() if old.get(key) != row]


def _same_but_activated(old: Device | None, new: Device) -> bool:
    return old is not None and replace(old, activated=new.activated) == new


def _link(row: _Row) -> Link:
    return DeviceId(row[0], row[1]), DeviceId(row[2], row[3])


def _links(directory: Directory) -> dict[Link, Origin]:
    return {
        (gateway, device): "wire" if (gateway, device) in directory.wired else "file"
        for gateway, devices in directory.topology.items()
        for device in devices
    }


def _scopes(text: str) -> frozenset[str]:
    return frozenset(orjson.loads(text))


def _scopes_text(scopes: frozenset[str]) -> str:
    return orjson.dumps(sorted(scopes)).decode()
