"""Devices that report and wait for replies, as paho-mqtt has it, and what they were told."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from enos_ingest.outcome import Point
from tests.process import PATIENCE, HubProcess, sign_in

__all__ = ["DEVICES", "PRODUCT", "REGISTRY", "SECRET", "Load", "Reporter", "expected_points", "load", "request"]

PRODUCT, SECRET = "EbxGvUrE", "a-device-secret"
DEVICES = ("inv-1", "inv-2", "inv-3", "inv-4")
REGISTRY = f'[[products]]\nkey = "{PRODUCT}"\nmodel = "inverter"\n' + "".join(
    f'[[devices]]\nproduct = "{PRODUCT}"\nkey = "{key}"\nsecret = "{SECRET}"\n' for key in DEVICES
)

_TIME = 1_700_000_000_000
_WINDOW = 20
"""Messages that a device has on their way; paho has no more than 20 of QoS 1 unacknowledged."""


def expected_points(device_key: str, numbers: Iterable[int]) -> set[Point]:
    """What is stored of these messages: two points each, so that half a message would show."""
    return {
        point
        for number in numbers
        for point in (
            Point(PRODUCT, device_key, "temp", _TIME + number, number, None, "resume"),
            Point(PRODUCT, device_key, "Power", _TIME + number, number, number % 10, "resume"),
        )
    }


def request(number: int) -> bytes:
    """The message of a number."""
    values = {"temp": number, "Power": {"value": number, "quality": number % 10}}
    return orjson.dumps(
        {
            "id": str(number),
            "version": "1.0",
            "method": "thing.measurepoint.resume",
            "params": {"measurepoints": values, "time": _TIME + number},
        }
    )


class Reporter:
    """One device; all that it does happens in the thread of its MQTT client.

    Attributes:
        sent: the numbers of the messages that were handed to the client.
        acknowledged: those that had their PUBACK.
        answered: those that were answered with code 200.
        refused: other replies.
    """

    def __init__(self, hub: HubProcess, device_key: str, numbers: Iterable[int], news: threading.Condition) -> None:
        self.device_key = device_key
        self.sent: set[int] = set()
        self.acknowledged: set[int] = set()
        self.answered: set[int] = set()
        self.refused: list[dict[str, Any]] = []
        self.ended = False
        """Whether the hub ended the connection."""
        self.done = False
        """Whether everything was sent and answered."""
        self._numbers = iter(numbers)
        self._exhausted = False
        self._news = news
        self._by_packet: dict[int, int] = {}
        self._topic = f"/sys/{PRODUCT}/{device_key}/thing/measurepoint/resume"
        credentials = sign_in(f"{PRODUCT}/{device_key}", SECRET)
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=credentials.client_id,
            protocol=MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        client.username_pw_set(credentials.user_name, credentials.password)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        self._client = client
        client.connect(*hub.endpoint)
        client.loop_start()

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()
        self._client.reinitialise()  # closes what paho would leave to the garbage collector

    def _on_connect(self, client: Client, _: Any, __: ConnectFlags, reason: ReasonCode, ___: Properties | None) -> None:
        assert not reason.is_failure, reason
        client.subscribe(f"{self._topic}_reply", 1)

    def _on_subscribe(self, _: Client, __: Any, ___: int, ____: list[ReasonCode], _____: Properties | None) -> None:
        for _number in range(_WINDOW):
            self._send()

    def _on_publish(self, _: Client, __: Any, mid: int, ___: ReasonCode, ____: Properties) -> None:
        with self._news:
            self.acknowledged.add(self._by_packet.pop(mid))
            self._news.notify_all()

    def _on_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        reply = orjson.loads(message.payload)
        with self._news:
            if reply["code"] == 200:
                self.answered.add(int(reply["id"]))
            else:
                self.refused.append(reply)
            self._send()
            self.done = self._exhausted and self.answered == self.sent
            self._news.notify_all()

    def _on_disconnect(
        self, _: Client, __: Any, ___: DisconnectFlags, ____: ReasonCode, _____: Properties | None
    ) -> None:
        with self._news:
            self.ended = True
            self._news.notify_all()

    def _send(self) -> None:
        number = next(self._numbers, None)
        if number is None:
            self._exhausted = True
            return
        self.sent.add(number)
        self._by_packet[self._client.publish(self._topic, request(number), qos=1).mid] = number


class Load:
    """Several reporters at once."""

    def __init__(self, reporters: list[Reporter], news: threading.Condition) -> None:
        self.reporters = reporters
        self._news = news

    @property
    def answered(self) -> int:
        """How many messages were answered with code 200."""
        return sum(len(each.answered) for each in self.reporters)

    @property
    def acknowledged(self) -> int:
        """How many messages were answered with PUBACK."""
        return sum(len(each.acknowledged) for each in self.reporters)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds that something the hub told may have made true."""
        with self._news:
            assert self._news.wait_for(condition, PATIENCE), f"{self.answered} answered, {self.acknowledged} acked"

    def wait_until_ended(self) -> None:
        """Wait until the hub has ended all connections."""
        self.wait_until(lambda: all(each.ended for each in self.reporters))

    def wait_until_done(self) -> None:
        """Wait until everything was answered with code 200."""
        self.wait_until(lambda: all(each.done for each in self.reporters))


@contextlib.contextmanager
def load(hub: HubProcess, numbers: Callable[[str], Iterable[int]]) -> Iterator[Load]:
    """All devices report the messages of these numbers until the block ends.

    Args:
        numbers: gives the numbers for a device key.
    """
    news = threading.Condition(threading.RLock())
    reporters: list[Reporter] = []
    try:
        reporters += [Reporter(hub, key, numbers(key), news) for key in DEVICES]
        yield Load(reporters, news)
    finally:
        for each in reporters:
            each.close()
