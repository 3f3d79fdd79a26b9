"""What the tests of real worker processes share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import pytest

from enos_ingest.cli.serve import loop_factory
from tests.endpoint.waiting import DEADLINE

Run: TypeAlias = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a test's coroutine in the event loop of Python, and in a hub's: each treats processes in its own way."""
    factory = loop_factory() if request.param == "uvloop" else None

    def run(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(main, DEADLINE))

    return run
