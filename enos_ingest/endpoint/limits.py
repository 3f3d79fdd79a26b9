"""Bounds on MQTT connections, and what is counted about them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, Protocol, Self

from enos_ingest.settings import LimitsSettings

__all__ = [
    "CLOSED_REASONS",
    "KINDS",
    "PAUSE_REASONS",
    "REFUSED_REASONS",
    "ConnectionCounters",
    "ConnectionKind",
    "ConnectionLimits",
    "PauseReason",
]

ConnectionKind = Literal["device", "channel", "operator"]
PauseReason = Literal["connection", "hub"]

KINDS: tuple[ConnectionKind, ...] = ("device", "channel", "operator")
"""What connects."""

PAUSE_REASONS: tuple[PauseReason, ...] = ("connection", "hub")
"""Whose limit is reached where reading stops: that of one connection, or that of all together (or the store's)."""

REFUSED_REASONS = (
    "limit",
    "address_limit",
    "rate",
    "tls",
    "malformed",
    "version",
    "identifier_rejected",
    "server_unavailable",
    "bad_credentials",
    "not_authorized",
)
"""Why a connection does not get in: the words of admission, a handshake or CONNECT that fails or does not come, and
the other codes of CONNACK."""

CLOSED_REASONS = ("client", "network", "protocol", "keep_alive", "slow", "taken_over", "registry", "stopped")
"""Why a connection that was let in has ended: DISCONNECT, a socket that broke or closed without it, a malformed packet,
silence, a reader too slow for what it is sent, a newer connection, a changed registry, the end of the hub."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Bounds on connections; see the settings of the same names."""

    connections: int
    connections_per_address: int
    connects_per_second: int
    connect_bytes: int
    connect_seconds: float
    packet_bytes: int
    message_bytes: int
    outgoing_bytes: int
    subscriptions: int
    in_flight: int
    in_flight_bytes: int
    in_flight_per_connection: int
    unacknowledged: int

    @classmethod
    def from_settings(cls, limits: LimitsSettings) -> Self:
        """Those of the settings that bound connections."""
        return cls(**{field.name: getattr(limits, field.name) for field in fields(cls)})


class ConnectionCounters(Protocol):
    """What is counted about connections."""

    def connected(self, kind: ConnectionKind) -> None: ...

    def refused(self, reason: str) -> None: ...

    def closed(self, reason: str) -> None: ...

    def publish_denied(self) -> None: ...

    def reading_paused(self, why: PauseReason) -> None: ...

    def oversized(self) -> None: ...

    def mirror_dropped(self) -> None: ...
