"""`enos-ingest command`: values and service calls for devices, through the REST API of a running hub."""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from enos_ingest.cli.command_lines import details, line, outcome, refusal
from enos_ingest.cli.options import Commands, add_command, count, device, json_line, settings, text
from enos_ingest.commands.command import State
from enos_ingest.commands.refusals import RestCode
from enos_ingest.errors import CallError, ConfigError, LostCallError
from enos_ingest.http.client import Envelope, RestClient, check_key, check_url
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.settings import Settings
from enos_ingest.sockets import Bind

__all__ = ["add_commands"]

_KEY_VARIABLE = "ENOS_INGEST_KEY"
_TIMEOUT = 30
"""Seconds that an instant command may take, as the REST API has it where nobody says."""
_PATIENCE = 10.0
"""Seconds more, until the hub is given up: it answers when a command's own time is over."""
_SHOWN = 50
_PAGE = 1000
"""The most commands that the REST API puts on a page."""
_STATES = {state.name.lower().replace("_", "-"): state for state in State}


def add_commands(commands: Commands) -> None:
    """Declare the commands."""
    group = commands.add_parser(
        "command",
        help="values and service calls for devices",
        description="Send values and service calls to devices, and look at those that were sent. Talks to a running "
        "hub; exit code 1 where hub or device refuses, 3 where no hub answers.",
    )
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    parser = _add(
        actions,
        "set",
        "set a measurement point of a device",
        "Set a measurement point and wait for the device's answer; with --ttl leave it to the hub and return at once.",
    )
    parser.add_argument("device", type=device, metavar="PRODUCT/DEVICE")
    parser.add_argument("point", type=text, metavar="POINT", help="a measurement point of its thing model")
    parser.add_argument(
        "value", type=_value, metavar="VALUE", help="JSON; what is no JSON is a string. `--` goes before a lone -1e3"
    )
    _add_times(parser)
    parser.set_defaults(run=_set)
    parser = _add(
        actions,
        "call",
        "call a service of a device",
        "Call a service and print what it returns; with --ttl leave it to the hub and return at once.",
    )
    parser.add_argument("device", type=device, metavar="PRODUCT/DEVICE")
    parser.add_argument("service", type=text, metavar="SERVICE", help="a service of its thing model")
    parser.add_argument(
        "inputs", type=_object, nargs="?", default=b"{}", metavar="JSON", help="its inputs, as one JSON object"
    )
    _add_times(parser)
    parser.set_defaults(run=_call)
    parser = _add(actions, "get", "print one command, whole")
    parser.add_argument("id", type=text, metavar="ID")
    parser.set_defaults(run=_get)
    parser = _add(actions, "ls", "list commands, newest first")
    parser.add_argument("device", type=device, nargs="?", metavar="PRODUCT/DEVICE", help="only those for this device")
    parser.add_argument("--state", choices=list(_STATES), help="only those in this state")
    parser.add_argument("-n", "--limit", type=count, default=_SHOWN, metavar="N", help=f"how many (default {_SHOWN})")
    parser.set_defaults(run=_ls)
    parser = _add(actions, "cancel", "cancel cached commands that are not sent yet")
    parser.add_argument("device", type=device, metavar="PRODUCT/DEVICE")
    parser.add_argument("id", type=text, nargs="?", metavar="ID", help="only this one")
    parser.set_defaults(run=_cancel)


def _add(actions: Commands, name: str, summary: str, description: str = "") -> argparse.ArgumentParser:
    """An action with what all of them take."""
    parser = add_command(actions, name, summary, description)
    parser.add_argument("--url", type=_url, metavar="URL", help="the hub (default: this machine, at http.bind)")
    parser.add_argument("--org", type=text, metavar="ID", help="its organisation (default: registry.org_id)")
    key = parser.add_mutually_exclusive_group()
    key.add_argument(
        "--key-file", type=Path, metavar="FILE", help=f"the API key of an application (default: ${_KEY_VARIABLE})"
    )
    key.add_argument("--key", type=_key, metavar="KEY", help="the same, for everybody on this machine to see in `ps`")
    parser.add_argument("--json", action="store_true", help="print what the hub answers, one JSON object a line")
    return parser


def _add_times(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ttl",
        type=_seconds(0, 172_800),
        default=0,
        metavar="S",
        help="seconds that it may wait for a device that is offline, up to 172800; 0 sends at once or not at all",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds(1, 60),
        default=_TIMEOUT,
        metavar="S",
        help=f"seconds until an answer of the device is too late, 1 to 60 (default {_TIMEOUT})",
    )


def _set(options: argparse.Namespace) -> int:
    query = {**_address(options.device), "measurepointId": options.point}
    return _send(options, "setMeasurepoint", query, b'{"value":' + options.value + b"}")


def _call(options: argparse.Namespace) -> int:
    query = {**_address(options.device), "serviceId": options.service}
    return _send(options, "invokeService", query, b'{"inputData":' + options.inputs + b"}")


def _send(options: argparse.Namespace, action: str, query: Mapping[str, str | int], body: bytes) -> int:
    """Have a command sent and say how it went."""
    times = {"pendingTtl": options.ttl, "timeout": options.timeout}
    try:
        envelope = _client(options).call(action, {**query, **times}, body, timeout=options.timeout + _PATIENCE)
    except KeyboardInterrupt:
        print(f"enos-ingest: interrupted; {_look(options)}", file=sys.stderr)
        raise
    except LostCallError as error:
        raise CallError(f"{error}; {_look(options)}") from None
    if envelope.code != RestCode.OK:
        return _refused(options, envelope)
    if options.json:
        print(json_line(envelope.document))
    else:
        print(outcome(_data(envelope, dict), options.device, options.ttl))
    return 0


