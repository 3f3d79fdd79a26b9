"""Run a peer, or check that it works.

    python -m benchmarks.peers node --registry bench.toml --folder /tmp/peer --port 0
    python -m benchmarks.peers script --registry bench.toml --folder /tmp/peer --port 0
    python -m benchmarks.peers check

A peer that runs prints `listening HOST:PORT` and ends on SIGTERM, all its processes with it.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.check import check_peer
from benchmarks.peers.peer import PEERS, PeerError, run_peer

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 1 where a peer cannot run, ends by itself, or does not do what it should."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "check":
            return _check([options.peer] if options.peer else list(PEERS))
        return _serve(options)
    except (PeerError, OSError) as error:
        print(f"benchmarks.peers: {error}", file=sys.stderr)
        return 1


def _check(names: Sequence[str]) -> int:
    for name in names:
        check_peer(name)
        print(f"{name}: stores before it answers, refuses what does not fit", flush=True)
    return 0


def _serve(options: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with run_peer(options.command, options.registry, options.folder, options.port) as peer:
        print(f"listening {peer.host}:{peer.port}", flush=True)
        peer.wait()
    raise PeerError(f"{options.command} has ended by itself; its logs are in {options.folder}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="Peers to measure against.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (
        ("node", "aedes, ajv and better-sqlite3 in one Node.js process"),
        ("script", "mosquitto and a script with paho-mqtt, jsonschema and sqlite3"),
    ):
        run = commands.add_parser(name, help=f"run {text}", description=f"Run {text}, until SIGTERM.")
        run.add_argument("--registry", type=Path, required=True, metavar="FILE", help="products and devices")
        run.add_argument("--folder", type=Path, required=True, metavar="DIR", help="for the database and logs")
        run.add_argument("--port", type=int, default=0, metavar="N", help="on 127.0.0.1 (default: a free one)")
    check = commands.add_parser("check", help="report through peers and read back what they stored")
    check.add_argument("peer", nargs="?", choices=list(PEERS), help="default: all")
    return parser


if __name__ == "__main__":
    sys.exit(main())
