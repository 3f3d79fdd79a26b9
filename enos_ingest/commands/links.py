"""What commands ask of the rest of the hub: ways to devices, and somebody who counts."""

from __future__ import annotations

from typing import Literal, Protocol

from enos_ingest.commands.command import State
from enos_ingest.protocol.identity import DeviceId

__all__ = ["IGNORED_REASONS", "CommandCounters", "IgnoredReason", "Links"]

IgnoredReason = Literal["late", "foreign", "unreadable", "busy"]

IGNORED_REASONS: tuple[IgnoredReason, ...] = ("late", "foreign", "unreadable", "busy")
"""Why an answer has no effect: its command is over, or was never sent, or has been answered; it is not from the device
of its command, or on another topic; the codec cannot decode it; more of them come than are decoded at a time."""


class Links(Protocol):
    """The ways to devices."""

    def is_reachable(self, device: DeviceId, topic: str) -> bool:
        """Whether a command on this topic could be sent to a device now."""
        ...

    def is_ready(self, device: DeviceId, topic: str) -> bool:
        """Whether it could, and the device has been online for long enough to take what has waited for it."""
        ...

    def send_command(self, device: DeviceId, topic: str, payload: bytes) -> bool:
        """Send one copy; False, and nothing is sent, where the device is not reachable."""
        ...


class CommandCounters(Protocol):
    """What is counted about commands on their way."""

    def command_ended(self, state: State) -> None: ...

    def answer_ignored(self, reason: IgnoredReason) -> None: ...
