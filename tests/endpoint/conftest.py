"""Hubs of the site: a plain one for each test, and one that serves TLS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.endpoint.site import MODELS, REGISTRY
from tests.endpoint.tls_site import CA, Files

if TYPE_CHECKING:
    from enos_ingest.testing import HubFactory
    from enos_ingest.testing.hub import Hub


@pytest.fixture
def hub(enos_hub: HubFactory) -> Hub:
    """A hub for each test: what it stores and counts is the test's own."""
    return enos_hub(registry=REGISTRY, models=MODELS)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A certificate of `CA`."""
    made = Files(tmp_path / "hub.pem", tmp_path / "hub.key")
    made.write(CA)
    return made


@pytest.fixture
def start(enos_hub: HubFactory, files: Files) -> Callable[..., Hub]:
    """Start a hub with a TLS port and some limits of its own."""

    def started(**limits: object) -> Hub:
        settings = {f"limits.{name}": str(value) for name, value in limits.items()}
        registry = {
            **REGISTRY,
            "products": [*REGISTRY["products"], {"key": "T", "model": "m", "require_tls": True}],
            "devices": [*REGISTRY["devices"], {"product": "T", "key": "careful", "secret": "careful-secret"}],
        }
        return enos_hub(registry=registry, models=MODELS, settings={**settings, **files.settings()})

    return started
