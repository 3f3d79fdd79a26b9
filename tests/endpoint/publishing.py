"""What tests of PUBLISH share: who is connected, what is stored, what is answered."""

from __future__ import annotations

import orjson

from enos_ingest.protocol.credentials import Credentials
from enos_ingest.testing.hub import Hub
from tests.endpoint.raw import RawClient, connect_packet
from tests.endpoint.site import operator

__all__ = ["connected", "reply", "retained", "values"]


def connected(hub: Hub, who: str, will: tuple[str, bytes] | None = None, *, will_retain: bool = False) -> RawClient:
    """A device `P/...` or an operator that was let in."""
    credentials: Credentials = hub.credentials(who) if "/" in who else operator(who)
    client = RawClient(hub)
    assert client.connect(connect_packet(credentials, will=will, will_retain=will_retain)) == 0
    return client


def values(hub: Hub, device: str = "P/alone") -> list[object]:
    """What is stored of a device."""
    return [stored.value for stored in hub.points(device)]


def reply(client: RawClient) -> tuple[str, int]:
    """The topic and code of the next message."""
    message = client.message()
    return message.topic, orjson.loads(message.payload)["code"]


def retained(packet: bytes) -> bytes:
    """The same PUBLISH with the retain flag."""
    return bytes((packet[0] | 1,)) + packet[1:]