def _look(options: argparse.Namespace) -> str:
    return f"the command may have been sent: see `enos-ingest command ls {options.device}`"


def _get(options: argparse.Namespace) -> int:
    envelope = _client(options).call("get", {"commandId": options.id}, method="GET")
    if envelope.code != RestCode.OK:
        return _refused(options, envelope)
    command = _data(envelope, dict)
    if options.json:
        print(json_line(command))
    else:
        print("\n".join(details(command)))
    return 0


def _ls(options: argparse.Namespace) -> int:
    client = _client(options)
    query = _address(options.device) if options.device else {}
    search: dict[str, Any] = {"expression": f"state = {_STATES[options.state]:d}"} if options.state else {}
    size = min(options.limit, _PAGE)
    shown: set[Any] = set()
    for page in itertools.count(1):
        search["pagination"] = {"pageNo": page, "pageSize": size}
        envelope = client.call("search", query, orjson.dumps(search))
        if envelope.code != RestCode.OK:
            return _refused(options, envelope)
        found = _data(envelope, list)
        # What has come since the last page has moved the rest on: some of it would be there again.
        fresh = {command.get("commandId"): command for command in found if command.get("commandId") not in shown}
        _print_all(options, list(fresh.values())[: options.limit - len(shown)])
        shown.update(fresh)
        if len(found) < size or len(shown) >= options.limit:
            break
    return 0


def _cancel(options: argparse.Namespace) -> int:
    query = _address(options.device) | ({"commandId": options.id} if options.id else {})
    envelope = _client(options).call("cancel", query)
    if envelope.code != RestCode.OK:
        return _refused(options, envelope)
    canceled = _data(envelope, list)
    _print_all(options, canceled)
    if not canceled:
        print(f"no command waits for {options.device}", file=sys.stderr)
    return 0


def _refused(options: argparse.Namespace, envelope: Envelope) -> int:
    if options.json:
        print(json_line(envelope.document))
    print(f"enos-ingest: {refusal(envelope)}", file=sys.stderr)
    if envelope.code == RestCode.UNAUTHORIZED and not _api_key(options):
        print(f"name the file of an application's API key with --key-file, or set {_KEY_VARIABLE}", file=sys.stderr)
    return 1


def _print_all(options: argparse.Namespace, commands: list[Any]) -> None:
    for command in commands:
        if options.json:
            print(json_line(command))
        else:
            print(line(command))


def _data(envelope: Envelope, kind: type) -> Any:
    """`data` of a success; what is something else comes from no hub of ours."""
    if not isinstance(envelope.data, kind):
        raise CallError("the hub's answer has no data of the kind that belongs there: is it of another version?")
    return envelope.data


def _client(options: argparse.Namespace) -> RestClient:
    loaded = settings(options)
    return RestClient(options.url or _own_url(loaded), _api_key(options), options.org or loaded.registry.org_id)


def _own_url(loaded: Settings) -> str:
    """Where the hub of this configuration is called from this machine."""
    bind = loaded.http.bind
    if bind.port == 0:
        raise ConfigError("http.bind names no port: say with --url where the hub is")
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound
    return f"http://{Bind(everywhere.get(bind.host, bind.host), bind.port)}"


def _api_key(options: argparse.Namespace) -> str:
    """The API key: a flag's, a file's or the environment's; "" for none."""
    if options.key is not None:
        return str(options.key)
    source, found = f"${_KEY_VARIABLE}", os.environ.get(_KEY_VARIABLE, "")
    if options.key_file is not None:
        source = str(options.key_file)
        try:
            found = options.key_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise ConfigError(f"{source}: cannot read the API key: {reason}") from None
        if not found:
            raise ConfigError(f"{source}: there is no API key in it")
    try:
        return check_key(found)
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from None


def _address(wanted: DeviceId) -> dict[str, str | int]:
    return {"productKey": wanted.product_key, "deviceKey": wanted.device_key}


def _value(typed: str) -> bytes:
    """An argument that is JSON, as it was typed: `3.0` stays `3.0`; anything else is a string."""
    try:
        orjson.loads(typed)
    except orjson.JSONDecodeError:
        return orjson.dumps(text(typed, empty=True))
    return typed.encode()


def _object(typed: str) -> bytes:
    """An argument that is a JSON object, as it was typed."""
    try:
        document = orjson.loads(typed)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise argparse.ArgumentTypeError(f"{typed!r} is no JSON object, such as '{{\"level\": 2}}'")
    return typed.encode()


def _seconds(low: int, high: int) -> Callable[[str], int]:
    def read(typed: str) -> int:
        if not typed.isascii() or not typed.isdigit() or not low <= int(typed[:9]) <= high:
            raise argparse.ArgumentTypeError(f"{typed!r} is not a whole number of seconds from {low} to {high}")
        return int(typed)

    return read


def _url(typed: str) -> str:
    try:
        return check_url(typed)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _key(typed: str) -> str:
    try:
        return check_key(typed)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
