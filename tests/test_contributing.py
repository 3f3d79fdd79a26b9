"""CONTRIBUTING says what is so: the files that it names are there, and the change that it shows is in them."""

from __future__ import annotations

import ast
import re
from typing import NamedTuple

import pytest

from tests.readme import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
DIFF = TEXT.partition("```diff\n")[2].partition("```")[0]


class Part(NamedTuple):
    """What the change has added to one file, line by line."""

    name: str
    added: list[str]


def parts() -> list[Part]:
    """The change that is shown, file by file."""
    found = []
    for text in DIFF.split("+++ b/")[1:]:
        name, *lines = text.splitlines()
        found.append(Part(name, [line[1:] for line in lines if line.startswith("+")]))
    return found


@pytest.mark.parametrize("part", parts(), ids=lambda part: part.name)
def test_the_change_that_is_shown_is_in_the_files(part: Part) -> None:
    """Each line that it adds, in order."""
    assert part.added
    lines = iter((ROOT / part.name).read_text("utf-8").splitlines())
    # A line that is not found uses the iterator up, and so fails those behind it as well.
    assert [line for line in part.added if line not in lines] == []


def test_the_change_shows_each_step() -> None:
    """A schema, a handler, its registration, its documentation, its tests."""
    folders = ["schemas/envelopes", "enos_ingest/uplinks", "enos_ingest/uplinks", ".", "tests/uplinks"]
    assert [part.name.rpartition("/")[0] or "." for part in parts()] == folders


def test_every_file_that_is_named_is_there() -> None:
    """Wherever in the tree it is drawn."""
    present = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*.*") if ".venv" not in path.parts}
    named = set(re.findall(r"[\w/.-]+\.(?:py|md|json|toml)\b", TEXT.replace(DIFF, "")))
    assert len(named) > 80
    assert [name for name in sorted(named) if not any(f"/{path}".endswith(f"/{name}") for path in present)] == []


@pytest.mark.parametrize(
    "package",
    sorted(path.parent.name for path in (ROOT / "enos_ingest").glob("*/__init__.py") if path.parent.name != "cli"),
)
def test_a_package_says_what_each_of_its_files_is_for(package: str) -> None:
    """In the docstring that stands at its beginning; those of `cli` are called as the commands are."""
    folder = ROOT / "enos_ingest" / package
    said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8"))) or ""
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert files
    assert files - set(re.findall(r"\w+", said)) == set()
