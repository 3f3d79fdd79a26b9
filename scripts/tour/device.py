"""A simulated device: a paho-mqtt client that asks and awaits answers."""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from typing import Any, NamedTuple

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from enos_ingest.protocol.credentials import Credentials
from enos_ingest.protocol.topics import reply_topic
from enos_ingest.sockets import Bind

__all__ = ["ConnectRefusedError", "Device", "NoReplyError", "Reply"]

_SECONDS = 10.0
"""How long an answer may take; a hub that is well answers in milliseconds."""


class ConnectRefusedError(Exception):
    """The hub does not let the client in."""


class NoReplyError(Exception):
    """The hub does not answer."""


class Reply(NamedTuple):
    """What came back, and after how many milliseconds."""

    document: dict[str, Any]
    milliseconds: float

    @property
    def code(self) -> int:
        """The return code."""
        return int(self.document["code"])


class Device:
    """A connection of a device or a channel, kept until `close`.

    Raises:
        ConnectRefusedError: the hub refuses it.
        NoReplyError: the hub does not answer.
    """

    def __init__(self, address: Bind, credentials: Credentials) -> None:
        self._connack: queue.SimpleQueue[ReasonCode] = queue.SimpleQueue()
        self._suback: dict[int | None, threading.Event] = {}
        self._replies: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self._subscribed: set[str] = set()
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=credentials.client_id,
            protocol=MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        self._client.username_pw_set(credentials.user_name, credentials.password)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_socket_open = _send_at_once
        try:
            self._client.connect(address.host, address.port)
            self._client.loop_start()
            reason = self._connack.get(timeout=_SECONDS)
        except (OSError, queue.Empty):
            self.close()
            raise NoReplyError("the hub does not answer CONNECT") from None
        if reason.is_failure:
            self.close()
            raise ConnectRefusedError(str(reason))

    def close(self) -> None:
        """End the connection."""
        self._client.disconnect()
        self._client.loop_stop()

    def ask(self, topic: str, payload: bytes) -> Reply:
        """Publish a request with QoS 1 and return its reply."""
        answered = reply_topic(topic)
        self._subscribe(answered)
        started = time.perf_counter()
        self._client.publish(topic, payload, qos=1)
        try:
            while True:
                name, reply = self._replies.get(timeout=_SECONDS)
                if name == answered:
                    return Reply(json.loads(reply), 1000 * (time.perf_counter() - started))
        except queue.Empty:
            raise NoReplyError(f"no reply on {answered} within {_SECONDS:.0f} seconds") from None

    def _subscribe(self, topic: str) -> None:
        """Subscribe once; a refusal does not matter, the reply to a topic that is not ours comes unasked."""
        if topic in self._subscribed:
            return
        _, mid = self._client.subscribe(topic, qos=1)
        if not self._suback.setdefault(mid, threading.Event()).wait(_SECONDS):
            raise NoReplyError(f"the hub does not answer the subscription to {topic}")
        self._subscribed.add(topic)

    def _on_connect(self, _: Client, __: Any, ___: ConnectFlags, reason: ReasonCode, ____: Properties | None) -> None:
        self._connack.put(reason)

    def _on_subscribe(self, _: Client, __: Any, mid: int, ___: list[ReasonCode], ____: Properties | None) -> None:
        self._suback.setdefault(mid, threading.Event()).set()

    def _on_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        self._replies.put((message.topic, bytes(message.payload)))


def _send_at_once(_: Client, __: Any, sock: object) -> None:
    # A request follows the acknowledgement of the last reply: TCP would hold it back for 40 ms.
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
