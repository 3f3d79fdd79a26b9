"""`enos-ingest registry`: what is declared, and declaring it."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from enos_ingest.cli.options import Commands, add_command, database, format_time, settings
from enos_ingest.devices.declaration import read_declaration
from enos_ingest.devices.directory import Directory
from enos_ingest.devices.passwords import hash_password
from enos_ingest.models.catalogue import Catalogue
from enos_ingest.storage.registry import open_registry

__all__ = ["add_commands"]


def add_commands(commands: Commands) -> None:
    """Declare the commands."""
    group = commands.add_parser("registry", help="products, devices, gateways, applications, operators")
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    parser = add_command(
        actions,
        "apply",
        "declare what a file lists",
        "Add and change what FILE declares, all or nothing, and print the changes. A running hub sees them within a "
        "second. Applying the same file again changes nothing.",
    )
    parser.add_argument("file", type=Path, metavar="FILE.toml")
    parser.add_argument("--prune", action="store_true", help="also remove what the file does not name")
    parser.add_argument(
        "--restore", action="store_true", help="also add sub-devices again that their gateway has let go"
    )
    parser.set_defaults(run=_apply)
    parser = add_command(actions, "show", "list what is declared, without secrets")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=_show)
    parser = add_command(
        actions,
        "hash-password",
        "make a password_hash for an operator",
        "Read a password, from the terminal or from standard input, and print its password_hash.",
    )
    parser.set_defaults(run=_hash_password)


def _apply(options: argparse.Namespace) -> int:
    declaration = read_declaration(options.file)
    loaded = settings(options)
    models = {compiled.model.model_id for compiled in Catalogue.load(loaded.models_folder()[0]).models()}
    with open_registry(database(options)) as registry:
        changes = registry.declare(declaration, models, prune=options.prune, restore=options.restore)
    for change in changes:
        print(change)
    if not any(change.is_made for change in changes):
        print("nothing to change")
    return 0


def _show(options: argparse.Namespace) -> int:
    with open_registry(database(options), read_only=True) as registry:
        directory = registry.directory()
    document = _document(directory)
    if options.json:
        print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        for line in _lines(document):
            print(line)
    return 0


def _hash_password(_options: argparse.Namespace) -> int:
    password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    try:
        password.encode()
    except UnicodeEncodeError:
        print("enos-ingest: the password is not UTF-8 text", file=sys.stderr)
        return 1
    if not password:
        print("enos-ingest: the password is empty", file=sys.stderr)
        return 1
    print(hash_password(password))
    return 0


def _document(directory: Directory) -> dict[str, list[dict[str, Any]]]:
    """The registry in the words of the registry file, without any secret or hash."""
    return {
        "products": [
            {
                "key": row.key,
                "model": row.model or None,
                "has_secret": bool(row.secret),
                "dynamic_activation": row.dynamic_activation,
                "allow_reactivation": row.allow_reactivation,
                "register": row.register,
                "require_tls": row.require_tls,
                "codec": row.codec or None,
            }
            for row in directory.products.values()
        ],
        "devices": [
            {
                "product": row.id.product_key,
                "key": row.id.device_key,
                "asset_id": row.asset_id,
                "enabled": row.enabled,
                "activated": row.activated,
                "origin": row.origin,
            }
            for row in directory.devices.values()
        ],
        "gateways": [
            {
                "device": str(gateway),
                "sub_devices": [str(sub) for sub in sorted(directory.sub_devices(gateway))],
                "from_wire": sorted(str(sub) for of, sub in directory.wired if of == gateway),
                "let_go": {str(sub): time for (of, sub), time in sorted(directory.released.items()) if of == gateway},
            }
            for gateway in sorted(directory.topology.keys() | {gateway for gateway, _ in directory.released})
        ],
        "applications": [
            {"name": row.name, "key": row.key or None, "scopes": sorted(row.scopes)}
            for row in directory.applications.values()
        ],
        "operators": [{"name": row.name, "scopes": sorted(row.scopes)} for row in directory.operators.values()],
    }


def _lines(document: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    if not any(document.values()):
        yield "nothing is declared: write a registry file, then `enos-ingest registry apply FILE.toml`"
    for row in document["products"]:
        flags = [name for name in ("dynamic_activation", "register", "require_tls") if row[name]]
        yield f"product      {row['key']}  model {row['model'] or '-'}{'  ' if flags else ''}{' '.join(flags)}"
    for row in document["devices"]:
        if not row["enabled"]:
            state = "disabled"
        elif row["activated"] is None:
            state = "never logged in"
        else:
            state = f"activated {format_time(row['activated'])}"
        wire = "  from the wire" if row["origin"] == "wire" else ""
        yield f"device       {row['product']}/{row['key']}  asset {row['asset_id']}  {state}{wire}"
    for row in document["gateways"]:
        marked = [f"{sub} (from the wire)" if sub in row["from_wire"] else sub for sub in row["sub_devices"]]
        yield f"gateway      {row['device']}  sub-devices {', '.join(marked) or '-'}"
        for sub, time in row["let_go"].items():
            yield f"             has let go {sub}  {format_time(time)}"
    for row in document["applications"]:
        yield f"application  {row['name']}  scopes {', '.join(row['scopes']) or '-'}"
    for row in document["operators"]:
        yield f"operator     {row['name']}  scopes {', '.join(row['scopes']) or '-'}"
