"""What business software may ask of devices: each call checked, made a command, dispatched, and told how it went.

The order of the checks is the one in which a caller can mend them: the organisation, the device, the point or service,
the value, the codec of the product. Nothing is stored or sent before all of them have passed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import orjson

from enos_ingest.commands import downlink
from enos_ingest.commands.command import Command, Kind, State
from enos_ingest.commands.refusals import CommandRefusal, RestCode
from enos_ingest.commands.search import Search
from enos_ingest.devices.directory import Device, Directory, Product
from enos_ingest.errors import CodecError, StorageError
from enos_ingest.logs import FewLines, get_logger
from enos_ingest.models.validator import CompiledModel
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.schema import shorten

__all__ = ["Commands", "Dispatch", "Encoder", "Order", "Reader", "Target", "make_output_check"]

log = get_logger(__name__)

_T = TypeVar("_T")

Models = Callable[[str], CompiledModel | None]
"""Gives the thing model in force under a modelId."""

_ANSWERED_WELL = (0, 200)

_SEARCHES = 50
"""Searches that may wait for each other. One may take seconds: without a bound who searches without pause would take
all places of calls that are being answered, and those who set values would find none."""


class Dispatch(Protocol):
    """What sends commands: `commands.dispatcher.Dispatcher`."""

    async def run(self, command: Command) -> Command: ...

    async def cache(self, command: Command) -> None: ...

    async def cancel(self, device: DeviceId, command: str | None = None) -> list[Command]: ...


class Encoder(Protocol):
    """What puts messages into the formats of products: `codecs.codecs.Codecs`."""

    async def encode(self, product: Product, message: dict[str, Any]) -> bytes: ...


class Reader(Protocol):
    """Stored commands, read by calls that block: `storage.commands.SqliteCommands`."""

    def get(self, command_id: str) -> Command | None: ...

    def search(self, query: Search) -> tuple[list[Command], int]: ...


@dataclass(frozen=True, slots=True)
class Target:
    """How a caller names a device: by its asset id, by its keys, or by both, which must agree then."""

    asset_id: str | None = None
    device: DeviceId | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What is the same for every command that is asked for.

    Attributes:
        application: who asks.
        timeout: seconds.
        pending_ttl: seconds that it may wait for its device; 0 sends it at once or not at all.
        named: told the command's id before it is stored or sent: the caller may be gone when it is over.
    """

    application: str
    org_id: str
    target: Target
    timeout: int = 30
    pending_ttl: int = 0
    named: Callable[[str], None] = field(default=lambda _: None, compare=False)


