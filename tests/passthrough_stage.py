"""Messages in a product's own format on their way through a codec that is played, a real pipeline and a real store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

from enos_ingest.codecs.sample import codec as sample
from enos_ingest.devices.directory import Device, Directory, Product
from enos_ingest.devices.presence import Presence
from enos_ingest.intake import Intake
from enos_ingest.outcome import Outcome, Point
from enos_ingest.passthrough import Passthrough
from enos_ingest.pipeline import Message, Pipeline
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.reader import SqliteReader
from enos_ingest.storage.store import QuarantineEntry
from tests.endpoint.waiting import DEADLINE
from tests.models.documents import compiled, point
from tests.storage.samples import open_writer

DEVICE = DeviceId("P", "d")
RAW = f"/sys/{DEVICE}/thing/model/up_raw"
DIRECTORY = Directory(
    [Product("P", model="m", codec="one"), Product("Q", model="m", codec="two")],
    [Device(DEVICE), Device(DeviceId("Q", "d"))],
)


class Sample:
    """The sample codec, in the event loop."""

    async def encode(
        self,
        product: Product,
        message: dict[str, Any],
        *,
        patient: bool = False,
        secret: bool = False,  # noqa: ARG002
    ) -> bytes:
        assert product.codec
        assert patient
        return sample.encode(message)

    async def decode(self, product: Product, data: bytes, *, patient: bool = False) -> dict[str, Any]:
        assert product.codec
        assert patient
        return sample.decode(data)


class Gated(Sample):
    """The same; it decodes once it is told to, and counts what waits for that."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.begun = 0

    async def decode(self, product: Product, data: bytes, *, patient: bool = False) -> dict[str, Any]:
        self.begun += 1
        await self.release.wait()
        return await super().decode(product, data, patient=patient)


class Stage:
    """A passthrough on a real store, and what was answered: a reply's bytes, None for no answer."""

    def __init__(self, passthrough: Passthrough, path: Path) -> None:
        self.passthrough = passthrough
        self.path = path
        self.answers: list[Outcome | None] = []

    def take(self, payload: bytes, name: str = RAW, size: int | None = None) -> None:
        """Hand a message over, which must be taken."""
        publisher = DeviceId(name.split("/")[2], "d")
        assert self.passthrough.take(Message(name, payload, 1000, publisher, size), self.answers.append)

    async def answered(self, count: int) -> list[Outcome | None]:
        """Return once so many messages are answered."""
        async with asyncio.timeout(DEADLINE):
            while len(self.answers) < count:
                await asyncio.sleep(0.002)  # the store's thread tells nobody but the intake
            while self.passthrough.in_flight:
                await asyncio.sleep(0)
        assert len(self.answers) == count
        return self.answers


@contextlib.asynccontextmanager
async def stage(
    folder: Path, codecs: Any, *, message_bytes: int = 1000, in_flight: int = 1000, in_flight_bytes: int = 10**6
) -> AsyncIterator[Stage]:
    """A stage; at its end the passthrough is closed before the store."""
    path = folder / "store.db"
    async with open_writer(path) as writer:
        pipeline = Pipeline(lambda: DIRECTORY, {"m": compiled(temp=point("DOUBLE"))}, Presence())
        intake = Intake(pipeline, writer, lambda *_: None, in_flight=1000, in_flight_bytes=10**6)
        passthrough = Passthrough(
            intake,
            lambda: DIRECTORY,
            codecs,
            message_bytes=message_bytes,
            in_flight=in_flight,
            in_flight_bytes=in_flight_bytes,
        )
        yield Stage(passthrough, path)
        await passthrough.close()


def stored(path: Path, product_key: str = "P") -> list[Point]:
    """The points of the product's device."""
    with SqliteReader(path) as reader:
        return list(reader.points(product_key, "d"))


def rejections(path: Path) -> list[QuarantineEntry]:
    """Everything in quarantine."""
    with SqliteReader(path) as reader:
        entries = [reader.quarantine_entry(row.id) for row in reader.quarantine(limit=1000)]
        return [entry for entry in entries if entry is not None]


def report(time: int = 5) -> bytes:
    """A frame with one point of the past."""
    params = {"measurepoints": {"temp": 1.5}, "time": time}
    return sample.encode({"id": "5", "version": "1.0", "method": "thing.measurepoint.resume", "params": params})


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a test in an event loop."""
    asyncio.run(main)
