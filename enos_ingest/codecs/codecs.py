"""All codecs, as the event loop uses them: each in a worker process that it has to itself, or shares where many are."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson

from enos_ingest.codecs.contract import parse_entry_point
from enos_ingest.codecs.exchange import Operation
from enos_ingest.codecs.lane import REMEMBERED, Lane, closing
from enos_ingest.codecs.worker import Arguments
from enos_ingest.devices.directory import Product
from enos_ingest.errors import CodecError
from enos_ingest.settings import CodecsSettings

__all__ = ["Codecs"]


class Codecs:
    """The codecs of all products: one that hangs, or crashes, holds up nobody who uses another.

    A process of its own costs some 10 MB for each codec. Beyond `codecs.workers` of them the next codec shares one.

    Args:
        settings: bounds.
        folder: where modules of codecs are, beside those that are installed; need not exist.
        message_bytes: the longest message, as bytes or as JSON, that a codec may return.
    """

    def __init__(self, settings: CodecsSettings, *, folder: Path, message_bytes: int) -> None:
        self._settings = settings
        self._arguments = Arguments(str(folder.absolute()), settings.memory_mb, message_bytes)
        self._lanes: list[Lane] = []
        self._lane_of: dict[str, Lane] = {}
        self._closed = False

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn."""
        return sum(lane.waiting for lane in self._lanes)

    @property
    def pids(self) -> list[int]:
        """The ids of the worker processes that there are."""
        return [lane.pid for lane in self._lanes if lane.pid is not None]

    async def encode(
        self, product: Product, message: dict[str, Any], *, patient: bool = False, secret: bool = False
    ) -> bytes:
        """The bytes that stand for a JSON message of the protocol in the product's format; raises CodecError.

        A patient caller waits however many wait already: it has a bound of its own. Of a message that holds a secret a
        codec's words are not repeated: they may quote it.
        """
        try:
            payload = orjson.dumps(message)
        except TypeError as error:
            raise CodecError(f"the message is no JSON: {error}") from None
        return await self._lane(product).call(Operation.ENCODE, product, payload, patient=patient, secret=secret)

    async def decode(self, product: Product, data: bytes, *, patient: bool = False) -> dict[str, Any]:
        """The JSON message of the protocol that the product's bytes stand for, as `encode`; raises CodecError."""
        result = await self._lane(product).call(Operation.DECODE, product, data, patient=patient)
        message: dict[str, Any] = orjson.loads(result)
        return message

    async def close(self) -> None:
        """Kill the workers, whatever they do; calls that wait are refused, as are new ones."""
        self._closed = True
        await asyncio.gather(*(lane.close() for lane in self._lanes))

    def _lane(self, product: Product) -> Lane:
        """Where calls of a product's codec go: a lane of its own, else that with the fewest codecs."""
        if not product.codec:
            raise CodecError(f"product {product.key} has no codec")
        parse_entry_point(product.codec)
        if self._closed:
            raise closing()
        lane = self._lane_of.get(product.codec)
        if lane is None:
            if len(self._lane_of) >= REMEMBERED:
                self._lane_of.clear()  # a codec may come into another lane; its old one serves the calls that it has
            lane = self._lane_of[product.codec] = self._new_lane()
        return lane

    def _new_lane(self) -> Lane:
        if len(self._lanes) < self._settings.workers:
            self._lanes.append(Lane(self._settings, self._arguments))
            return self._lanes[-1]
        taken = [*self._lane_of.values()]
        return min(self._lanes, key=taken.count)
