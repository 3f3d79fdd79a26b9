"""The messages of a workload: resume, or resume/batch, of points of the sample model `inverter`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from enos_ingest.protocol.identity import DeviceId

__all__ = ["MODEL", "POINTS", "Reports"]

MODEL = "inverter"

POINTS: dict[str, Any] = {
    "INV.GenActivePW": 182.5,
    "INV.GenReactivePW": -12.25,
    "INV.TempEquipment": 41.5,
    "INV.APProduction": {"value": 18250.5, "quality": 0},
    "INV.GenFreq": 50.01,
    "INV.State": 1,
    "INV.FaultCode": 0,
    "INV.GridConnected": True,
    "INV.SN": "SN-2024-00017",
    "INV.FirmwareDate": "2024-11-05",
    "Power": {"value": 1.0, "quality": 9},
    "temp": 21.5,
    "branchCurr": ["1.02", "2.02", "7.93"],
}
"""A value for every point of the model; a workload of N points takes the first N."""


@dataclass(frozen=True)
class Reports:
    """What each device sends.

    Args:
        points: measurement points of one item.
        batch: items of one message, each a second after the one before; 0 for resume, which has no items.
    """

    points: int
    batch: int

    @property
    def method(self) -> str:
        """The method of each message."""
        return "thing.measurepoint.resume.batch" if self.batch else "thing.measurepoint.resume"

    @property
    def points_a_message(self) -> int:
        """How many points one message stores."""
        return self.points * (self.batch or 1)

    def topic(self, device: DeviceId) -> str:
        """Where a device sends them."""
        return f"/sys/{device.product_key}/{device.device_key}/{self.method.replace('.', '/')}"

    def messages(self, device: DeviceId) -> Iterator[tuple[bytes, bytes]]:  # noqa: ARG002 - one day they may differ
        """Ids and payloads without end: every item has a time of its own, so that every point is a new row."""
        points = json.dumps(dict(list(POINTS.items())[: self.points]), separators=(",", ":"))
        item = f'{{"time":%d,"measurepoints":{points}}}'
        items = f"[{','.join([item] * self.batch)}]" if self.batch else item
        template = f'{{"id":"%d","version":"1.0","method":"{self.method}","params":{items}}}'.encode()
        count = self.batch or 1
        when, number = time.time_ns() // 1_000_000, 0
        while True:
            number += 1
            yield b"%d" % number, template % (number, *range(when, when + 1000 * count, 1000))
            when += 1000 * count
