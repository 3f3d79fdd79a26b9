"""The command `enos-ingest`: one module per group of commands.

Exit codes: 0 done, 1 the command found a fault in what it was given, or hub or device refuse it, 2 wrong usage, 3 the
service cannot start or is not there, or the configuration or the database cannot be used.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from enos_ingest import __version__
from enos_ingest.cli import (
    attributes,
    command,
    credentials,
    devices,
    events,
    models,
    points,
    quarantine,
    registry,
    serve,
    tags,
)
from enos_ingest.cli.options import printable
from enos_ingest.errors import CallError, ConfigError, EnosIngestError, StartError, StorageError

__all__ = ["build_parser", "main"]

_CANNOT_RUN = (CallError, ConfigError, StartError, StorageError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = build_parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # `enos-ingest points ... | head`: who reads has enough. Python would complain at exit otherwise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except EnosIngestError as error:
        print(f"enos-ingest: {printable(str(error), keep=chr(10))}", file=sys.stderr)
        return 3 if isinstance(error, _CANNOT_RUN) else 1
    return code


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sub-parser has a `run` that takes the options."""
    parser = argparse.ArgumentParser(
        prog="enos-ingest",
        description="The hub end of the EnOS IoT device protocol: validated, stored durably, then answered.",
    )
    parser.add_argument("--version", action="version", version=f"enos-ingest {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (
        serve,
        registry,
        devices,
        models,
        points,
        attributes,
        events,
        tags,
        command,
        quarantine,
        credentials,
    ):
        module.add_commands(commands)
    return parser
