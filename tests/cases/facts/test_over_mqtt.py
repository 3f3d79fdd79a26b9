"""Every case over real MQTT, both ways that there are, with equal results; the store read back.

As with measurement points: what an operator publishes comes without its sender, so that cases whose verdict needs to
know it are left out there.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

import orjson
import pytest

from enos_ingest.protocol.topics import parse_topic, reply_topic
from enos_ingest.storage.facts import SqliteFacts
from enos_ingest.testing.client import TestClient
from enos_ingest.testing.hub import Hub
from tests.cases.facts.case import Answer, FactCase, Facts, Told, check, encoded
from tests.cases.facts.table import FACT_CASES
from tests.cases.facts.world import FACT_MODELS
from tests.cases.site import MqttSite, is_for_topics
from tests.cases.world import DEVICES, SOLO, identity


class Site(MqttSite):
    """Nothing is stored at the beginning of each case."""

    def __init__(self, hub: Hub, operator: TestClient | None = None) -> None:
        super().__init__(hub, operator)
        self.client(SOLO)

    def send(self, case: FactCase) -> Answer:
        """Bring about the case's situation, send its requests, and gather what came of the last one."""
        with contextlib.closing(sqlite3.connect(self.hub.database, timeout=10)) as connection, connection:
            for table in ("attributes", "tags", "events"):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608
        self.take_online(case.online)
        for topic, request in case.before:
            before, _ = self.request("/".join(topic.split("/")[2:4]), topic, encoded(request))
            assert before["code"] == 200
        reply, received = self.request(case.sender, case.topic, case.payload)
        quarantined = self.newly_quarantined()
        return Answer(reply_topic(case.topic), orjson.dumps(reply), self._facts(), quarantined, received)

    def _facts(self) -> Facts:
        attributes, tags, events = {}, {}, []
        with SqliteFacts(self.hub.database) as stored:
            for name in DEVICES:
                device = identity(name)
                values = {each.identifier: each.value for each in stored.attributes(device)}  # type: ignore[arg-type]
                attributes.update({name: values} if values else {})
                texts = {each.key: each.value for each in stored.tags(device)}  # type: ignore[arg-type]
                tags.update({name: texts} if texts else {})
                found = stored.events(device)  # type: ignore[arg-type]
                events += [Told(name, each.event, each.fields, each.time, each.origin) for each in found]
        return Facts(attributes, tags, events)


@pytest.fixture(scope="module")
def devices() -> Iterator[Site]:
    """One hub for all cases; devices publish."""
    with Site.of_devices(FACT_MODELS) as site:
        yield site


@pytest.fixture(scope="module")
def bench() -> Iterator[Site]:
    """One hub for all cases; an operator publishes."""
    with Site.of_an_operator(FACT_MODELS) as site:
        yield site


@pytest.mark.parametrize("case", FACT_CASES, ids=str)
def test_from_a_device(devices: Site, case: FactCase) -> None:
    """Code, message, data, id, stored facts and quarantine are as the case says."""
    check(case, devices.send(case), str(identity(case.sender)))


@pytest.mark.parametrize("case", [case for case in FACT_CASES if is_for_topics(case)], ids=str)
def test_from_an_operator(bench: Site, case: FactCase) -> None:
    """The same; the topic's own device or channel counts as the sender."""
    topic = parse_topic(case.topic)
    assert topic is not None
    check(case, bench.send(case), str(topic.owner))
