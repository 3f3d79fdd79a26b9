"""A simulated device: a paho-mqtt client that asks and awaits answers, and does what it is told."""

from __future__ import annotations

import json
import queue
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from enos_ingest.protocol.credentials import Credentials
from enos_ingest.protocol.topics import reply_topic
from enos_ingest.sockets import Bind

__all__ = ["ConnectRefusedError", "ConnectionEndedError", "Device", "Exchange", "NoReplyError", "Reply"]

_SECONDS = 10.0
"""How long an answer may take; a hub that is well answers in milliseconds."""

_KEPT = 100
"""Commands of late that are kept, to be shown."""


class ConnectRefusedError(Exception):
    """The hub does not let the client in."""


class NoReplyError(Exception):
    """The hub does not answer."""


class ConnectionEndedError(NoReplyError):
    """The hub has ended the connection, as it does when a newer one of the same device comes."""


class Reply(NamedTuple):
    """What came back, and after how many milliseconds."""

    document: dict[str, Any]
    milliseconds: float

    @property
    def code(self) -> int:
        """The return code."""
        return int(self.document["code"])


class Exchange(NamedTuple):
    """A command, and what the device answered."""

    topic: str
    command: dict[str, Any]
    answer: dict[str, Any]


class Device:
    """A connection of a device or a channel, kept until `close`.

    Attributes:
        done: the commands of late, oldest first.

    Args:
        perform: does what a command says, by its method and params, and returns what that puts out.

    Raises:
        ConnectRefusedError: the hub refuses it.
        NoReplyError: the hub does not answer.
    """

    def __init__(
        self, address: Bind, credentials: Credentials, perform: Callable[[str, dict[str, Any]], dict[str, Any]]
    ) -> None:
        self.done: deque[Exchange] = deque(maxlen=_KEPT)
        self._perform = perform
        self._connack: queue.SimpleQueue[ReasonCode] = queue.SimpleQueue()
        # None once the connection has ended.
        self._replies: queue.SimpleQueue[tuple[str, bytes] | None] = queue.SimpleQueue()
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=credentials.client_id,
            protocol=MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        self._client.username_pw_set(credentials.user_name, credentials.password)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.on_disconnect = self._on_disconnect
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
        """Publish a request with QoS 1 and return its reply, which needs no subscription."""
        answered = reply_topic(topic)
        started = time.perf_counter()
        self._client.publish(topic, payload, qos=1)
        try:
            while True:
                arrived = self._replies.get(timeout=_SECONDS)
                if arrived is None:
                    raise ConnectionEndedError("the hub has ended the connection")
                if arrived[0] == answered:
                    return Reply(json.loads(arrived[1]), 1000 * (time.perf_counter() - started))
        except queue.Empty:
            raise NoReplyError(f"no reply on {answered} within {_SECONDS:.0f} seconds") from None

    def _on_connect(self, _: Client, __: Any, ___: ConnectFlags, reason: ReasonCode, ____: Properties | None) -> None:
        self._connack.put(reason)

    def _on_disconnect(
        self, _: Client, __: Any, ___: DisconnectFlags, ____: ReasonCode, _____: Properties | None
    ) -> None:
        self._replies.put(None)

    def _on_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        if message.topic.endswith("_reply"):
            self._replies.put((message.topic, bytes(message.payload)))
            return
        command = json.loads(message.payload)
        answer = {"id": command["id"], "code": 200, "data": self._perform(command["method"], command["params"])}
        self.done.append(Exchange(message.topic, command, answer))
        self._client.publish(reply_topic(message.topic), json.dumps(answer), qos=1)


def _send_at_once(_: Client, __: Any, sock: object) -> None:
    # A request follows the acknowledgement of the last reply: TCP would hold it back for 40 ms.
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
