"""What a client is sent: what it subscribes to, whether it hears commands yet, and what it has not acknowledged."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable

from enos_ingest.endpoint.connection import Connection
from enos_ingest.endpoint.packets import encode_publish_to, encode_topic
from enos_ingest.endpoint.subscriptions import Subscriptions
from enos_ingest.limits import LimitsSettings
from enos_ingest.protocol.compression import Compression, compress
from enos_ingest.protocol.identity import DeviceId

__all__ = ["Delivery"]

_PACKET_IDS = 65_535

_PLAIN = Compression.NONE

_encoded = functools.lru_cache(16_384)(encode_topic)
"""Reply topics of some thousands of devices, as they stand in a packet; some 20 MB at the most."""


class Delivery:
    """Sends one client what is for it.

    Args:
        subscribes: whether the client hears commands only on topics that it has subscribed to.
        compression: how the payloads are that it is sent.
    """

    __slots__ = (
        "_compression", "_connection", "_deaf", "_limit", "_packet_id", "_unacknowledged", "subscribes", "subscriptions"
    )  # fmt: skip

    def __init__(
        self, connection: Connection, limits: LimitsSettings, *, subscribes: bool, compression: Compression
    ) -> None:
        self.subscribes = subscribes
        self.subscriptions = Subscriptions(limits.subscriptions)
        self._connection = connection
        self._compression = compression
        self._limit = limits.unacknowledged
        self._packet_id = 0
        self._unacknowledged: set[int] = set()
        # Devices that have just come online here, see `hears` and `is_ready`.
        self._deaf: dict[DeviceId, asyncio.TimerHandle] = {}

    @property
    def unacknowledged(self) -> int:
        """How many messages the client has been sent and has not acknowledged."""
        return len(self._unacknowledged)

    @property
    def deaf(self) -> int:
        """How many devices have just come online here."""
        return len(self._deaf)

    def end(self) -> None:
        """Forget who has just come online: nobody is here any more."""
        for timer in self._deaf.values():
            timer.cancel()
        self._deaf.clear()

    def give_time(self, device: DeviceId, seconds: float, over: Callable[[DeviceId], None]) -> None:
        """Hold that a device has just come online here, until `over` is called."""
        loop = asyncio.get_running_loop()
        if device in self._deaf:
            self._deaf[device].cancel()
        self._deaf[device] = loop.call_later(seconds, self._end_time, device, over)

    def hears(self, device: DeviceId, topic: str) -> bool:
        """Whether the client would take a message to this device now; what it must subscribe to, once it has."""
        if self.subscribes and device in self._deaf:
            return self.subscriptions.covers(topic)
        return self.subscriptions.qos(topic) is not None

    def is_ready(self, device: DeviceId, topic: str) -> bool:
        """Whether it would, and there is somebody behind it: so after a while, or once it has subscribed."""
        return self.hears(device, topic) and (device not in self._deaf or self.subscriptions.covers(topic))

    def send(self, topic: str, payload: bytes, qos: int) -> None:
        """Send a message, with a lower QoS where the client's subscription or what it left unacknowledged says so.

        A client that has unsubscribed from the topic is sent nothing. With very many messages unacknowledged the
        rest goes with QoS 0: on one connection TCP loses nothing, and there is less to remember.
        """
        granted = self.subscriptions.qos(topic)
        if granted is None:
            return
        if self._compression is not _PLAIN:
            payload = compress(self._compression, payload)
        if min(qos, granted) == 0 or len(self._unacknowledged) >= self._limit:
            self._connection.send(encode_publish_to(_encoded(topic), payload, 0, 0))
            return
        self._packet_id = self._packet_id % _PACKET_IDS + 1
        while self._packet_id in self._unacknowledged:  # [MQTT-2.3.1-4]
            self._packet_id = self._packet_id % _PACKET_IDS + 1
        self._unacknowledged.add(self._packet_id)
        self._connection.send(encode_publish_to(_encoded(topic), payload, 1, self._packet_id))

    def acknowledged(self, packet_id: int) -> None:
        """Forget a message that the client has acknowledged; of an id that stands for none, nothing."""
        self._unacknowledged.discard(packet_id)

    def _end_time(self, device: DeviceId, over: Callable[[DeviceId], None]) -> None:
        del self._deaf[device]
        over(device)
