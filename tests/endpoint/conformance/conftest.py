"""One hub for all tests of conformance: each takes what it needs of it, and counts on nothing that is stored before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from enos_ingest.testing.hub import Hub, run_hub
from tests.endpoint.site import MODELS, REGISTRY


@pytest.fixture(scope="package")
def hub() -> Iterator[Hub]:
    """A hub that runs until the last of these tests has ended."""
    with run_hub(registry=REGISTRY, models=MODELS) as running:
        yield running
