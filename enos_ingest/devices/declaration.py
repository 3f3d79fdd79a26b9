"""The registry file: parsed, checked as a whole, and turned into a new directory."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from enos_ingest.devices.directory import (
    Application,
    Device,
    Directory,
    Link,
    OperatorAccount,
    Origin,
    Product,
    derive_asset_id,
)
from enos_ingest.devices.passwords import (
    hash_api_key,
    hash_password,
    is_password_hash,
    verify_password,
)
from enos_ingest.errors import RegistryError, SchemaError, format_path
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.protocol.topics import RESERVED_DEVICE_KEYS
from enos_ingest.schema import Schema, load_schema
from enos_ingest.toml import parse_toml

__all__ = [
    "Change",
    "Declaration",
    "apply_declaration",
    "check_declaration",
    "hash_passwords",
    "parse_declaration",
    "read_declaration",
]

_SHOWN_NAME = 129
"""As long as PRODUCT/DEVICE may be; a row whose shape is wrong may hold anything."""

_FROM_WIRE = ("origin wire",)
"""Of what is removed and did not come from a file: nobody would find it there."""

_NAMED_BY = {
    "products": ("key",),
    "devices": ("product", "key"),
    "gateways": ("device",),
    "applications": ("name",),
    "operators": ("name",),
}
"""The keys that name a row of each table, in fault texts and in the search for duplicates."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A registry file whose shape is right; the rows are as they stand in it."""

    source: str
    tables: dict[str, list[dict[str, Any]]]

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of one table, in the order of the file."""
        return self.tables.get(table, [])


@dataclass(frozen=True, slots=True)
class Change:
    """One difference that an apply makes: `action` is `add`, `change`, `remove` or `forget`.

    One with `keep` is none that it makes: a sub-device that its gateway has let go stays away.
    """

    action: str
    kind: str
    name: str
    details: tuple[str, ...] = ()

    @property
    def is_made(self) -> bool:
        """Whether the apply changes anything here."""
        return self.action != "keep"

    def __str__(self) -> str:
        if not self.is_made:
            return (
                f"kept removed {self.kind} {self.name}: the gateway {self.details[0]}; "
                "`registry apply --restore` adds it again"
            )
        details = f" ({', '.join(self.details)})" if self.details else ""
        return f"{self.action:<6} {self.kind} {self.name}{details}"


def read_declaration(path: Path) -> Declaration:
    """Read a registry file.

    Raises:
        RegistryError: why it cannot be read, the line of a syntax error, or every fault of shape.
    """
    try:
        text = path.read_text("utf-8-sig")  # some editors put a byte order mark in front
    except OSError as error:
        raise RegistryError(str(path), [f"cannot be read: {error.strerror or error}"]) from None
    except UnicodeDecodeError as error:
        raise RegistryError(str(path), [f"not UTF-8 text (at byte {error.start})"]) from None
    return parse_declaration(text, str(path))


def parse_declaration(text: str, source: str) -> Declaration:
    """The declaration that the text of a registry file holds.

    Raises:
        RegistryError: the line of a syntax error, or every fault of shape.
    """
    try:
        document = parse_toml(text)
    except ValueError as error:
        raise RegistryError(source, [f"not TOML: {error}"]) from None
    return check_declaration(document, source)


def check_declaration(document: dict[str, Any], source: str) -> Declaration:
    """What a registry file holds, once its shape has been checked.

    Raises:
        RegistryError: every fault of shape.
    """
    faults = [_describe(fault, document) for fault in _schema().faults(document)]
    if faults:
        raise RegistryError(source, faults)
    return Declaration(source, document)


def hash_passwords(declaration: Declaration, current: Directory) -> Declaration:
    """The same declaration with the hashes of its operators' passwords.

    An operator keeps the hash that the directory has while the password is still the one behind it: a fresh salt
    would look like a change. Hashing takes some 50 ms each, time enough to do it before a transaction begins.
    """
    rows = [_with_hash(row, current) for row in declaration.rows("operators")]
    return Declaration(declaration.source, {**declaration.tables, "operators": rows})


def apply_declaration(
    declaration: Declaration,
    current: Directory,
    models: Collection[str],
    *,
    prune: bool = False,
    restore: bool = False,
) -> tuple[Directory, list[Change]]:
    """The directory after an apply, and what that changes.

    Rows are added and changed; rows that the file does not name stay, unless `prune` removes them. Sub-devices that
    their gateway has let go stay away, unless `restore` adds them again.

    Args:
        models: the modelIds that products may name.

    Raises:
        RegistryError: every fault found; nothing was changed.
    """
    absent = {} if restore else {link: current.released[link] for link in _links(declaration) & current.released.keys()}
    faults = list(_faults(declaration, current, models, absent, prune=prune))
    if faults:
        raise RegistryError(declaration.source, faults)
    declaration = hash_passwords(declaration, current)
    links = _links(declaration) - absent.keys()
    new = Directory(
        _merge(current.products, {row["key"]: Product(**row) for row in declaration.rows("products")}, prune).values(),
        _merge(
            current.devices, {_id(row): _device(row, current) for row in declaration.rows("devices")}, prune
        ).values(),
        links if prune else links | _pairs(current),
        _merge(
            current.applications,
            {row["name"]: _application(row) for row in declaration.rows("applications")},
            prune,
        ).values(),
        _merge(
            current.operators, {row["name"]: _operator(row) for row in declaration.rows("operators")}, prune
        ).values(),
        wired=() if prune else current.wired - links,
        released=absent if prune else {link: time for link, time in current.released.items() if link not in links},
    )
    return new, [*_changes(current, new), *_kept(absent)]


@functools.cache
def _schema() -> Schema:
    return Schema(load_schema("registry"))


def _faults(
    declaration: Declaration, current: Directory, models: Collection[str], absent: Collection[Link], *, prune: bool
) -> Iterator[str]:
    """Everything that is wrong between the rows, in the order of the tables."""
    yield from _duplicates(declaration)
    products = {row["key"]: row for row in declaration.rows("products")}
    known_products = products.keys() | (set() if prune else current.products.keys())
    devices = {_id(row) for row in declaration.rows("devices")}
    known_devices = devices | (set() if prune else set(current.devices))
    for index, row in enumerate(declaration.rows("products")):
        if "model" in row and row["model"] not in models:
            known = ", ".join(sorted(models)) or "none is loaded"
            yield _fault("products", index, row, f"unknown model {row['model']} (known: {known})")
    for index, row in enumerate(declaration.rows("devices")):
        yield from (
            _fault("devices", index, row, fault) for fault in _device_faults(row, known_products, products, current)
        )
    yield from _asset_faults(declaration, current, prune=prune)
    yield from _gateway_faults(declaration, known_devices, Directory() if prune else current, absent)
    for index, row in enumerate(declaration.rows("applications")):
        if ("key" in row) != ("secret" in row):
            yield _fault("applications", index, row, "key and secret go together")
        elif "key" not in row and "api_key" not in row:
            yield _fault("applications", index, row, "key and secret, or api_key, missing")
    yield from _application_faults(declaration, current, prune=prune)
    for index, row in enumerate(declaration.rows("operators")):
        if ("password" in row) == ("password_hash" in row):
            yield _fault("operators", index, row, "one of password and password_hash is needed")
        elif "password_hash" in row and not is_password_hash(row["password_hash"]):
            yield _fault(
                "operators", index, row, "password_hash is none (`enos-ingest registry hash-password` makes one)"
            )


def _duplicates(declaration: Declaration) -> Iterator[str]:
    for table in _NAMED_BY:
        first: dict[str, int] = {}
        for index, row in enumerate(declaration.rows(table)):
            name = _name(table, row)
            if name in first:
                yield _fault(table, index, row, f"declared twice, first as {table}[{first[name]}]")
            first.setdefault(name, index)


def _device_faults(
    row: dict[str, Any], known_products: Collection[str], products: dict[str, dict[str, Any]], current: Directory
) -> Iterator[str]:
    product_key = row["product"]
    if row["key"] in RESERVED_DEVICE_KEYS:
        yield f"key {row['key']} is reserved"
    if product_key not in known_products:
        yield f"unknown product {product_key}"
        return
    declared = products.get(product_key)
    dynamic = (
        declared.get("dynamic_activation", False) if declared else current.products[product_key].dynamic_activation
    )
    if "secret" not in row and not dynamic:
        yield "secret missing"


def _asset_faults(declaration: Declaration, current: Directory, *, prune: bool) -> Iterator[str]:
    rows = declaration.rows("devices")
    declared = {_id(row) for row in rows}
    owner = {device.asset_id: str(key) for key, device in current.devices.items() if not prune and key not in declared}
    for index, row in enumerate(rows):
        asset_id, name = _asset_id(row), _name("devices", row)
        if owner.setdefault(asset_id, name) != name:
            yield _fault("devices", index, row, f"asset_id {asset_id} is {owner[asset_id]}'s")


def _application_faults(declaration: Declaration, current: Directory, *, prune: bool) -> Iterator[str]:
    """Keys that two applications share: a call could not be told to be the one's or the other's."""
    rows = declaration.rows("applications")
    declared = {row["name"] for row in rows}
    kept = [each for each in current.applications.values() if not prune and each.name not in declared]
    keys = {each.key: each.name for each in kept if each.key}
    api_keys = {each.api_key_hash: each.name for each in kept if each.api_key_hash}
    for index, row in enumerate(rows):
        application = _application(row)
        for what, value, owners in (
            ("key", application.key, keys),
            ("api_key", application.api_key_hash, api_keys),
        ):
            if value and owners.setdefault(value, application.name) != application.name:
                yield _fault("applications", index, row, f"{what} is {owners[value]}'s")


def _gateway_faults(
    declaration: Declaration, known_devices: Collection[DeviceId], kept: Directory, absent: Collection[Link]
) -> Iterator[str]:
    """What is wrong with gateways; a sub-device that stays `absent` makes nobody a gateway or a sub-device."""
    rows = declaration.rows("gateways")
    gateways = {_reference(row["device"]) for row in rows if not _all_absent(row, absent)} | kept.topology.keys()
    for index, row in enumerate(rows):
        gateway = _reference(row["device"])
        if gateway not in known_devices:
            yield _fault("gateways", index, row, "device is not declared")
        if gateway in gateways:
            for above in sorted(kept.gateways(gateway)):
                yield _fault("gateways", index, row, f"device is a sub-device of {above}")
        seen = set()
        for text in row["sub_devices"]:
            sub_device = _reference(text)
            if sub_device == gateway:
                yield _fault("gateways", index, row, "a gateway cannot be its own sub-device")
            elif sub_device in gateways and (gateway, sub_device) not in absent:
                yield _fault("gateways", index, row, f"sub-device {text} is a gateway itself")
            elif sub_device not in known_devices:
                yield _fault("gateways", index, row, f"sub-device {text} is not declared")
            if sub_device in seen:
                yield _fault("gateways", index, row, f"sub-device {text} stands twice")
            seen.add(sub_device)


def _all_absent(row: dict[str, Any], absent: Collection[Link]) -> bool:
    gateway, sub_devices = _reference(row["device"]), row["sub_devices"]
    return bool(sub_devices) and all((gateway, _reference(text)) in absent for text in sub_devices)


def _device(row: dict[str, Any], current: Directory) -> Device:
    device_id = _id(row)
    known = current.devices.get(device_id)
    # A secret that the file leaves out was made by dynamic activation: it is the database's to keep.
    secret = row.get("secret", known.secret if known else "")
    declared = Device(device_id, secret, _asset_id(row), row.get("enabled", True))
    if known is None:
        return declared
    # The wire's until the file gives it a secret: then a device that has gone by another is not the file's any more.
    origin: Origin = "file" if "secret" in row else known.origin
    return replace(declared, activated=known.activated, origin=origin, name=known.name, timezone=known.timezone)


def _application(row: dict[str, Any]) -> Application:
    api_key_hash = hash_api_key(row["api_key"]) if "api_key" in row else ""
    return Application(row["name"], row.get("key", ""), row.get("secret", ""), api_key_hash, frozenset(row["scopes"]))


def _with_hash(row: dict[str, Any], current: Directory) -> dict[str, Any]:
    if "password" not in row or "password_hash" in row:
        return row
    password, known = row["password"], current.operators.get(row["name"])
    kept = known is not None and verify_password(password, known.password_hash)
    rest = {key: value for key, value in row.items() if key != "password"}
    return {**rest, "password_hash": known.password_hash if known and kept else hash_password(password)}


def _operator(row: dict[str, Any]) -> OperatorAccount:
    return OperatorAccount(row["name"], row["password_hash"], frozenset(row["scopes"]))


def _links(declaration: Declaration) -> set[Link]:
    """The pairs of gateway and sub-device that the file declares."""
    return {
        (_reference(row["device"]), _reference(text))
        for row in declaration.rows("gateways")
        for text in row["sub_devices"]
    }


def _pairs(directory: Directory) -> set[Link]:
    return {(gateway, sub_device) for gateway, found in directory.topology.items() for sub_device in found}


def _changes(old: Directory, new: Directory) -> Iterator[Change]:
    tables: list[tuple[str, Mapping[Any, Any], Mapping[Any, Any]]] = [
        ("product", old.products, new.products),
        ("device", old.devices, new.devices),
        ("application", old.applications, new.applications),
        ("operator", old.operators, new.operators),
    ]
    for kind, before, after in tables:
        for key in after:
            if key not in before:
                yield Change("add", kind, str(key))
            elif before[key] != after[key]:
                yield Change("change", kind, str(key), _differing(before[key], after[key]))
        for key in before:
            if key not in after:
                is_wired = isinstance(before[key], Device) and before[key].origin == "wire"
                yield Change("remove", kind, str(key), _FROM_WIRE if is_wired else ())
    before_links, after_links = _pairs(old), _pairs(new)
    for gateway, sub_device in sorted(before_links | after_links):
        link, name = (gateway, sub_device), f"{sub_device} of {gateway}"
        if link not in before_links:
            yield Change("add", "sub-device", name)
        elif link not in after_links:
            yield Change("remove", "sub-device", name, _FROM_WIRE if link in old.wired else ())
        elif (link in old.wired) != (link in new.wired):
            yield Change("change", "sub-device", name, ("origin",))
    for gateway, sub_device in sorted(old.released.keys() - new.released.keys() - after_links):
        yield Change(
            "forget", "sub-device", f"{sub_device} of {gateway}", (_let_go(old.released[gateway, sub_device]),)
        )


def _kept(absent: Mapping[Link, int]) -> Iterator[Change]:
    for (gateway, sub_device), time in sorted(absent.items()):
        yield Change("keep", "sub-device", f"{sub_device} of {gateway}", (_let_go(time),))


def _let_go(time: int) -> str:
    return f"let it go at {datetime.fromtimestamp(time // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _differing(before: Any, after: Any) -> tuple[str, ...]:
    """The names of the fields that differ: names only, the values may be secrets."""
    return tuple(
        field.name.removesuffix("_hash")
        for field in fields(before)
        if getattr(before, field.name) != getattr(after, field.name)
    )


def _merge(current: Any, declared: dict[Any, Any], prune: bool) -> dict[Any, Any]:
    return declared if prune else {**current, **declared}


def _describe(fault: SchemaError, document: dict[str, Any]) -> str:
    """A fault of shape as `table[index] key: what`."""
    match fault.path:
        case [str(table), int(index), *rest] if table in _NAMED_BY:
            row = document[table][index]
            where = format_path(rest)
            if fault.expectation in ("missing", "unknown"):
                what = f"{where} {fault.expectation}"
            else:
                what = f"{where}: {fault.expectation}" if rest else fault.expectation
            return _fault(table, index, row if isinstance(row, dict) else {}, what)
        case _:
            return str(fault)


def _fault(table: str, index: int, row: dict[str, Any], what: str) -> str:
    name = _name(table, row)[:_SHOWN_NAME]
    return f"{table}[{index}] {name}: {what}" if name else f"{table}[{index}]: {what}"


def _name(table: str, row: dict[str, Any]) -> str:
    return "/".join(str(row[key]) for key in _NAMED_BY[table] if key in row)


def _id(row: dict[str, Any]) -> DeviceId:
    return DeviceId(row["product"], row["key"])


def _asset_id(row: dict[str, Any]) -> str:
    asset_id: str = row.get("asset_id") or derive_asset_id(_id(row))
    return asset_id


def _reference(text: str) -> DeviceId:
    product_key, _, device_key = text.partition("/")
    return DeviceId(product_key, device_key)
