"""Commands that have come to their end, and a database with commands."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from enos_ingest.commands.command import Command, State
from tests.storage.samples import command, commit, open_writer, ordered


def save(path: Path, commands: Iterable[Command]) -> None:
    """Hand commands to a writer, one after the other without waiting, and wait for all."""

    async def run() -> None:
        async with open_writer(path) as writer:
            await asyncio.gather(*[commit(writer, ordered(each)) for each in commands])

    asyncio.run(run())


def finished(number: int, *, at: int = 1, state: State = State.SUCCESS, **changes: Any) -> Command:
    """A command that has come to its end."""
    return command(number, state=state, sent=at, finished=at, **changes)
