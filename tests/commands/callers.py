"""Business software and devices on a stage: who asks for commands, who answers them, and what is then known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

import orjson

from enos_ingest.commands.command import Command, State
from enos_ingest.commands.downlink import answer_topic
from enos_ingest.commands.refusals import CommandRefusal
from enos_ingest.pipeline import Message
from enos_ingest.protocol.identity import DeviceId
from tests.commands.stage import GATEWAY, Stage, command

__all__ = ["MakeStage", "answer", "cache", "made", "numbers", "refusal", "run", "states"]

MakeStage: TypeAlias = Callable[..., Stage]
"""Makes a stage with these options of the dispatcher; the fixture closes it."""


def made(stage: Stage, number: int = 1, device: DeviceId = GATEWAY, **fields: Any) -> Command:
    """A command of now."""
    return command(number, device, at=stage.now(), **fields)


def run(stage: Stage, number: int = 1, device: DeviceId = GATEWAY, **fields: Any) -> asyncio.Task[Command]:
    """A caller of an instant command."""
    return stage.spawn(stage.dispatcher.run(made(stage, number, device, **fields)))


def cache(stage: Stage, number: int = 1, device: DeviceId = GATEWAY, **fields: Any) -> asyncio.Task[None]:
    """A caller of a cached command."""
    return stage.spawn(stage.dispatcher.cache(made(stage, number, device, **{"pending_ttl": 1000, **fields})))


def answer(stage: Stage, sent: Command, **body: Any) -> None:
    """The device's own answer."""
    payload = orjson.dumps({"id": sent.id, "code": 200, **body})
    stage.dispatcher.answered(Message(answer_topic(sent.topic), payload, stage.now(), sent.device))
    stage.loop.settle()


def refusal(task: asyncio.Task[Any]) -> CommandRefusal:
    """What a caller was told."""
    assert task.done(), "not told yet"
    error = task.exception()
    assert isinstance(error, CommandRefusal)
    return error


def states(stage: Stage) -> list[State]:
    """Those on disk, by id."""
    return [each.state for _, each in sorted(stage.disk.commands.items())]


def numbers(stage: Stage) -> list[int]:
    """Which commands were sent, in order."""
    return [each.input for each in stage.sent]