class Commands:
    """The calls of business software.

    Args:
        directory: gives the registry as it is now.
        codecs: None where there are none: a product that names one then cannot be sent anything.
        has_logged_in: whether a device has logged in since the start; the registry may not say so yet.
        next_id: makes the ids of commands.
        now: gives epoch milliseconds.
    """

    def __init__(
        self,
        directory: Callable[[], Directory],
        models: Models,
        dispatcher: Dispatch,
        codecs: Encoder | None,
        reader: Reader,
        *,
        has_logged_in: Callable[[DeviceId], bool],
        next_id: Callable[[], str],
        now: Callable[[], int],
        org_id: str,
    ) -> None:
        self.org_id = org_id
        self._directory = directory
        self._models = models
        self._dispatcher = dispatcher
        self._codecs = codecs
        self._reader = reader
        self._has_logged_in = has_logged_in
        self._next_id = next_id
        self._now = now
        # A thread each: a search may take seconds. Who hangs up while others are served is struck off the queue.
        self._getting = ThreadPoolExecutor(1, "command reader")
        self._searching = ThreadPoolExecutor(1, "command search")
        self._searches = 0
        self._lines = FewLines()

    async def set_measurepoint(self, order: Order, identifier: str, value: Any) -> Command:
        """Set a measurement point; an instant command is returned once the device has answered with success.

        Raises:
            CommandRefusal: it is not sent, or not answered, or the device refuses.
        """
        device, product, model = self._find(order)
        point = None if model is None else model.model.measurepoints.get(identifier)
        if model is None or point is None:
            raise _unknown("measurepointId", identifier, product, model)
        if not point.writable:
            raise CommandRefusal(
                RestCode.BAD_ARGUMENT, f"measurepointId {shorten(identifier)} is read-only in the thing model"
            )
        fault = model.set_fault(identifier, value, ("value",))
        if fault is not None:
            raise CommandRefusal(RestCode.BAD_ARGUMENT, str(fault))
        return await self._send(order, device, product, Kind.SET_MEASUREPOINT, identifier, value, point.title)

    async def invoke_service(self, order: Order, identifier: str, inputs: dict[str, Any]) -> Command:
        """Call a service; an instant command is returned with what the service put out.

        Raises:
            CommandRefusal: as `set_measurepoint`.
        """
        device, product, model = self._find(order)
        service = None if model is None else model.service(identifier)
        if service is None:
            raise _unknown("serviceId", identifier, product, model)
        fault = service.input_fault(inputs, ("inputData",))
        if fault is not None:
            raise CommandRefusal(RestCode.BAD_ARGUMENT, str(fault))
        return await self._send(order, device, product, Kind.INVOKE_SERVICE, identifier, inputs, service.service.title)

    async def get(self, org_id: str, command_id: str, target: Target | None = None) -> Command:
        """One command, as far as it has come; of a certain device, where a target is given."""
        device = self.find_device(org_id, target)
        command = await self._read(self._getting, self._reader.get, command_id)
        if command is None or device not in {None, command.device}:
            whose = "" if device is None else f" among those of {device}"
            raise CommandRefusal(RestCode.NOT_FOUND, f"commandId {shorten(command_id)} does not exist{whose}")
        return command

    async def search(self, org_id: str, query: Search, target: Target | None = None) -> tuple[list[Command], int]:
        """A page of the commands that a search finds, and how many there are; of one device, or of all.

        Raises:
            CommandRefusal: also BUSY, as too many searches wait already.
        """
        device = self.find_device(org_id, target)
        if self._searches >= _SEARCHES:
            raise CommandRefusal(RestCode.BUSY, f"{self._searches} searches are waiting already, try again")
        self._searches += 1
        try:
            return await self._read(self._searching, self._reader.search, replace(query, device=device))
        finally:
            self._searches -= 1

    async def cancel(self, org_id: str, target: Target, command_id: str | None = None) -> list[Command]:
        """Cancel a cached command of a device that has not been sent, or all of them; returns those, canceled.

        A command that is no longer waiting is left as it is, and not among them.
        """
        device = self.find_device(org_id, target)
        assert device is not None
        if command_id is not None:
            await self.get(org_id, command_id, target)
        return await self._dispatcher.cancel(device, command_id)

    def close(self) -> None:
        """Read no more. A search that runs is not waited for, as its time is bounded and its caller has gone."""
        for thread in (self._getting, self._searching):
            thread.shutdown(wait=False, cancel_futures=True)

    def asset_id(self, device: DeviceId) -> str:
        """The asset id of a device, "" for one that the registry has lost."""
        known = self._directory().devices.get(device)
        return "" if known is None else known.asset_id

    def find_device(self, org_id: str, target: Target | None) -> DeviceId | None:
        """The device that a caller names, None for no target.

        Raises:
            CommandRefusal: NOT_FOUND for an organisation or device that there is not.
        """
        if org_id != self.org_id:
            raise CommandRefusal(RestCode.NOT_FOUND, f"orgId {shorten(org_id)} does not exist")
        if target is None:
            return None
        directory = self._directory()
        owner = None if target.asset_id is None else directory.find_by_asset_id(target.asset_id)
        if target.asset_id is not None and owner is None:
            raise CommandRefusal(RestCode.NOT_FOUND, f"assetId {shorten(target.asset_id)} does not exist")
        if target.device is not None and target.device not in directory.devices:
            name = f"productKey {shorten(target.device.product_key)}, deviceKey {shorten(target.device.device_key)}"
            raise CommandRefusal(RestCode.NOT_FOUND, f"{name}: there is no such device")
        if owner is not None and target.device not in {None, owner}:
            raise CommandRefusal(RestCode.BAD_ARGUMENT, "assetId names another device than productKey and deviceKey")
        return owner or target.device

    def _find(self, order: Order) -> tuple[Device, Product, CompiledModel | None]:
        device_id = self.find_device(order.org_id, order.target)
        assert device_id is not None
        directory = self._directory()
        product = directory.products[device_id.product_key]
        return directory.devices[device_id], product, self._models(product.model) if product.model else None

    async def _send(
        self,
        order: Order,
        device: Device,
        product: Product,
        kind: Kind,
        identifier: str,
        value: Any,
        name: dict[str, Any] | None,
    ) -> Command:
        try:
            command_id = self._next_id()
        except OverflowError as error:
            raise CommandRefusal(RestCode.INTERNAL, str(error)) from None
        make = downlink.set_measurepoint if kind is Kind.SET_MEASUREPOINT else downlink.invoke_service
        topic, payload = make(command_id, device.id, identifier, value)
        if product.codec:
            topic, payload = downlink.raw_topic(device.id), await self._encode(product, payload)
        command = Command(
            command_id,
            device.id,
            kind,
            identifier,
            value,
            topic,
            payload,
            timeout=order.timeout,
            pending_ttl=order.pending_ttl,
            created=self._now(),
            application=order.application,
            name=name,
        )
        if command.is_cached:
            order.named(command.id)
            await self._dispatcher.cache(command)
            return command
        if not device.enabled:
            raise CommandRefusal(
                RestCode.OFFLINE, "the device is disabled, which counts as offline: an instant command cannot be sent"
            )
        if device.activated is None and not self._has_logged_in(device.id):
            raise CommandRefusal(
                RestCode.NOT_ACTIVATED, "the device has never been online, an instant command cannot be sent"
            )
        order.named(command.id)
        command = await self._dispatcher.run(command)
        if command.state is State.FAILED:
            raise _device_failed(command)
        return command

    async def _encode(self, product: Product, payload: bytes) -> bytes:
        if self._codecs is None:
            raise CommandRefusal(RestCode.CANNOT_ENCODE, f"the codec {product.codec} of the product is not served here")
        try:
            return await self._codecs.encode(product, orjson.loads(payload))
        except CodecError as error:
            raise CommandRefusal(RestCode.CANNOT_ENCODE, f"the command cannot be encoded: {error}") from None

    async def _read(self, thread: ThreadPoolExecutor, call: Callable[[Any], _T], argument: object) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, call, argument)
        except StorageError as error:
            if self._lines.next() is not None:
                log.error("commands cannot be read", error=str(error))
            raise CommandRefusal(RestCode.INTERNAL, "the database cannot be read now") from None


