"""An MQTT client that publishes a request and awaits its reply."""

from __future__ import annotations

import itertools
import queue
import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import orjson
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from enos_ingest.clock import epoch_ms
from enos_ingest.protocol.credentials import Credentials, sign
from enos_ingest.protocol.topics import filter_matches, reply_topic
from enos_ingest.testing.commands import CommandHandler, ReceivedCommand, answer_to, read_command

__all__ = ["ConnectionRefusedByHubError", "TestClient"]

_SECONDS = 30.0
"""How long anything may take that a test waits for."""


class ConnectionRefusedByHubError(Exception):
    """The hub answered CONNECT with a code other than 0, kept in `code`."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"CONNACK {code}: {text}")
        self.code = code


class TestClient:
    """A connected client; a context manager that disconnects at its end.

    Args:
        name: `PRODUCT/DEVICE` or `PRODUCT/%channel%`, for the topics of the helpers.
    """

    __test__ = False

    def __init__(self, host: str, port: int, credentials: Credentials, name: str) -> None:
        self.name = name
        self._inbox: dict[str, queue.SimpleQueue[bytes]] = {}
        self._connack: queue.SimpleQueue[ReasonCode | None] = queue.SimpleQueue()
        self._suback: dict[int | None, threading.Event] = {}
        self._granted: dict[int, int] = {}
        self._commands: queue.SimpleQueue[ReceivedCommand] = queue.SimpleQueue()
        self._handler: CommandHandler | None = None
        self._fault: Exception | None = None
        self._ids = itertools.count(1)
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=credentials.client_id,
            protocol=MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        if credentials.user_name:
            self._client.username_pw_set(credentials.user_name, credentials.password)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_socket_open = _send_at_once
        self._client.connect(host, port)
        self._client.loop_start()
        try:
            reason = self._connack.get(timeout=_SECONDS)
        except queue.Empty:
            self.disconnect()
            raise TimeoutError("no CONNACK") from None
        if reason is None:
            self.disconnect()
            raise ConnectionError("the hub ended the connection without CONNACK")
        if reason.is_failure:
            self.disconnect()
            raise ConnectionRefusedByHubError(_CONNACK.get(reason.getName(), reason.value), str(reason))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        fault, self._fault = self._fault, None
        self.disconnect()
        if fault is not None and error is None:
            raise fault

    def disconnect(self) -> None:
        """End the connection; raises what a handler of commands raised."""
        self._client.disconnect()
        self._client.loop_stop()
        # Closes the pair of sockets that paho wakes its thread with, and would leave to the garbage collector.
        self._client.reinitialise()
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault

    def subscribe(self, topic_filter: str, qos: int = 1) -> int:
        """Subscribe and return what SUBACK granted, 0x80 for a refusal."""
        self._inbox.setdefault(topic_filter, queue.SimpleQueue())
        mid: int | None
        _, mid = self._client.subscribe(topic_filter, qos)
        assert mid is not None
        if not self._suback.setdefault(mid, threading.Event()).wait(_SECONDS):
            raise TimeoutError(f"no SUBACK for {topic_filter}")
        return self._granted[mid]

    def publish(self, topic: str, payload: bytes | dict[str, Any], qos: int = 1) -> None:
        """Publish, and with QoS 1 or 2 wait for the acknowledgement: a device gets it once the message is stored."""
        body = payload if isinstance(payload, bytes) else orjson.dumps(payload)
        sent = self._client.publish(topic, body, qos)
        sent.wait_for_publish(_SECONDS)
        if not sent.is_published():
            raise TimeoutError(f"what was published on {topic} is not acknowledged")

    def next_message(self, topic: str, timeout: float = _SECONDS) -> bytes:
        """The next message on a topic that was subscribed to by that name."""
        try:
            return self._inbox[topic].get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"nothing arrived on {topic}") from None

    def on_command(self, handler: CommandHandler) -> None:
        """Answer every command from now on with what `handler` returns.

        It runs in the client's own thread and must not wait for the hub there, as `resume` would.

        None: done, code 200. A dict: what a service returns. A number: the device's own code. Where it raises, the
        answer is code 500, and the exception comes up again when the connection ends.
        """
        self._handler = handler

    def next_command(self, timeout: float = _SECONDS) -> ReceivedCommand:
        """The next command, where no handler takes them; nothing answers it but `answer`."""
        try:
            return self._commands.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"no command arrived for {self.name}") from None

    def answer(
        self, command: ReceivedCommand, answer: dict[str, Any] | int | bytes | None = None, message: str = ""
    ) -> None:
        """Answer a command; returns when the hub has acknowledged that."""
        self.publish(reply_topic(command.topic), answer_to(command, answer, message))

    def request(self, topic: str, payload: bytes | dict[str, Any], *, qos: int = 1) -> dict[str, Any]:
        """Publish a request and return the reply to it: with its id, where it is a dict that has one."""
        answered = reply_topic(topic)
        if answered not in self._inbox:
            self.subscribe(answered)
        while not self._inbox[answered].empty():
            self._inbox[answered].get()  # an answer to something else, of before
        self.publish(topic, payload, qos)
        wanted = payload.get("id") if isinstance(payload, dict) else None
        while True:
            reply: dict[str, Any] = orjson.loads(self.next_message(answered))
            if not isinstance(wanted, str) or reply["id"] == wanted:
                return reply

    def post(self, measurepoints: dict[str, Any], time: int | None = None) -> dict[str, Any]:
        """Report points of this device as they are now, as `thing.measurepoint.post`."""
        return self._report("post", measurepoints, time)

    def post_batch(self, items: list[dict[str, Any]], **flags: Any) -> dict[str, Any]:
        """Report several items, as `thing.measurepoint.post.batch`; flags as for `resume_batch`."""
        topic = f"/sys/{self.name}/thing/measurepoint/post/batch"
        return self.call(topic, "thing.measurepoint.post.batch", items, **flags)

    def resume(self, measurepoints: dict[str, Any], time: int | None = None) -> dict[str, Any]:
        """Report points of this device of the past, as `thing.measurepoint.resume`."""
        return self._report("resume", measurepoints, time)

    def resume_batch(self, items: list[dict[str, Any]], **flags: Any) -> dict[str, Any]:
        """Report several items, as `thing.measurepoint.resume.batch`; flags such as `skipInvalidMeasurepoints=True`."""
        topic = f"/sys/{self.name}/thing/measurepoint/resume/batch"
        return self.call(topic, "thing.measurepoint.resume.batch", items, **flags)

    def post_integration(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Report for devices of a product, as its channel."""
        product_key = self.name.partition("/")[0]
        return self.call(f"/sys/{product_key}/integration/measurepoint/post", "integration.measurepoint.post", items)

    def login(self, sub_device: str, secret: str) -> dict[str, Any]:
        """Log a sub-device `PRODUCT/DEVICE` in, as its gateway."""
        product_key, _, device_key = sub_device.partition("/")
        stamp = str(epoch_ms())
        params = {
            "productKey": product_key,
            "deviceKey": device_key,
            "clientId": device_key,
            "timestamp": stamp,
            "signMethod": "sha256",
            "sign": _sign_login(product_key, device_key, device_key, stamp, secret),
        }
        return self.call(f"/ext/session/{self.name}/combine/login", "combine.login", params)

    def login_batch(self, secrets: Mapping[str, str]) -> dict[str, Any]:
        """Log several sub-devices in, each `PRODUCT/DEVICE` with its secret, as their gateway."""
        stamp = str(epoch_ms())
        entries = []
        for sub_device, secret in secrets.items():
            product_key, _, device_key = sub_device.partition("/")
            signature = _sign_login(product_key, device_key, "batch", stamp, secret)
            entries.append({"productKey": product_key, "deviceKey": device_key, "sign": signature})
        params = {"clientId": "batch", "timestamp": stamp, "signMethod": "sha256", "subDevices": entries}
        return self.call(f"/ext/session/{self.name}/combine/login/batch", "combine.login.batch", params)

    def logout(self, sub_device: str) -> dict[str, Any]:
        """Log a sub-device out."""
        product_key, _, device_key = sub_device.partition("/")
        params = {"productKey": product_key, "deviceKey": device_key}
        return self.call(f"/ext/session/{self.name}/combine/logout", "combine.logout", params)

    def call(self, topic: str, method: str, params: Any, **fields: Any) -> dict[str, Any]:
        """Publish a request of the usual form, with the next id, and return the reply to it."""
        message = {"id": str(next(self._ids)), "version": "1.0", "method": method, "params": params, **fields}
        return self.request(topic, message)

    def _report(self, how: str, measurepoints: dict[str, Any], time: int | None) -> dict[str, Any]:
        params: dict[str, Any] = {"measurepoints": measurepoints}
        if time is not None:
            params["time"] = time
        return self.call(f"/sys/{self.name}/thing/measurepoint/{how}", f"thing.measurepoint.{how}", params)

    def _on_connect(self, _: Client, __: Any, ___: ConnectFlags, reason: ReasonCode, ____: Properties | None) -> None:
        self._connack.put(reason)

    def _on_disconnect(
        self, _: Client, __: Any, ___: DisconnectFlags, ____: ReasonCode, _____: Properties | None
    ) -> None:
        self._connack.put(None)  # who waits for CONNACK waits in vain

    def _on_subscribe(self, _: Client, __: Any, mid: int, reasons: list[ReasonCode], ____: Properties | None) -> None:
        self._granted[mid] = reasons[0].value
        self._suback.setdefault(mid, threading.Event()).set()

    def _on_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        for topic_filter, messages in list(self._inbox.items()):
            if filter_matches(topic_filter, message.topic):
                messages.put(bytes(message.payload))
        command = read_command(message.topic, bytes(message.payload))
        if command is None:
            return
        if self._handler is None:
            self._commands.put(command)
            return
        try:
            payload = answer_to(command, self._handler(command))
        except Exception as error:  # noqa: BLE001 - an assertion of a test, for one: told to the test and to the hub
            self._fault = self._fault or error
            payload = answer_to(command, 500, f"{type(error).__name__}: {error}")
        # Not waiting: this is the thread that would take the acknowledgement.
        self._client.publish(reply_topic(command.topic), payload, 1)


def _sign_login(product_key: str, device_key: str, client_id: str, stamp: str, secret: str) -> str:
    return sign(secret, f"clientId{client_id}deviceKey{device_key}productKey{product_key}timestamp{stamp}")


def _send_at_once(_: Client, __: Any, sock: Any) -> None:
    # A request follows the acknowledgement of the last reply: Nagle's algorithm would hold it back for 40 ms.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


_CONNACK = {
    "Unsupported protocol version": 1,
    "Client identifier not valid": 2,
    "Server unavailable": 3,
    "Bad user name or password": 4,
    "Not authorized": 5,
}
"""paho turns the codes of MQTT 3.1.1 into those of MQTT 5; tests speak of the former."""
