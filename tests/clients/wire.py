"""What the SDKs in Java, for Node.js and in C put on the wire, written out from their sources: nothing of ours signs.

None of the three runs on the machines that test us.
"""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import orjson

from enos_ingest.endpoint.packets import PacketType, Publish, encode_ack, encode_publish
from enos_ingest.testing.hub import Hub
from tests.endpoint.raw import RawClient

__all__ = ["WireClient", "connect_bytes", "digest"]


def digest(content: dict[str, str], secret: str, *, upper: bool = False) -> str:
    """SHA-256 over names and values in order of the names, and the secret."""
    text = "".join(f"{name}{value}" for name, value in sorted(content.items())) + secret
    found = hashlib.sha256(text.encode()).hexdigest()
    return found.upper() if upper else found


def connect_bytes(client_id: str, user_name: str, password: str, *, clean: bool, keep_alive: int) -> bytes:
    """A CONNECT packet of MQTT 3.1.1 without a will."""
    flags = 0b1100_0000 | clean << 1
    body = b"\x00\x04MQTT\x04" + bytes((flags,)) + keep_alive.to_bytes(2)
    for text in (client_id, user_name, password):
        body += len(text.encode()).to_bytes(2) + text.encode()
    assert len(body) < 1 << 14
    return bytes((0x10, len(body) & 0x7F | 0x80, len(body) >> 7)) + body


class WireClient(RawClient):
    """An SDK on the wire; a reply is looked for by its topic and `id`, as those do.

    Args:
        qos: of all that it publishes.
        first_id: the `id` of its first request.
    """

    def __init__(self, hub: Hub, *, qos: int = 1, first_id: int = 1) -> None:
        super().__init__(hub)
        self.qos = qos
        self._ids = itertools.count(first_id)
        self._packet_ids = itertools.cycle(range(1, 65_536))

    def next_packet_id(self) -> int:
        """The next packet id, from 1."""
        return next(self._packet_ids)

    def ask(self, topic: str, method: str, params: Any, *, version: str = "1.0", **fields: Any) -> dict[str, Any]:
        """Publish a request, and return the reply to it, which comes on that topic and is text throughout its id."""
        identifier = str(next(self._ids))
        message = {"id": identifier, "version": version, "method": method, "params": params, **fields}
        self.push(topic, self.pack(orjson.dumps(message)))
        publish = self.reply(topic)
        found: dict[str, Any] = orjson.loads(self.unpack(publish.payload))
        assert found["id"] == identifier
        assert type(found["code"]) is int
        assert "data" in found
        return found

    def push(self, topic: str, payload: bytes) -> None:
        """Publish with its QoS, and wait for nothing."""
        packet_id = self.next_packet_id() if self.qos else 0
        self.send(encode_publish(topic, payload, qos=self.qos, packet_id=packet_id))

    def reply(self, topic: str) -> Publish:
        """The next message, which must be the reply to a request on this topic; PUBACK comes before it or after."""
        acknowledged = not self.qos
        publish: Publish | None = None
        while publish is None or not acknowledged:
            packet = self.receive()
            assert packet is not None, f"closed instead of a reply on {topic}_reply"
            if packet.kind is PacketType.PUBACK:
                acknowledged = True
                continue
            publish = packet.publish
            if publish.qos:
                self.send(encode_ack(PacketType.PUBACK, publish.packet_id))
        assert publish.topic == f"{topic}_reply"
        return publish

    def pack(self, payload: bytes) -> bytes:
        """A payload as it is sent."""
        return payload

    def unpack(self, payload: bytes) -> bytes:
        """A payload that came, as it is read."""
        return payload
