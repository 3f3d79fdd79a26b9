"""Every case over real MQTT, both ways that there are, with equal results; the store read back.

A device's own connection goes straight into the pipeline, which knows who sent a request. What an operator publishes
in a device's name goes through the embedded broker and the subscriber, which know its topic only: cases whose verdict
needs the sender are left out there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import orjson
import pytest

from enos_ingest.devices.access import may_publish
from enos_ingest.outcome import Point, Rejection
from enos_ingest.protocol.topics import parse_topic, reply_topic
from enos_ingest.storage.reader import SqliteReader
from enos_ingest.testing.client import TestClient
from enos_ingest.testing.hub import Hub, run_hub
from tests.cases.case import Answer, Case, check
from tests.cases.table import CASES
from tests.cases.world import DEVICES, MODELS, REGISTRY, identity, secret_of
from tests.uplinks.parts import directory

_ALL = 10**6


class Site:
    """A hub and its clients; knows what the store held before each case.

    Args:
        operator: who publishes in the devices' names; None where they do so themselves.
    """

    def __init__(self, hub: Hub, operator: TestClient | None = None) -> None:
        self._hub = hub
        self._operator = operator
        self._clients: dict[str, TestClient] = {}
        self._online: frozenset[tuple[str, str]] = frozenset()
        self._points: set[bytes] = set()
        self._entries = 0

    def send(self, case: Case) -> Answer:
        """Bring about the case's situation, send its request, and gather what came of it."""
        self._arrange(case)
        sender = self._client(case.sender)
        first = time.time_ns() // 1_000_000
        reply = (self._operator or sender).request(case.topic, case.payload)
        received = first, time.time_ns() // 1_000_000
        with SqliteReader(self._hub.database) as reader:
            points = [point for device in DEVICES for point in reader.points(*device.split("/"))]
            added = [point for point in points if self._is_new(point)]
            rows = [row for row in reader.quarantine(limit=2) if row.id > self._entries]
            entries = [reader.quarantine_entry(row.id) for row in rows]
        self._entries = max([self._entries, *(row.id for row in rows)])
        quarantined = [
            Rejection(entry.time, entry.topic, entry.publisher, entry.code, entry.reason, entry.payload, entry.size)
            for entry in entries
            if entry is not None
        ]
        return Answer(reply_topic(case.topic), orjson.dumps(reply), added, quarantined, received)

    def close(self) -> None:
        """Disconnect everyone."""
        for client in self._clients.values():
            client.disconnect()
        if self._operator is not None:
            self._operator.disconnect()

    def _arrange(self, case: Case) -> None:
        for name in case.connected:
            self._client(name)
        for gateway, sub_device in self._online - case.online:
            assert self._client(gateway).logout(sub_device)["code"] == 200
        for gateway, sub_device in case.online - self._online:
            assert self._client(gateway).login(sub_device, secret_of(sub_device))["code"] == 200
        self._online = case.online

    def _client(self, name: str) -> TestClient:
        if name not in self._clients:
            self._clients[name] = self._hub.connect(name)
        return self._clients[name]

    def _is_new(self, point: Point) -> bool:
        before = len(self._points)
        self._points.add(orjson.dumps(list(point)))
        return len(self._points) > before


@pytest.fixture(scope="module")
def devices() -> Iterator[Site]:
    """One hub for all cases; devices publish."""
    with run_hub(registry=REGISTRY, models=MODELS) as hub:
        site = Site(hub)
        yield site
        site.close()


@pytest.fixture(scope="module")
def bench() -> Iterator[Site]:
    """One hub for all cases; an operator publishes."""
    with run_hub(registry=REGISTRY, models=MODELS, settings={"security.anonymous": True}) as hub:
        site = Site(hub, hub.connect_operator())
        yield site
        site.close()


def is_for_topics(case: Case) -> bool:
    """Whether the verdict is the same for whoever may publish to the topic."""
    return not case.by_sender and may_publish(identity(case.sender), case.topic, directory())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_from_a_device(devices: Site, case: Case) -> None:
    """Code, message, id, stored points and quarantine are as the case says."""
    check(case, devices.send(case), str(identity(case.sender)))


@pytest.mark.parametrize("case", [case for case in CASES if is_for_topics(case)], ids=str)
def test_from_an_operator(bench: Site, case: Case) -> None:
    """The same; the topic's own device or channel counts as the sender."""
    topic = parse_topic(case.topic)
    assert topic is not None
    check(case, bench.send(case), str(topic.owner))
