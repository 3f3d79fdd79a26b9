"""Any requests, in any groups: each gets one answer, and SQLite holds what a few lines of Python would."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enos_ingest.devices.presence import Presence
from enos_ingest.outcome import Outcome
from enos_ingest.pipeline import Message, Pipeline
from enos_ingest.storage import change_rows
from enos_ingest.storage.facts import SqliteFacts
from enos_ingest.storage.sqlite import connect_writer
from enos_ingest.storage.transactions import transaction
from tests.cases.facts.case import Facts, Told
from tests.cases.facts.memory import Memory
from tests.cases.facts.table import FACT_CASES
from tests.cases.facts.test_in_pipeline import models
from tests.cases.world import DIRECT, GATEWAY, identity
from tests.uplinks.parts import directory
from tests.uplinks.payloads import Sent, near_misses

RECEIVED = 1_800_000_000_000
CODES = {200, 1204, 1220, 1257, 1260}
"""All requests here are from those who may send them."""

_ACCEPTED = [
    case
    for case in FACT_CASES
    if case.code == 200
    and case.sender in {DIRECT, GATEWAY, f"{DIRECT.partition('/')[0]}/%channel%"}
    and not case.online
    if isinstance(case.request, dict) and len(case.payload) < 3000
]
_AS_THEY_ARE = st.sampled_from(_ACCEPTED).map(lambda case: Sent(case.topic, case.sender, case.payload))
_HUNDREDS = st.integers(0, 120).map(
    lambda first: Sent(
        f"/sys/{DIRECT}/thing/tag/update",
        DIRECT,
        orjson.dumps(
            {
                "method": "thing.tag.update",
                "params": [{"tagKey": f"k{number}", "tagValue": str(first)} for number in range(first, first + 60)],
            }
        ),
    )
)
"""Two or three of them are more tags than a device may have."""


class Database(NamedTuple):
    """A database as the writer has it, and where."""

    path: Path
    connection: sqlite3.Connection

    def settle(self, outcomes: list[Outcome]) -> list[bytes]:
        """Store what a group asks for, in one transaction, and return the replies."""
        records = [outcome.record for outcome in outcomes if outcome.record is not None]
        with transaction(self.connection):
            change_rows.put(
                self.connection, [(change_rows.to_rows(record.changes), record.wanted) for record in records]
            )
        return [outcome.reply if outcome.finish is None else outcome.finish() for outcome in outcomes]

    def clear(self) -> None:
        with transaction(self.connection):
            for table in ("attributes", "tags", "events"):
                self.connection.execute(f"DELETE FROM {table}")  # noqa: S608

    def facts(self) -> Facts:
        """All that is stored of the two devices."""
        attributes, tags, events = {}, {}, []
        with SqliteFacts(self.path) as stored:
            for name in (DIRECT, GATEWAY):
                device = identity(name)
                values = {each.identifier: each.value for each in stored.attributes(device)}  # type: ignore[arg-type]
                attributes.update({name: values} if values else {})
                texts = {each.key: each.value for each in stored.tags(device)}  # type: ignore[arg-type]
                tags.update({name: texts} if texts else {})
                found = stored.events(device)  # type: ignore[arg-type]
                events += [Told(name, each.event, each.fields, each.time, each.origin) for each in found]
        return Facts(attributes, tags, sorted(events, key=_place))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One database for all examples."""
    path = tmp_path_factory.mktemp("facts") / "x.db"
    with contextlib.closing(connect_writer(path)) as connection:
        yield Database(path, connection)


def _place(told: Told) -> tuple[str, str, int | None]:
    return told.device, told.event, told.time


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(groups=st.lists(st.lists(st.one_of(near_misses(_ACCEPTED), _AS_THEY_ARE, _HUNDREDS), max_size=6), max_size=4))
def test_any_requests_are_answered_and_stored(database: Database, groups: list[list[Sent]]) -> None:
    """The replies and what is stored in the end do not depend on which messages share a transaction."""
    database.clear()
    memory = Memory()
    pipeline = Pipeline(directory, models(), Presence())

    def judge(sent: Sent) -> Outcome:
        outcome = pipeline.process(Message(sent.topic, sent.payload, RECEIVED, identity(sent.sender)))
        assert outcome is not None
        return outcome

    for group in groups:
        replies = database.settle([judge(sent) for sent in group])
        for sent, reply in zip(group, replies, strict=True):
            outcome = judge(sent)
            assert orjson.loads(memory.settle(outcome)) == orjson.loads(reply)
            document = orjson.loads(reply)
            assert document["code"] in CODES
            assert list(document)[:3] == ["id", "code", "data"]
            assert (document["code"] == 200) == ("message" not in document)
    expected = memory.facts
    assert database.facts() == expected._replace(events=sorted(expected.events, key=_place))
