"""A device that says what a test gives it."""

from __future__ import annotations

from enos_ingest.testing.hub import Hub
from tests.endpoint.raw import RawClient, connect_packet
from tests.endpoint.site import resume_topic

__all__ = ["ANSWER_TOPIC", "DEVICE", "REPLY_TOPIC", "TOPIC", "connect", "connected"]

DEVICE = "P/alone"

TOPIC = resume_topic("alone")
REPLY_TOPIC = f"{TOPIC}_reply"

ANSWER_TOPIC = "/sys/P/alone/thing/service/measurepoint/set_reply"
"""Where a device may publish without being answered."""


def connect(hub: Hub, *, client_id: str | None = None, clean_session: bool = True, keep_alive: int = 0) -> bytes:
    """The device's CONNECT."""
    return connect_packet(
        hub.credentials(DEVICE), client_id=client_id, clean_session=clean_session, keep_alive=keep_alive
    )


def connected(hub: Hub) -> RawClient:
    """The device, let in; its older connection, if there is one, ends."""
    client = RawClient(hub)
    assert client.connect(connect(hub)) == 0
    return client
