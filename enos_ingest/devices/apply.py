"""A registry file applied to a directory: both are left as they are, a new directory comes of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from enos_ingest.devices.declaration import Declaration
from enos_ingest.devices.declaration_faults import declaration_faults
from enos_ingest.devices.differences import Difference, differences, kept, pairs
from enos_ingest.devices.directory import Directory, Product
from enos_ingest.devices.passwords import hash_password, verify_password
from enos_ingest.devices.rows import application_of, device_of, operator_of, row_id
from enos_ingest.errors import RegistryError

__all__ = ["apply_declaration", "hash_passwords"]


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
) -> tuple[Directory, list[Difference]]:
    """The directory after an apply, and what that changes.

    Rows are added and changed; rows that the file does not name stay, unless `prune` removes them. Sub-devices that
    their gateway has let go stay away, unless `restore` adds them again.

    Args:
        models: the modelIds that products may name.

    Raises:
        RegistryError: every fault found; nothing was changed.
    """
    absent = {} if restore else {link: current.released[link] for link in declaration.links() & current.released.keys()}
    faults = list(declaration_faults(declaration, current, models, absent, prune=prune))
    if faults:
        raise RegistryError(declaration.source, faults)
    declaration = hash_passwords(declaration, current)
    links = declaration.links() - absent.keys()
    new = Directory(
        _merge(current.products, {row["key"]: Product(**row) for row in declaration.rows("products")}, prune).values(),
        _merge(
            current.devices, {row_id(row): device_of(row, current) for row in declaration.rows("devices")}, prune
        ).values(),
        links if prune else links | pairs(current),
        _merge(
            current.applications,
            {row["name"]: application_of(row) for row in declaration.rows("applications")},
            prune,
        ).values(),
        _merge(
            current.operators, {row["name"]: operator_of(row) for row in declaration.rows("operators")}, prune
        ).values(),
        wired=() if prune else current.wired - links,
        released=absent if prune else {link: time for link, time in current.released.items() if link not in links},
    )
    return new, [*differences(current, new), *kept(absent)]


def _with_hash(row: dict[str, Any], current: Directory) -> dict[str, Any]:
    if "password" not in row or "password_hash" in row:
        return row
    password, known = row["password"], current.operators.get(row["name"])
    kept = known is not None and verify_password(password, known.password_hash)
    rest = {key: value for key, value in row.items() if key != "password"}
    return {**rest, "password_hash": known.password_hash if known and kept else hash_password(password)}


def _merge(current: Any, declared: dict[Any, Any], prune: bool) -> dict[Any, Any]:
    return declared if prune else {**current, **declared}
