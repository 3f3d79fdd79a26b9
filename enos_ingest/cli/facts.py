"""What a device said of itself, printed: for the commands that differ in what they read."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from typing import TypeVar

import orjson

from enos_ingest.cli.options import database
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.facts import SqliteFacts
from enos_ingest.storage.registry import open_registry

__all__ = ["print_facts"]

_Fact = TypeVar("_Fact")


def print_facts(
    options: argparse.Namespace,
    noun: str,
    read: Callable[[SqliteFacts, DeviceId], Iterable[_Fact]],
    as_json: Callable[[DeviceId, _Fact], dict[str, object]],
    line: Callable[[_Fact], str],
) -> int:
    """Print what is stored of `options.device`, for people or with `--json`; returns the exit code.

    That there is nothing is no fault of a device that is declared.
    """
    path, device = database(options), options.device
    count = 0
    with SqliteFacts(path) as facts:
        for fact in read(facts, device):
            count += 1
            print(orjson.dumps(as_json(device, fact)).decode() if options.json else line(fact))
    if count:
        return 0
    with open_registry(path, read_only=True) as registry:
        declared = device in registry.directory().devices
    if not declared:
        print(f"enos-ingest: {device} is not declared and has no stored {noun}", file=sys.stderr)
        return 1
    print(f"no such {noun} of {device} are stored", file=sys.stderr)
    return 0
