"""The world of the cases in memory: directory and thing models, for tests of the pipeline without a hub."""

from __future__ import annotations

from functools import cache

from enos_ingest.devices.apply import apply_declaration
from enos_ingest.devices.declaration import check_declaration
from enos_ingest.devices.directory import Directory
from enos_ingest.models.document import parse_thing_model
from enos_ingest.models.validator import CompiledModel
from tests.cases.world import MODELS, REGISTRY

__all__ = ["directory", "models"]


@cache
def models() -> dict[str, CompiledModel]:
    """The thing models by modelId."""
    return {model["modelId"]: CompiledModel(parse_thing_model(model, model["modelId"])) for model in MODELS}


@cache
def directory() -> Directory:
    """The registry of the cases."""
    declaration = check_declaration(REGISTRY, "registry")
    return apply_declaration(declaration, Directory(), models())[0]
