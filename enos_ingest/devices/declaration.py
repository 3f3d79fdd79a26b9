"""The registry file, read: its rows, once their shape has been checked."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enos_ingest.devices.directory import Link
from enos_ingest.devices.rows import NAMED_BY, fault, reference
from enos_ingest.errors import RegistryError, SchemaError, format_path
from enos_ingest.schema import Schema, load_schema
from enos_ingest.toml import parse_toml

__all__ = ["Declaration", "check_declaration", "parse_declaration", "read_declaration"]


@dataclass(frozen=True, slots=True)
class Declaration:
    """A registry file whose shape is right; the rows are as they stand in it."""

    source: str
    tables: dict[str, list[dict[str, Any]]]

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of one table, in the order of the file."""
        return self.tables.get(table, [])

    def links(self) -> set[Link]:
        """The pairs of gateway and sub-device that the file declares."""
        return {
            (reference(row["device"]), reference(text)) for row in self.rows("gateways") for text in row["sub_devices"]
        }


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
    faults = [_describe(found, document) for found in _schema().faults(document)]
    if faults:
        raise RegistryError(source, faults)
    return Declaration(source, document)


@functools.cache
def _schema() -> Schema:
    return Schema(load_schema("registry"))


def _describe(found: SchemaError, document: dict[str, Any]) -> str:
    """A fault of shape as `table[index] key: what`."""
    match found.path:
        case [str(table), int(index), *rest] if table in NAMED_BY:
            row = document[table][index]
            where = format_path(rest)
            if found.expectation == "missing":
                what = f"{where} missing"
            elif found.expectation == "unknown":
                what = f"{where} unknown{_meant(where, _members(table))}"
            else:
                what = f"{where}: {found.expectation}" if rest else found.expectation
            return fault(table, index, row if isinstance(row, dict) else {}, what)
        case [str(table)] if found.expectation == "unknown":
            return f"{found}{_meant(table, NAMED_BY)}"
        case _:
            return str(found)


def _members(table: str) -> Iterable[str]:
    """What a row of a table may have."""
    members: dict[str, Any] = _schema().document["properties"][table]["items"]["properties"]
    return members


def _meant(name: str, known: Iterable[str]) -> str:
    """A hint at the name that was meant; nothing where none is near."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
