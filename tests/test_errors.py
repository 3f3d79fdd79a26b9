"""The errors that are raised on purpose: their tree, their texts, their data."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence

import pytest

from enos_ingest import errors
from enos_ingest.errors import (
    EnosIngestError,
    ModelError,
    PayloadError,
    RegistryError,
    SchemaError,
    format_path,
)


def classes() -> dict[str, type[Exception]]:
    """Every error of the module."""
    return {
        name: value for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)
    }


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    """All are there, each below its base, each with one line that says what happened."""
    drawn: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.fullmatch(r"([│├└─ ]*)([A-Z]\w+Error)(  .+)?", line)
        if found is None:
            continue
        above = [(depth, name) for depth, name in above if depth < len(found[1])]
        drawn[found[2]] = above[-1][1] if above else "Exception"
        above.append((len(found[1]), found[2]))
    assert drawn == {name: value.__base__.__name__ for name, value in classes().items() if value.__base__}
    assert set(errors.__all__) == set(drawn)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_says_what_it_is(name: str) -> None:
    """In its docstring's first line; all have one root, so that a program can catch them together."""
    error = classes()[name]
    assert issubclass(error, EnosIngestError)
    assert re.match(r"[A-Z`].*[.:]$", (error.__doc__ or "").splitlines()[0])


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ([], "$"),
        (["params"], "params"),
        (["params", 1, "measurepoints", "temp"], "params[1].measurepoints.temp"),
        ([0], "[0]"),
        ([0, "a", 1, 2], "[0].a[1][2]"),
        (["a.b", "c"], "a.b.c"),
    ],
)
def test_paths_as_people_write_them(path: Sequence[str | int], text: str) -> None:
    """`$` is the whole document."""
    assert format_path(path) == text


def test_a_schema_error_carries_where_and_what() -> None:
    """Its text says both, unless it was given one."""
    error = SchemaError(["params", 0], "expected an object")
    assert (error.path, error.expectation) == (("params", 0), "expected an object")
    assert str(error) == "params[0]: expected an object"
    assert str(SchemaError([], "x", "in other words")) == "in other words"


def test_a_model_error_names_its_file() -> None:
    """And the place in it, where there is one."""
    error = ModelError("m.json", "expected an object", ["measurepoints", "temp"])
    assert error.source == "m.json"
    assert str(error) == "m.json: measurepoints.temp: expected an object"
    assert str(ModelError("m.json", "not JSON")) == "m.json: not JSON"


def test_a_registry_error_is_one_line_a_fault() -> None:
    """Each names the file."""
    error = RegistryError("site.toml", ["a: b", "c: d"])
    assert (error.source, error.faults) == ("site.toml", ("a: b", "c: d"))
    assert str(error) == "site.toml: a: b\nsite.toml: c: d"


def test_a_payload_error_carries_the_id_that_was_found() -> None:
    """Or none."""
    assert PayloadError("x", "7").request_id == "7"
    assert PayloadError("x").request_id == ""
