"""A command as the REST API shows it: the `Command` struct of EnOS, and what this hub knows beyond it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from enos_ingest.commands.command import Command

__all__ = ["command_document"]


def command_document(command: Command, org_id: str, asset_id: str) -> dict[str, Any]:
    """The struct, with members that are ours at its end: the application, two more times, the device's words.

    `inputData` of a measurement point is the value itself, as in EnOS's samples; its table has a map. Times are
    epoch milliseconds, None for what has not happened.
    """
    return {
        "commandId": command.id,
        "orgId": org_id,
        "productKey": command.device.product_key,
        "deviceKey": command.device.device_key,
        "assetId": asset_id,
        "createTime": command.created,
        "createLocaltime": _local_time(command.created),
        "commandType": int(command.kind),
        "commandName": command.name,
        "tslIdentifier": command.identifier,
        "timeout": command.timeout,
        "pendingTtl": command.pending_ttl,
        "state": int(command.state),
        "inputData": command.input,
        "outputData": command.output,
        "application": command.application,
        "sendTime": command.sent,
        "finishTime": command.finished,
        "deviceCode": command.device_code,
        "deviceMessage": command.device_message,
    }


def _local_time(milliseconds: int) -> str:
    """ISO 8601, in the time zone of the hub."""
    return datetime.fromtimestamp(milliseconds / 1000).astimezone().isoformat(timespec="milliseconds")
