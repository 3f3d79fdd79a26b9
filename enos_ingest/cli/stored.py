"""What is stored of a device, printed: for the commands that differ in what they read."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from typing import TypeVar

from enos_ingest.cli.options import database, json_line
from enos_ingest.storage.registry import open_registry

__all__ = ["print_stored"]

_Row = TypeVar("_Row")


def print_stored(
    options: argparse.Namespace,
    noun: str,
    rows: Iterable[_Row],
    as_json: Callable[[_Row], dict[str, object]],
    line: Callable[[_Row], str],
) -> int:
    """Print what is stored of `options.device`, for people or with `--json`; returns the exit code.

    That there is nothing is no fault of a device that is declared.

    Args:
        noun: what the rows are, for the sentence that says that there are none.
        as_json: the members of a row, which come behind the keys of the device.
    """
    device = options.device
    keys = {"productKey": device.product_key, "deviceKey": device.device_key}
    count = 0
    for row in rows:
        count += 1
        print(json_line({**keys, **as_json(row)}) if options.json else line(row))
    if count:
        return 0
    with open_registry(database(options), read_only=True) as registry:
        declared = device in registry.directory().devices
    if not declared:
        print(f"enos-ingest: {device} is not declared and has no stored {noun}", file=sys.stderr)
        return 1
    print(f"no such {noun} of {device} are stored", file=sys.stderr)
    return 0
