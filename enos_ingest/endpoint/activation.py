"""The session of a device that has come with its product's secret: it is told its own, and may do nothing else."""

from __future__ import annotations

import asyncio

import orjson

from enos_ingest.endpoint.connection import Connection
from enos_ingest.endpoint.packets import (
    PINGRESP,
    Ack,
    Disconnect,
    MalformedPacketError,
    Packet,
    PacketType,
    PingReq,
    Publish,
    Subscribe,
    Unsubscribe,
    encode_ack,
    encode_publish,
    encode_suback,
    encode_unsuback,
)
from enos_ingest.endpoint.roles import ActivationHost
from enos_ingest.endpoint.subscriptions import HIGHEST_QOS, REFUSED
from enos_ingest.errors import PayloadError, StorageError
from enos_ingest.logs import get_logger
from enos_ingest.protocol.compression import Compression, compress, decompress
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.protocol.notices import activation_topic
from enos_ingest.protocol.topics import filter_matches, reply_topic

__all__ = ["ActivationSession"]

log = get_logger(__name__)

_FILTERS = 100
"""Filters in one packet: there is one topic to subscribe to, and the SDKs subscribe to none."""

_TELL_SECONDS = (0.05, 3.0, 3.0, 3.0)
"""When the secret is told once it is on disk, and told again as long as the device has not said that it has it.

The Java SDK registers who takes the secret after its CONNECT has returned, and cannot answer before: what comes in
between it drops, or answers 1101. The one in C waits for 200 ms and no longer.
"""

_ANSWER_BYTES = 4096
"""The longest answer that is read: the SDKs' have a hundred."""

_TAKEN = frozenset({200, 0, "200", "0"})
"""The code of a device that has the secret."""


class ActivationSession:
    """Lasts until the device leaves: it comes again with the secret that it was told.

    What it publishes but for the answer to that is not taken, and not acknowledged: so it is sent again then. Until it
    answers it is told a few times: the SDKs may miss what comes right behind CONNACK.

    Args:
        compression: how the payloads are that the device is sent.
    """

    __slots__ = ("_compression", "_connection", "_denied", "_host", "_timer", "_times", "_told", "_topic", "device")

    def __init__(
        self, device: DeviceId, connection: Connection, host: ActivationHost, compression: Compression
    ) -> None:
        self.device = device
        self._connection = connection
        self._host = host
        self._compression = compression
        self._topic = activation_topic(device)
        self._denied = False
        self._told = False
        self._times = enumerate(_TELL_SECONDS, 1)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_tls(self) -> bool:
        """Whether the device came over TLS."""
        return self._connection.is_tls

    def stored(self, payload: bytes, error: StorageError | None) -> None:
        """Have the secret sent, which is stored now; subscribed to or not, and shown to nobody else.

        One that the store has refused, as another was declared meanwhile, is told to nobody: the connection ends, so
        that the device comes again at once.
        """
        if error is not None:
            self._connection.close("registry", str(error))
        elif self._connection.is_closing:
            self._say_gone()
        else:
            self._tell_later(compress(self._compression, payload))

    def close(self, reason: str) -> None:
        """End the connection."""
        self._connection.close(reason)

    def ended(self, reason: str, detail: str) -> None:
        extra = {"detail": detail} if detail else {}
        log.info(
            "activation ended",
            device=str(self.device),
            peer=self._connection.address,
            reason=reason,
            told=self._told,
            **extra,
        )
        if self._timer is not None:
            self._timer.cancel()
            if not self._told:
                self._say_gone()
        self._host.counters.closed(reason)
        self._host.activation_over(self)

    def ready(self) -> bool:
        return True

    def receive(self, packet: Packet) -> None:
        match packet:
            case Publish():
                self._publish(packet)
            case Subscribe(packet_id, filters):
                _bound(len(filters))
                codes = [self._grant(topic_filter, qos) for topic_filter, qos in filters]
                self._connection.send(encode_suback(packet_id, codes))
            case Unsubscribe(packet_id, filters):
                _bound(len(filters))
                self._connection.send(encode_unsuback(packet_id))
            case PingReq():
                self._connection.send(PINGRESP)
            case Disconnect():
                self._connection.close("client")
            case Ack(PacketType.PUBREL, packet_id):
                self._connection.send(encode_ack(PacketType.PUBCOMP, packet_id))
            case _:
                pass  # the secret has come in

    def _publish(self, publish: Publish) -> None:
        if publish.topic != reply_topic(self._topic):
            self._host.counters.publish_denied()
            if not self._denied:
                self._denied = True
                log.info(
                    "publish not allowed before the activation", client=str(self.device), topic=publish.topic[:100]
                )
            return
        if self._timer is not None and self._has_it(publish.payload):
            self._timer.cancel()
        if publish.qos:
            kind = PacketType.PUBACK if publish.qos == 1 else PacketType.PUBREC
            self._connection.send(encode_ack(kind, publish.packet_id))

    def _tell_later(self, data: bytes) -> None:
        for packet_id, seconds in self._times:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._tell, data, packet_id)
            break

    def _tell(self, data: bytes, packet_id: int) -> None:
        if self._connection.is_closing:
            return
        self._connection.send(encode_publish(self._topic, data, qos=1, packet_id=packet_id))
        if not self._told:
            self._told = True
            log.info("activated", device=str(self.device), peer=self._connection.address)
        self._tell_later(data)

    def _has_it(self, payload: bytes) -> bool:
        """Whether an answer says that the device has its secret; one that nobody can read does not."""
        if len(payload) > _ANSWER_BYTES:
            return False
        try:
            answer = orjson.loads(decompress(self._compression, payload, _ANSWER_BYTES))
        except (PayloadError, orjson.JSONDecodeError):
            return False
        code = answer.get("code") if isinstance(answer, dict) else None
        return isinstance(code, int | str) and code in _TAKEN

    def _say_gone(self) -> None:
        log.warning("activated, but the device had gone before it was told its secret", device=str(self.device))

    def _grant(self, topic_filter: str, qos: int) -> int:
        mine = topic_filter != "#" and filter_matches(topic_filter, self._topic)
        return min(qos, HIGHEST_QOS) if mine else REFUSED


def _bound(filters: int) -> None:
    if filters > _FILTERS:
        raise MalformedPacketError(f"{filters} filters in one packet, of a device that is told its secret")
