"""docs/facts.md says what is so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import enos_ingest
from enos_ingest.devices.directory import Device, Directory, Product
from enos_ingest.devices.presence import Presence
from enos_ingest.models.catalogue import Catalogue
from enos_ingest.pipeline import Message, Pipeline
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.uplinks import attributes, events, tags
from enos_ingest.uplinks.route import Route
from tests.cases.facts.memory import Memory
from tests.readme import ROOT

TEXT = (ROOT / "docs" / "facts.md").read_text("utf-8")
_ROUTES: tuple[Route, ...] = (*attributes.ROUTES, *events.ROUTES, *tags.ROUTES)


def exchanges() -> Iterator[tuple[str, bytes, object]]:
    """Topic, request and reply of each example."""
    block = re.findall(r"(?ms)^```\n(.*?)^```$", TEXT)[0]
    for example in block.split("\n\n"):
        topic, *lines = example.splitlines()
        yield topic, "".join(lines[:-1]).encode(), json.loads(lines[-1])


def test_examples_are_answered_as_shown() -> None:
    """In their order, by a hub with the packaged models."""
    models = Catalogue.load(Path(enos_ingest.__file__).parent / "schemas" / "models")
    registry = Directory([Product("EbxGvUrE", model="inverter")], [Device(DeviceId("EbxGvUrE", "inv-1"))])
    pipeline, memory = Pipeline(lambda: registry, models, Presence()), Memory()
    shown = list(exchanges())
    assert len(shown) == 6
    for topic, request, reply in shown:
        outcome = pipeline.process(Message(topic, request, 1_800_000_000_000))
        assert outcome is not None
        assert json.loads(memory.settle(outcome)) == reply


def test_every_topic_has_its_row() -> None:
    """With its method, where that is looked at."""
    rows = [line for line in TEXT.splitlines() if line.startswith("| ")]
    for route in _ROUTES:
        name = route.action.replace("+", "{eventId}")
        row = next(row for row in rows if f"/{name}`" in row or f"`{name}`" in row)
        method = route.schema.document["properties"].get("method")
        assert (f"`{method['const']}`" if method else "| any |") in row


def test_every_code_has_its_row() -> None:
    """Those that the topics are answered with."""
    checks = TEXT.partition("## Checks")[2].partition("\n## ")[0]
    assert set(re.findall(r"\| (1[0-9]{3}) \|", checks)) == {"1009", "1204", "1212", "1220", "1251", "1257", "1260"}
