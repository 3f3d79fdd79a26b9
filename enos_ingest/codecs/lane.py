"""Calls of the codecs that share a worker process: in order, one at a time, in a process that may be lost."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from dataclasses import dataclass, field

import orjson

from enos_ingest.codecs.exchange import Answer, Operation, Request, Status
from enos_ingest.codecs.process import WorkerEndedError, WorkerProcess
from enos_ingest.codecs.worker import Arguments, Failure
from enos_ingest.devices.directory import Product
from enos_ingest.errors import CodecError
from enos_ingest.logs import get_logger
from enos_ingest.settings import CodecsSettings

__all__ = ["REMEMBERED", "Lane", "closing"]

log = get_logger(__name__)

_LOAD_SECONDS = 10.0
"""A module may import what takes long to import; it is loaded once for each worker process."""

_RETRY_SECONDS = 10.0
"""A codec that could not be loaded is left alone so long: trying again for each call would hold up the others."""

_START = ""
"""Stands among the codecs for the start of the process, which may fail and is then left alone as well."""

REMEMBERED = 1000
"""Faults that were logged, and codecs that could not be loaded. Only ever new codecs in the registry exceed it."""


@dataclass(eq=False, slots=True)
class _Call:
    """One call and who waits for it."""

    operation: Operation
    product: Product
    payload: bytes
    secret: bool = False
    result: asyncio.Future[bytes] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Lane:
    """Some codecs and their worker process, which the first call starts.

    Every fault is a CodecError of one sentence. What a codec refuses in its own words is the caller's business; what
    is wrong with the codec itself is also logged, each kind of fault of each codec once.
    """

    def __init__(self, settings: CodecsSettings, arguments: Arguments) -> None:
        self._settings = settings
        self._arguments = arguments
        self._worker: WorkerProcess | None = None
        self._waiting: OrderedDict[_Call, None] = OrderedDict()
        self._running: asyncio.Task[None] | None = None
        self._unusable: dict[str, tuple[float, str]] = {}
        self._logged: set[tuple[str, str]] = set()
        self._closed = False

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn."""
        return len(self._waiting)

    @property
    def pid(self) -> int | None:
        """The id of the worker process, None while there is none."""
        return self._worker.pid if self._worker and not self._worker.ended else None

    async def call(
        self, operation: Operation, product: Product, payload: bytes, *, patient: bool, secret: bool = False
    ) -> bytes:
        """What the product's codec makes of a payload; raises CodecError, without its words where that is a secret."""
        if self._closed:
            raise closing()
        self._refuse_unusable(product.codec)
        if len(self._waiting) >= self._settings.waiting and not patient:
            raise CodecError(f"{len(self._waiting)} calls of codecs are waiting already")
        call = _Call(operation, product, payload, secret)
        self._waiting[call] = None
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run(), name="codecs")
        try:
            return await call.result
        finally:
            # Of a caller that has gone away no work is left; a call that was begun is not broken off.
            self._waiting.pop(call, None)

    async def close(self) -> None:
        """Kill the worker, whatever it does; calls that wait are refused, as are new ones."""
        self._closed = True
        while self._waiting:
            call, _ = self._waiting.popitem()
            _fail(call, closing())
        if self._worker is not None:
            await self._worker.kill()
        if self._running is not None:
            await self._running

    async def _run(self) -> None:
        """Serve the calls that wait, then end."""
        while self._waiting:
            call, _ = self._waiting.popitem(last=False)
            try:
                result = await self._perform(call)
            except CodecError as error:
                _fail(call, error)
            except Exception:  # a fault of ours in one call must not end the calls after it
                log.exception("a call of a codec failed in the hub", codec=call.product.codec)
                await self._discard()
                _fail(call, CodecError(f"codec {call.product.codec} could not be called"))
            else:
                if not call.result.done():
                    call.result.set_result(result)

    async def _perform(self, call: _Call) -> bytes:
        product = call.product
        self._refuse_unusable(_START)
        self._refuse_unusable(product.codec)
        worker = await self._ready_worker()
        if product.codec not in worker.loaded:
            try:
                await self._ask(worker, product, Operation.LOAD, b"", _LOAD_SECONDS)
            except CodecError as error:
                self._remember_unusable(product.codec, str(error))
                raise
            worker.loaded.add(product.codec)
        seconds = self._settings.seconds
        return await self._ask(worker, product, call.operation, call.payload, seconds, secret=call.secret)

    async def _ready_worker(self) -> WorkerProcess:
        if self._worker is not None and self._worker.ended:
            await self._discard()
        if self._worker is None:
            self._worker = WorkerProcess(self._arguments)
            try:
                await self._worker.start()
            except (TimeoutError, WorkerEndedError) as error:
                await self._discard()
                if self._closed:
                    raise closing() from None
                text = f"the worker process of codecs did not start: {str(error) or 'it took too long'}"
                self._log_once(_START, "start", text)
                self._remember_unusable(_START, text)
                raise CodecError(text) from None
        return self._worker

    async def _ask(
        self,
        worker: WorkerProcess,
        product: Product,
        operation: Operation,
        payload: bytes,
        seconds: float,
        *,
        secret: bool = False,
    ) -> bytes:
        """The worker's answer to one request; raises CodecError."""
        if self._closed:
            await self._discard()
            raise closing()
        request = Request(operation, product.codec, payload, math.ceil(1000 * seconds))
        try:
            answer = await worker.call(request)
        except TimeoutError:
            await self._discard()
            raise self._fault(product, "overrun", f"took longer than {seconds:g} s") from None
        except WorkerEndedError as error:
            await self._discard()
            if self._closed:
                raise closing() from None
            raise self._fault(product, "ended", f"ended its worker process ({error})") from None
        return await self._read(answer, product, secret=secret)

    async def _read(self, answer: Answer, product: Product, *, secret: bool) -> bytes:
        match answer.status:
            case Status.DONE:
                return answer.payload
            case Status.REFUSED if secret:
                raise CodecError(f"codec {product.codec} refused it")
            case Status.REFUSED:
                raise CodecError(answer.payload.decode() or f"codec {product.codec} refused it without a word")
            case Status.FAILED:
                failure: Failure = orjson.loads(answer.payload)
                if failure["kind"] == "memory":
                    await self._discard()  # what one codec has filled, the others would miss
                text = "failed on a message that holds a secret" if secret else failure["text"]
                raise self._fault(product, failure["kind"], text, failure["at"])

    async def _discard(self) -> None:
        """End this worker; the next call gets another."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.kill()

    def _fault(self, product: Product, kind: str, what: str, at: str = "") -> CodecError:
        text = f"codec {product.codec} {what}"
        self._log_once(product.codec, kind, text, product=product.key, **({"at": at} if at else {}))
        return CodecError(text)

    def _log_once(self, codec: str, kind: str, text: str, **fields: str) -> None:
        if (codec, kind) not in self._logged:
            if len(self._logged) >= REMEMBERED:
                self._logged.clear()
            self._logged.add((codec, kind))
            log.error("a codec failed; the same fault is not logged again", codec=codec, error=text, **fields)

    def _refuse_unusable(self, codec: str) -> None:
        until, text = self._unusable.get(codec, (0.0, ""))
        if time.monotonic() < until:
            raise CodecError(text)

    def _remember_unusable(self, codec: str, text: str) -> None:
        if len(self._unusable) >= REMEMBERED:
            self._unusable.clear()
        self._unusable[codec] = (time.monotonic() + _RETRY_SECONDS, text)


def closing() -> CodecError:
    """What calls are told at a stop."""
    return CodecError("the hub is stopping")


def _fail(call: _Call, error: CodecError) -> None:
    if not call.result.done():
        call.result.set_exception(error)
