"""Every case over real MQTT, both ways that there are, with equal results; the store read back.

As with measurement points: what an operator publishes comes without its sender, so that cases whose verdict needs to
know it are left out there.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from enos_ingest.devices.access import may_publish
from enos_ingest.outcome import Rejection
from enos_ingest.protocol.topics import parse_topic, reply_topic
from enos_ingest.storage.facts import SqliteFacts
from enos_ingest.storage.reader import SqliteReader
from enos_ingest.testing.client import TestClient
from enos_ingest.testing.hub import Hub, run_hub
from tests.cases.facts.case import Answer, FactCase, Facts, Told, check, encoded
from tests.cases.facts.table import FACT_CASES
from tests.cases.facts.world import FACT_MODELS
from tests.cases.world import DEVICES, REGISTRY, SOLO, identity, secret_of
from tests.uplinks.parts import directory


class Site:
    """A hub and its clients, and nothing stored at the beginning of each case.

    Args:
        operator: who publishes in the devices' names; None where they do so themselves.
    """

    def __init__(self, hub: Hub, operator: TestClient | None = None) -> None:
        self._hub = hub
        self._operator = operator
        self._clients: dict[str, TestClient] = {}
        self._online: frozenset[tuple[str, str]] = frozenset()
        self._entries = 0
        self._client(SOLO)

    def send(self, case: FactCase) -> Answer:
        """Bring about the case's situation, send its requests, and gather what came of the last one."""
        self._arrange(case)
        for topic, request in case.before:
            assert self._request(topic, request, "/".join(topic.split("/")[2:4]))["code"] == 200
        first = time.time_ns() // 1_000_000
        reply = self._request(case.topic, case.request, case.sender)
        received = first, time.time_ns() // 1_000_000
        with SqliteReader(self._hub.database) as reader:
            rows = [row for row in reader.quarantine(limit=2) if row.id > self._entries]
            entries = [reader.quarantine_entry(row.id) for row in rows]
        self._entries = max([self._entries, *(row.id for row in rows)])
        quarantined = [
            Rejection(entry.time, entry.topic, entry.publisher, entry.code, entry.reason, entry.payload, entry.size)
            for entry in entries
            if entry is not None
        ]
        return Answer(reply_topic(case.topic), orjson.dumps(reply), self._facts(), quarantined, received)

    def close(self) -> None:
        """Disconnect everyone."""
        for client in self._clients.values():
            client.disconnect()
        if self._operator is not None:
            self._operator.disconnect()

    def _arrange(self, case: FactCase) -> None:
        with contextlib.closing(sqlite3.connect(self._hub.database, timeout=10)) as connection, connection:
            for table in ("attributes", "tags", "events"):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608
        for gateway, sub_device in self._online - case.online:
            assert self._client(gateway).logout(sub_device)["code"] == 200
        for gateway, sub_device in case.online - self._online:
            assert self._client(gateway).login(sub_device, secret_of(sub_device))["code"] == 200
        self._online = case.online

    def _request(self, topic: str, request: Any, sender: str) -> dict[str, Any]:
        client = self._client(sender)
        return (self._operator or client).request(topic, encoded(request))

    def _facts(self) -> Facts:
        attributes, tags, events = {}, {}, []
        with SqliteFacts(self._hub.database) as stored:
            for name in DEVICES:
                device = identity(name)
                values = {each.identifier: each.value for each in stored.attributes(device)}  # type: ignore[arg-type]
                attributes.update({name: values} if values else {})
                texts = {each.key: each.value for each in stored.tags(device)}  # type: ignore[arg-type]
                tags.update({name: texts} if texts else {})
                found = stored.events(device)  # type: ignore[arg-type]
                events += [Told(name, each.event, each.fields, each.time, each.origin) for each in found]
        return Facts(attributes, tags, events)

    def _client(self, name: str) -> TestClient:
        if name not in self._clients:
            self._clients[name] = self._hub.connect(name)
        return self._clients[name]


@pytest.fixture(scope="module")
def devices() -> Iterator[Site]:
    """One hub for all cases; devices publish."""
    with run_hub(registry=REGISTRY, models=FACT_MODELS) as hub:
        site = Site(hub)
        yield site
        site.close()


@pytest.fixture(scope="module")
def bench() -> Iterator[Site]:
    """One hub for all cases; an operator publishes."""
    with run_hub(registry=REGISTRY, models=FACT_MODELS, settings={"security.anonymous": True}) as hub:
        site = Site(hub, hub.connect_operator())
        yield site
        site.close()


def is_for_topics(case: FactCase) -> bool:
    """Whether the verdict is the same for whoever may publish to the topic."""
    return not case.by_sender and may_publish(identity(case.sender), case.topic, directory())


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
