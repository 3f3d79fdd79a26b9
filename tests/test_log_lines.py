"""Lines that others decide the number of are written sparingly."""

from __future__ import annotations

import pytest

from enos_ingest.logs import FewLines


def test_so_many_lines_a_second_and_then_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not written is told with the next line that is."""
    now = 100.0
    monkeypatch.setattr("enos_ingest.logs.time.monotonic", lambda: now)
    lines = FewLines(2)
    assert [lines.next() for _ in range(5)] == [0, 0, None, None, None]
    now = 100.9
    assert lines.next() is None
    now = 101.0
    assert [lines.next() for _ in range(3)] == [4, 0, None]
    now = 200.0
    assert lines.next() == 1
