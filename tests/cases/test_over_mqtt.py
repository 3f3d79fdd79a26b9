"""Every case over real MQTT, both ways that there are, with equal results; the store read back.

A device's own connection goes straight into the pipeline, which knows who sent a request. What an operator publishes
in a device's name goes through the embedded broker and the subscriber, which know its topic only: cases whose verdict
needs the sender are left out there.
"""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from enos_ingest.outcome import Point
from enos_ingest.protocol.topics import parse_topic, reply_topic
from enos_ingest.storage.reader import SqliteReader
from enos_ingest.testing.client import TestClient
from enos_ingest.testing.hub import Hub
from tests.cases.case import Answer, Case, check
from tests.cases.site import MqttSite, is_for_topics
from tests.cases.table import CASES
from tests.cases.world import DEVICES, MODELS, identity


class Site(MqttSite):
    """Knows what points the store held before each case."""

    def __init__(self, hub: Hub, operator: TestClient | None = None) -> None:
        super().__init__(hub, operator)
        self._points: set[bytes] = set()

    def send(self, case: Case) -> Answer:
        """Bring about the case's situation, send its request, and gather what came of it."""
        for name in case.connected:
            self.client(name)
        self.take_online(case.online)
        reply, received = self.request(case.sender, case.topic, case.payload)
        with SqliteReader(self.hub.database) as reader:
            points = [point for device in DEVICES for point in reader.points(*device.split("/"))]
        added = [point for point in points if self._is_new(point)]
        return Answer(reply_topic(case.topic), orjson.dumps(reply), added, self.newly_quarantined(), received)

    def _is_new(self, point: Point) -> bool:
        before = len(self._points)
        self._points.add(orjson.dumps(list(point)))
        return len(self._points) > before


@pytest.fixture(scope="module")
def devices() -> Iterator[Site]:
    """One hub for all cases; devices publish."""
    with Site.of_devices(MODELS) as site:
        yield site


@pytest.fixture(scope="module")
def bench() -> Iterator[Site]:
    """One hub for all cases; an operator publishes."""
    with Site.of_an_operator(MODELS) as site:
        yield site


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
