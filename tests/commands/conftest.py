"""What tests of the dispatcher have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.commands.callers import MakeStage
from tests.commands.stage import Stage


@pytest.fixture
def make_stage() -> Iterator[MakeStage]:
    """Makes stages that are closed at the end."""
    stages: list[Stage] = []

    def make(**options: Any) -> Stage:
        stages.append(Stage(**options))
        return stages[-1]

    yield make
    for stage in stages:
        stage.close()
