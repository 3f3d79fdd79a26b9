"""How commands and answers of the REST API are shown to people: nothing in them is obeyed by a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from enos_ingest.cli.options import format_time, printable
from enos_ingest.commands.command import Kind, State
from enos_ingest.http.client import Envelope
from enos_ingest.protocol.identity import DeviceId

__all__ = ["details", "line", "outcome", "refusal"]

_ID = 18
"""Digits of a command's id."""
_STATE = max(len(state.name) for state in State)


def line(command: dict[str, Any]) -> str:
    """A command on one line."""
    device = _text(f"{command.get('productKey')}/{command.get('deviceKey')}")
    return (
        f"{_id(command)}  {_time(command.get('createTime'))}  {_state(command):<{_STATE}}  {device}  {_what(command)}"
    )


def details(command: dict[str, Any]) -> Iterator[str]:
    """A command, one field a line."""
    is_call = command.get("commandType") == Kind.INVOKE_SERVICE
    waits = command.get("pendingTtl")
    fields = {
        "command": _id(command),
        "device": _text(f"{command.get('productKey')}/{command.get('deviceKey')}"),
        "asset": _text(command.get("assetId")),
        "service" if is_call else "point": _text(command.get("tslIdentifier")),
        "inputs" if is_call else "value": _json(command.get("inputData")),
        "asked by": _text(command.get("application")),
        "cached": f"for up to {_json(waits)} s" if waits else "no",
        "timeout": f"{_json(command.get('timeout'))} s",
        "state": _state(command),
    }
    for name, key in (("created", "createTime"), ("sent", "sendTime"), ("finished", "finishTime")):
        if command.get(key) is not None:
            fields[name] = _time(command[key])
    if command.get("outputData") is not None:
        fields["outputs"] = _json(command["outputData"])
    answer = [_json(command["deviceCode"])] if command.get("deviceCode") is not None else []
    if answer or command.get("deviceMessage"):
        fields["answer"] = " ".join([*answer, _text(command.get("deviceMessage") or "")]).rstrip()
    width = max(map(len, fields))
    return (f"{name:<{width}}  {value}" for name, value in fields.items())


def outcome(data: dict[str, Any], device: DeviceId, pending_ttl: int) -> str:
    """How a command went that the hub has taken: its id, and what there is to say."""
    if pending_ttl:
        return f"{_id(data)}  {_name(State.CREATED)}  goes out when {_text(device)} is online, within {pending_ttl} s"
    output = data.get("outputData")
    return f"{_id(data)}  {_name(State.SUCCESS)}{'' if output is None else f'  {_json(output)}'}"


def refusal(envelope: Envelope) -> str:
    """Why hub or device refuse, in one sentence."""
    data = envelope.data if isinstance(envelope.data, dict) else {}
    command = f" (command {_id(data)})" if "commandId" in data else ""
    return f"{envelope.code}: {_text(envelope.msg)}{command}"


def _what(command: dict[str, Any]) -> str:
    name, value = _text(command.get("tslIdentifier")), _json(command.get("inputData"))
    if command.get("commandType") != Kind.INVOKE_SERVICE:
        return f"{name} = {value}"
    output = command.get("outputData")
    return f"{name} {value}{'' if output is None else f' -> {_json(output)}'}"


def _id(fields: dict[str, Any]) -> str:
    return f"{_text(fields.get('commandId')):<{_ID}}"


def _state(command: dict[str, Any]) -> str:
    state = command.get("state")
    return _name(State(state)) if state in list(State) else _json(state)


def _name(state: State) -> str:
    return state.name.lower().replace("_", "-")


def _time(milliseconds: Any) -> str:
    return format_time(milliseconds) if isinstance(milliseconds, int) else _json(milliseconds)


def _json(value: Any) -> str:
    return printable(orjson.dumps(value).decode())


def _text(value: Any) -> str:
    return printable("-" if value is None else str(value))
