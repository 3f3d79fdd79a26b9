"""The thing models of the cases: those of measurement points, with attributes and events."""

from __future__ import annotations

from typing import Any

from tests.cases.world import MODELS
from tests.models.documents import point

__all__ = ["ATTRIBUTES", "EVENTS", "FACT_MODELS"]

_STRUCT = {"items": [point("INT", identifier="count", required=True, minimum=0), point("STRING", identifier="unit")]}

ATTRIBUTES: dict[str, Any] = {
    "site": point("STRING", {"maxLength": 8}, isRequired=True),
    "power": point("DOUBLE", minimum=0),
    "strings": point("INT"),
    "tested": point("BOOL"),
    "class": point("ENUM", {"enumType": "STRING", "enumDesc": {"A": {}, "B": {}}}),
    "curve": point("ARRAY", {"itemType": "INT"}),
    "rating": point("STRUCT", _STRUCT),
    "INV.Serial": point("STRING"),
    "installed": point("DATE"),
    **{f"a{number:03}": point("INT") for number in range(201)},
}
"""The last of them are there to be too many."""

EVENTS: dict[str, Any] = {
    "alarm": {
        "eventType": "ERROR",
        "outputData": [
            point("INT", identifier="level", required=True),
            point("STRING", identifier="text"),
            point("STRUCT", _STRUCT, identifier="where"),
        ],
    },
    "restarted": {},
    "INV.Trip": {"outputData": [point("BOOL", identifier="manual")]},
}

FACT_MODELS: list[dict[str, Any]] = [{**model, "attributes": ATTRIBUTES, "events": EVENTS} for model in MODELS]
