"""Bounds on MQTT connections, and what is counted about them."""

from __future__ import annotations

from typing import Literal, Protocol

__all__ = [
    "CLOSED_REASONS",
    "KINDS",
    "PACKETS_A_TURN",
    "PAUSE_REASONS",
    "REFUSED_REASONS",
    "SECONDS_A_TURN",
    "ConnectionCounters",
    "ConnectionKind",
    "PauseReason",
]

ConnectionKind = Literal["device", "channel", "operator"]
PauseReason = Literal["codec", "connection", "hub", "memory"]

PACKETS_A_TURN = 64
"""How many packets of one client are read before the others get their turn."""

SECONDS_A_TURN = 0.02
"""After so long its turn ends with the packet that is read: a few take as long as thousands of others, such as those
that register a thousand devices."""

KINDS: tuple[ConnectionKind, ...] = ("device", "channel", "operator")
"""What connects."""

PAUSE_REASONS: tuple[PauseReason, ...] = ("codec", "connection", "hub", "memory")
"""Why reading stops: enough has come behind a message that a codec has, or a limit is reached: that of one connection,
that of all together (or the store's), or that of all unfinished packets."""

REFUSED_REASONS = (
    "limit",
    "address_limit",
    "rate",
    "tls",
    "handshakes",
    "malformed",
    "memory",
    "version",
    "identifier_rejected",
    "server_unavailable",
    "bad_credentials",
    "not_authorized",
)
"""Why a connection does not get in: the words of admission, a handshake or CONNECT that fails or does not come, too
many handshakes that wait, too much that is held of unfinished packets, and the other codes of CONNACK."""

CLOSED_REASONS = (
    "client", "network", "protocol", "keep_alive", "unfinished", "slow", "memory", "taken_over", "registry",
    "disabled", "deleted", "stopped",
)  # fmt: skip
"""Why a connection that was let in has ended: DISCONNECT, a socket that broke or closed without it, a malformed packet,
silence, a packet that took too long, a reader too slow for what it is sent, too much that is held of unfinished
packets, a newer connection, a changed registry, a device that its operator disabled or deleted, the end of the hub."""


class ConnectionCounters(Protocol):
    """What is counted about connections."""

    def connected(self, kind: ConnectionKind) -> None: ...

    def refused(self, reason: str) -> None: ...

    def closed(self, reason: str) -> None: ...

    def publish_denied(self) -> None: ...

    def reading_paused(self, why: PauseReason) -> None: ...

    def oversized(self) -> None: ...

    def mirror_dropped(self) -> None: ...
