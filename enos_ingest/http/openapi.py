"""The REST API as an OpenAPI document."""

from __future__ import annotations

from typing import Any

from enos_ingest import __version__
from enos_ingest.schema import load_schema

__all__ = ["describe_api"]


def describe_api() -> dict[str, Any]:
    """The document that comes with the package, with the package's version in it."""
    document = load_schema("openapi")
    document["info"]["version"] = __version__
    return document
