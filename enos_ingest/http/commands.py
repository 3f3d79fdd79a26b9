"""The calls of the REST API about commands: `/connect-service/v2.1/commands?action=...`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from enos_ingest.commands.command import Command
from enos_ingest.commands.commands import Commands, Order, Target
from enos_ingest.commands.refusals import CommandRefusal, RestCode
from enos_ingest.commands.search import parse_search
from enos_ingest.http.arguments import (
    DEVICE,
    PENDING_TTL_SECONDS,
    TIMEOUT_SECONDS,
    read_object,
    read_parameters,
    read_seconds,
    read_target,
    require,
)
from enos_ingest.http.callers import Caller, Callers
from enos_ingest.http.command_document import command_document
from enos_ingest.http.envelope import envelope, new_request_id, refused
from enos_ingest.http.waiting import unless_hung_up
from enos_ingest.logs import get_logger
from enos_ingest.schema import shorten

__all__ = ["ACTIONS", "CommandCalls"]

log = get_logger(__name__)

_TIMEOUT = 30
"""Seconds that EnOS gives a device for its answer where the caller does not say."""

_SHOWN_CHARACTERS = 256
"""A name in the log is cut to this length; none that there is, of a point, a service or a device, is longer."""

_HUNG_UP = 499
"""What is counted and logged in place of a code for a caller who has gone; nginx made the number known."""


class CallCounter(Protocol):
    """Counts calls: `http.metrics.Metrics`."""

    def call(self, action: str, code: int) -> None: ...


@dataclass(slots=True)
class _Call:
    """One call: what it asks for, and what is said of it in the log.

    Attributes:
        command_id: of the command that it made, or asks for.
        canceled: how many commands it has canceled, None where it did not come to that.
    """

    action: str
    caller: Caller
    query: list[tuple[str, str]]
    body: bytes
    target: Target | None = None
    command_id: str | None = None
    canceled: int | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def device(self) -> str | None:
        """The device as the caller names it, also where the call was refused before its parameters were read."""
        asset_id, product_key, device_key = (self._asked(name) for name in DEVICE)
        if product_key or device_key:
            return f"{product_key}/{device_key}"
        return f"assetId {asset_id}" if asset_id else None

    @property
    def identifier(self) -> str | None:
        """The point or service, likewise."""
        return self._asked("measurepointId") or self._asked("serviceId") or None

    def _asked(self, parameter: str) -> str:
        return shorten(next((value for name, value in self.query if name == parameter), ""), _SHOWN_CHARACTERS)


class _Answer(NamedTuple):
    """What a call that is granted is answered with."""

    data: Any
    pagination: dict[str, Any] | None = None


class _Action(NamedTuple):
    """One action: `acts` says whether it changes anything, and so is logged."""

    methods: tuple[str, ...]
    scope: str
    parameters: tuple[str, ...]
    answer: Callable[[CommandCalls, _Call], Awaitable[_Answer]]
    acts: bool = False


class CommandCalls:
    """Serves `/connect-service/v2.1/commands`."""

    def __init__(self, commands: Commands, callers: Callers, counter: CallCounter) -> None:
        self._commands = commands
        self._callers = callers
        self._counter = counter

    def routes(self) -> list[Route]:
        """Where EnOS has them."""
        return [Route("/connect-service/v2.1/commands", self._answer, methods=["GET", "POST"])]

    async def _answer(self, request: Request) -> Response:
        """Answer a request; whatever it is, with an envelope."""
        started = time.monotonic()
        name, request_id = _known_action(request), new_request_id()
        call: _Call | None = None
        code: int = _HUNG_UP
        try:
            acts = name in ACTIONS and ACTIONS[name].acts
            caller, body = await self._callers.receive(request, acts=acts)
            call = _Call(name, caller, request.query_params.multi_items(), body)
            answer = await unless_hung_up(request, self._grant(request, call))
            code = RestCode.OK
            response = envelope(
                RestCode.OK, "Success", answer.data, request_id=request_id, pagination=answer.pagination
            )
        except CommandRefusal as refusal:
            code = refusal.code
            response = refused(refusal, request_id=request_id)
            if call is not None and name in _COMMANDING:
                # Without it nothing was stored, so there is no such command.
                call.command_id = refusal.data["commandId"] if refusal.data is not None else None
        except ClientDisconnect:
            raise
        except Exception:  # a fault of ours: its caller gets an envelope all the same
            log.exception("a call failed", action=name, request=request_id)
            code = RestCode.INTERNAL
            response = envelope(code, "the hub made a mistake; its log says more", request_id=request_id)
        finally:
            self._counter.call(name, code)
            if call is not None and name in ACTIONS and ACTIONS[name].acts:
                _audit(call, code, started, request_id)
        return response

    async def _grant(self, request: Request, call: _Call) -> _Answer:
        if call.action not in ACTIONS:
            raise _bad_action(request)
        action = ACTIONS[call.action]
        call.caller.require(action.scope)
        if request.method not in action.methods:
            raise CommandRefusal(RestCode.BAD_ARGUMENT, f"{call.action} is called with {' or '.join(action.methods)}")
        call.parameters = read_parameters(call.query, ("action", "orgId", *action.parameters))
        call.target = read_target(call.parameters)
        return await action.answer(self, call)

    async def set_measurepoint(self, call: _Call) -> _Answer:
        """Set a measurement point."""
        order, identifier = _order(call), require(call.parameters, "measurepointId")
        document = read_object(call.body, ("value",), '{"value": 1.0}')
        if document.get("value") is None:
            raise CommandRefusal(RestCode.BAD_ARGUMENT, f"value: {'is null' if 'value' in document else 'missing'}")
        command = await self._commands.set_measurepoint(order, identifier, document["value"])
        call.command_id = command.id
        return _Answer({"commandId": command.id})

    async def invoke_service(self, call: _Call) -> _Answer:
        """Call a service; of an instant call also its output."""
        order, identifier = _order(call), require(call.parameters, "serviceId")
        document = read_object(call.body, ("inputData",), '{"inputData": {}}')
        inputs = document.get("inputData")
        if not isinstance(inputs, dict | None):
            raise CommandRefusal(RestCode.BAD_ARGUMENT, "inputData: expected an object")
        command = await self._commands.invoke_service(order, identifier, inputs or {})
        call.command_id = command.id
        if command.is_cached:
            return _Answer({"commandId": command.id})
        return _Answer({"commandId": command.id, "outputData": {} if command.output is None else command.output})

    async def get(self, call: _Call) -> _Answer:
        """One command."""
        org_id, command_id = require(call.parameters, "orgId"), require(call.parameters, "commandId")
        return _Answer(self._document(await self._commands.get(org_id, command_id, call.target)))

    async def search(self, call: _Call) -> _Answer:
        """A page of commands, newest first."""
        org_id = require(call.parameters, "orgId")
        known = ("expression", "pagination", "projection")
        query = parse_search(read_object(call.body or b"{}", known, '{"expression": "state = 5"}'))
        found, total = await self._commands.search(org_id, query, call.target)
        documents = [query.project(self._document(command)) for command in found]
        return _Answer(documents, query.pagination(total))

    async def cancel(self, call: _Call) -> _Answer:
        """Cancel cached commands of a device that have not been sent; the answer has those that it has canceled."""
        org_id, target = require(call.parameters, "orgId"), _require_target(call)
        call.command_id = call.parameters.get("commandId")
        canceled = await self._commands.cancel(org_id, target, call.command_id)
        call.canceled = len(canceled)
        return _Answer([self._document(command) for command in canceled])

    def _document(self, command: Command) -> dict[str, Any]:
        return command_document(command, self._commands.org_id, self._commands.asset_id(command.device))


_TIMES = ("pendingTtl", "timeout")

_COMMANDING = ("setMeasurepoint", "invokeService")
"""The actions that make a command."""

ACTIONS: Mapping[str, _Action] = {
    "setMeasurepoint": _Action(
        ("POST",), "control", (*DEVICE, "measurepointId", *_TIMES), CommandCalls.set_measurepoint, acts=True
    ),
    "invokeService": _Action(
        ("POST",), "control", (*DEVICE, "serviceId", *_TIMES), CommandCalls.invoke_service, acts=True
    ),
    "get": _Action(("GET",), "read", (*DEVICE, "commandId"), CommandCalls.get),
    "search": _Action(("POST",), "read", DEVICE, CommandCalls.search),
    # EnOS's document has POST, its own sample program GET.
    "cancel": _Action(("POST", "GET"), "control", (*DEVICE, "commandId"), CommandCalls.cancel, acts=True),
}


def _known_action(request: Request) -> str:
    """The action of a request, "unknown" where there is none that is served: it labels a metric."""
    action = request.query_params.get("action", "")
    return action if action in ACTIONS else "unknown"


def _bad_action(request: Request) -> CommandRefusal:
    if not request.query_params.get("action"):
        return CommandRefusal(RestCode.BAD_ARGUMENT, "action is missing")
    return CommandRefusal(RestCode.BAD_ARGUMENT, f"action is unknown: expected one of {', '.join(ACTIONS)}")


def _order(call: _Call) -> Order:
    return Order(
        call.caller.name,
        require(call.parameters, "orgId"),
        _require_target(call),
        timeout=read_seconds(call.parameters, "timeout", TIMEOUT_SECONDS, _TIMEOUT),
        pending_ttl=read_seconds(call.parameters, "pendingTtl", PENDING_TTL_SECONDS, 0),
        named=partial(setattr, call, "command_id"),
    )


def _require_target(call: _Call) -> Target:
    if call.target is None:
        raise CommandRefusal(RestCode.BAD_ARGUMENT, "the device is missing: give assetId, or productKey and deviceKey")
    return call.target


def _audit(call: _Call, code: int, started: float, request_id: str) -> None:
    """Say who asked for what, and how it went; values are in the stored command."""
    canceled = {} if call.canceled is None else {"canceled": call.canceled}
    log.info(
        "call",
        application=call.caller.name,
        action=call.action,
        device=call.device,
        identifier=call.identifier,
        command=call.command_id,
        **canceled,
        code=int(code),
        request=request_id,
        milliseconds=round((time.monotonic() - started) * 1000, 1),
    )
