"""A hub and its clients, for cases over real MQTT: who is online as a case wants it, and what is quarantined by it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, Self

from enos_ingest.clock import epoch_ms
from enos_ingest.devices.access import may_publish
from enos_ingest.outcome import Rejection
from enos_ingest.storage.reader import SqliteReader
from enos_ingest.testing.client import TestClient
from enos_ingest.testing.hub import Hub, run_hub
from tests.cases.world import REGISTRY, identity, secret_of
from tests.process import next_millisecond
from tests.uplinks.parts import directory

__all__ = ["MqttSite", "is_for_topics"]


class MqttSite:
    """What the sites of all cases share.

    Args:
        operator: who publishes in the devices' names; None where they do so themselves.
    """

    def __init__(self, hub: Hub, operator: TestClient | None = None) -> None:
        self.hub = hub
        self._operator = operator
        self._clients: dict[str, TestClient] = {}
        self._online: frozenset[tuple[str, str]] = frozenset()
        self._entries = 0

    @classmethod
    @contextmanager
    def of_devices(cls, models: list[dict[str, Any]]) -> Iterator[Self]:
        """A hub for many cases, of these thing models, where devices publish."""
        with run_hub(registry=REGISTRY, models=models) as hub:
            site = cls(hub)
            yield site
            site.close()

    @classmethod
    @contextmanager
    def of_an_operator(cls, models: list[dict[str, Any]]) -> Iterator[Self]:
        """The same, where an operator publishes."""
        with run_hub(registry=REGISTRY, models=models, settings={"security.anonymous": True}) as hub:
            site = cls(hub, hub.connect_operator())
            yield site
            site.close()

    def request(self, sender: str, topic: str, payload: bytes) -> tuple[dict[str, Any], tuple[int, int]]:
        """Send a request; its reply, and when the hub may have received it, earliest and latest."""
        client = self.client(sender)
        next_millisecond()  # the point of another case could be the very same
        first = epoch_ms()
        reply = (self._operator or client).request(topic, payload)
        return reply, (first, epoch_ms())

    def take_online(self, online: frozenset[tuple[str, str]]) -> None:
        """Have these logins of sub-devices in force, and no others."""
        for gateway, sub_device in self._online - online:
            assert self.client(gateway).logout(sub_device)["code"] == 200
        for gateway, sub_device in online - self._online:
            assert self.client(gateway).login(sub_device, secret_of(sub_device))["code"] == 200
        self._online = online

    def newly_quarantined(self) -> list[Rejection]:
        """What has come into quarantine since the last look, of one request; two are too many."""
        with SqliteReader(self.hub.database) as reader:
            rows = [row for row in reader.quarantine(limit=2) if row.id > self._entries]
            entries = [reader.quarantine_entry(row.id) for row in rows]
        self._entries = max([self._entries, *(row.id for row in rows)])
        return [
            Rejection(entry.time, entry.topic, entry.publisher, entry.code, entry.reason, entry.payload, entry.size)
            for entry in entries
            if entry is not None
        ]

    def client(self, name: str) -> TestClient:
        """The connection of a device or channel, which stays."""
        if name not in self._clients:
            self._clients[name] = self.hub.connect(name)
        return self._clients[name]

    def close(self) -> None:
        """Disconnect everyone."""
        for client in self._clients.values():
            client.disconnect()
        if self._operator is not None:
            self._operator.disconnect()


class _Sent(Protocol):
    @property
    def by_sender(self) -> bool: ...

    @property
    def sender(self) -> str: ...

    @property
    def topic(self) -> str: ...


def is_for_topics(case: _Sent) -> bool:
    """Whether the verdict is the same for whoever may publish to the topic."""
    return not case.by_sender and may_publish(identity(case.sender), case.topic, directory())
