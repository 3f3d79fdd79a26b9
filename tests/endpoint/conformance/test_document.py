"""`docs/mqtt.md` says of each statement what the tests show, no more and no less."""

from __future__ import annotations

import pytest

from tests.endpoint.conformance.document import ROOT, held, statements, tags

FOLDER = ROOT / "tests" / "endpoint"
FILES = {str(path.relative_to(FOLDER).with_suffix("")): path.read_text() for path in FOLDER.rglob("*.py")}


@pytest.mark.parametrize("statement", held())
def test_what_is_held_has_tests(statement: str) -> None:
    """Where the document says, and at least one of them."""
    files = held()[statement]
    assert files
    for name in files:
        assert statement in tags(FILES[name]), name


def test_what_has_a_test_is_held() -> None:
    """No test names a statement that the document knows nothing of."""
    assert set().union(*map(tags, FILES.values())) == set(held())


def test_each_statement_has_one_row() -> None:
    """In one of the tables, also what the code names."""
    assert sorted(statements()) == sorted(set(statements()))
    for path in (ROOT / "enos_ingest" / "endpoint").rglob("*.py"):
        assert tags(path.read_text()) <= set(statements()), path.name