def make_output_check(directory: Callable[[], Directory], models: Models) -> Callable[[Command, Any], str | None]:
    """A function that says what is wrong with a service's output, None for nothing, for the dispatcher.

    A service that has gone from the model since the call puts out what it likes.
    """

    def fault(command: Command, output: Any) -> str | None:
        product = directory().products.get(command.device.product_key)
        model = models(product.model) if product is not None and product.model else None
        service = None if model is None else model.service(command.identifier)
        found = None if service is None else service.output_fault({} if output is None else output, ("outputData",))
        return None if found is None else str(found)

    return fault


def _unknown(parameter: str, identifier: str, product: Product, model: CompiledModel | None) -> CommandRefusal:
    if model is not None:
        where = f"the thing model {shorten(model.model.model_id)} has none of this name"
    elif product.model:
        where = f"the thing model {shorten(product.model)} of its product is not loaded"
    else:
        where = "its product has no thing model"
    return CommandRefusal(RestCode.NOT_FOUND, f"{parameter} {shorten(identifier)} does not exist: {where}")


def _device_failed(command: Command) -> CommandRefusal:
    data = {
        "commandId": command.id,
        "deviceCode": command.device_code,
        "deviceMessage": command.device_message,
    }
    if command.device_code is None:
        text = f"the device has answered, but {command.device_message}"
    elif command.device_code in _ANSWERED_WELL:
        text = f"the device has done it, but its answer does not fit the thing model: {command.device_message}"
    else:
        said = f": {command.device_message}" if command.device_message else ""
        text = f"the device has refused, with code {command.device_code}{said}"
    return CommandRefusal(RestCode.DEVICE_FAILED, text, data)
