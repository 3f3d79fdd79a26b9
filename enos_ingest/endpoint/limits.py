"""Bounds on MQTT connections, and what is counted about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

__all__ = ["ConnectionCounters", "ConnectionLimits"]


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds on connections; see the settings of the same names."""

    connections: int
    connect_bytes: int
    connect_seconds: float
    packet_bytes: int
    outgoing_bytes: int
    subscriptions: int
    in_flight: int
    in_flight_bytes: int


class ConnectionCounters(Protocol):
    """What is counted about connections."""

    def connected(self, kind: Literal["device", "channel", "operator"]) -> None: ...

    def refused(self, reason: str) -> None: ...

    def publish_denied(self) -> None: ...
