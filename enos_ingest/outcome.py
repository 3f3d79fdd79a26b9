"""What the pipeline makes of a message: what to store, what to answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from enos_ingest.commands.command import Command
from enos_ingest.devices.changes import Change, DevicesRegistered, FactsWanted, SecretMade
from enos_ingest.protocol.codes import Code
from enos_ingest.protocol.identity import DeviceId

__all__ = ["Outcome", "Point", "Record", "Rejection"]


class Point(NamedTuple):
    """One value of one measurement point at one time.

    `time` is epoch milliseconds. `value` is the JSON value as it was sent. `quality` is None where none was
    given. `origin` is the way it came: `post`, `resume` or `integration`.
    """

    product_key: str
    device_key: str
    measurepoint: str
    time: int
    value: Any
    quality: int | None
    origin: str


class Rejection(NamedTuple):
    """A message, or the skipped part of one, kept for a person to look at.

    `time` is the receive time in epoch milliseconds; `code` is what the sender was told. `size` is the payload's
    length as received, in bytes: `payload` is only the beginning of one that was over the limit.
    """

    time: int
    topic: str
    publisher: str
    code: int
    reason: str
    payload: bytes
    size: int


@dataclass(slots=True)
class Record:
    """What one message asks the store to commit, all or nothing, in this order.

    `activated` names devices whose first successful login this is; `time` is when, in epoch milliseconds. `command` is
    a command as it is from now on, in place of what is stored under its id. `changes` are what else it changes,
    `wanted` what it asks for. `serial` numbers the records that change the registry, 0 for others.
    """

    points: list[Point]
    rejection: Rejection | None = None
    activated: tuple[DeviceId, ...] = ()
    time: int = 0
    command: Command | None = None
    changes: tuple[Change, ...] = ()
    wanted: FactsWanted | None = None
    serial: int = 0


@dataclass(slots=True)
class Outcome:
    """The verdict on one message: the reply must not leave before `record` is committed.

    `operation` names the route for metrics and logs; `skipped` counts the points that a flag had left out. `finish`
    makes the reply once the record is committed, where it holds what the store was asked for.
    """

    operation: str
    code: Code
    reason: str
    reply_topic: str
    reply: bytes
    record: Record | None
    skipped: int = 0
    finish: Callable[[], bytes] | None = None

    @property
    def holds_secret(self) -> bool:
        """Whether the reply tells a secret, which nobody but its receiver may see."""
        changes = self.record.changes if self.record is not None else ()
        return any(isinstance(change, SecretMade | DevicesRegistered) for change in changes)
