"""Thing-model documents for tests, as small as they can be."""

from __future__ import annotations

from typing import Any

from enos_ingest.models.document import parse_thing_model
from enos_ingest.models.validator import CompiledModel

__all__ = ["compiled", "point", "thing_model"]


def point(data_type: str, definition: object = None, **more: object) -> dict[str, Any]:
    """The entry of a measurement point, or of a member of a struct."""
    return {"dataType": data_type, "dataDefinition": definition, **more}


def thing_model(model_id: str = "m", /, **measurepoints: object) -> dict[str, Any]:
    """A thing model with the points given by name."""
    return {"modelId": model_id, "measurepoints": measurepoints}


def compiled(**measurepoints: object) -> CompiledModel:
    """A compiled model with the points given by name."""
    return CompiledModel(parse_thing_model(thing_model(**measurepoints), "m.json"))
