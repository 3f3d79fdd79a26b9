"""The servers that a table compares: the hub of this checkout, its likes, and the peers."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.hub import Hub, run_hub, run_peer

__all__ = ["HUB", "LIMITS", "NULL_STORE", "Server", "main_job", "peer"]

LIMITS = {"connects_per_second": 1_000_000}
"""A whole fleet is behind one address here and comes back faster than any real site: the bound is not what is
measured."""


@dataclass(frozen=True)
class Server:
    """Something to measure; `start` takes a folder for its files and the text of a registry file."""

    name: str
    start: Callable[[Path, str], AbstractContextManager[Hub]]


HUB = Server("hub", functools.partial(run_hub, limits=LIMITS))

NULL_STORE = Server("null store", functools.partial(run_hub, limits=LIMITS, module=("benchmarks.null_store",)))


def main_job(checkout: Path) -> Server:
    """The hub of an older checkout, which may not know our settings."""
    return Server("main job", functools.partial(run_hub, checkout=checkout))


def peer(name: str) -> Server:
    """A peer, by its name in benchmarks/peers."""
    command = (sys.executable, "-m", "benchmarks.peers", name)
    return Server(name, functools.partial(run_peer, command=command))
