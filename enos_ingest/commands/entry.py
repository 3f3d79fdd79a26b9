"""A command that is under way, and its caller."""

from __future__ import annotations

import asyncio
import contextlib

from enos_ingest.commands.command import Command, State
from enos_ingest.commands.refusals import CommandRefusal, RestCode

__all__ = ["Entry", "is_done", "tell"]


class Entry:
    """A command that is not finished, or whose end is not on disk yet.

    Attributes:
        command: as it was last handed to the writer.
        told: done once the caller may be told: of a cached command when it is on disk, of an instant one at its end.
        is_sent: whether it has left.
        refusal: what the caller is told then, None where there is nothing against it.
        timer: its next time limit.
    """

    __slots__ = ("command", "is_sent", "refusal", "timer", "told")

    def __init__(self, command: Command, told: asyncio.Future[None]) -> None:
        self.command = command
        self.told = told
        self.is_sent = False
        self.refusal: CommandRefusal | None = None
        self.timer: asyncio.TimerHandle | None = None

    def stop_timer(self) -> None:
        """Let no time limit end it."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def unanswered(self, when: str = "") -> CommandRefusal:
        """What the caller of an instant command without an answer is told."""
        when, data = when or f"within {self.command.timeout} s", {"commandId": self.command.id}
        if self.is_sent:
            return CommandRefusal(RestCode.NOT_ANSWERED, f"the command was sent, and not answered {when}", data)
        return CommandRefusal(RestCode.NOT_SENT, f"the command could not be sent {when}", data)

    def end_on_disk(self, *, stored: bool) -> None:
        """Its end is on disk, or never will be: tell the caller who still waits for that."""
        command = self.command
        if command.is_cached:
            if not stored:
                self.refusal = self.not_stored()
        elif not stored or command.state not in {State.SUCCESS, State.FAILED}:
            self.refusal = self.refusal or self.unanswered()
        tell(self.told)

    @staticmethod
    def not_stored() -> CommandRefusal:
        """What the caller is told where the store does not come to it."""
        return CommandRefusal(RestCode.INTERNAL, "the store cannot commit now, the command is not sent")


async def is_done(future: asyncio.Future[None], seconds: float) -> bool:
    """Wait for a future, which is cancelled where it takes too long or the caller has gone."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await future
            return True
    return False


def tell(future: asyncio.Future[None], _: object = None) -> None:
    """Let go who waits, if anybody still does."""
    if not future.done():
        future.set_result(None)
