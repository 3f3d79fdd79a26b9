"""A hub for all calls of a module about commands, its device, and callers beside the test."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from enos_ingest.testing.client import TestClient
from tests.http.commands_site import DEVICE, Site, run_site


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with run_site() as running:
        yield running


@pytest.fixture
def device(site: Site) -> Iterator[TestClient]:
    """The seeds' device, connected."""
    with site.hub.connect(DEVICE) as client:
        yield client


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads
