"""How a product names its codec: the registry file and the codecs agree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.codecs.contract import parse_entry_point
from enos_ingest.errors import CodecError
from tests.devices.registries import faults

EXPECTED = (
    'products[0] P: codec: expected package.module:attribute, such as enos_ingest.codecs.sample:codec, or "" for none'
)


def registry_takes(text: str) -> bool:
    """Whether a registry file may hold this codec."""
    found = faults({"products": [{"key": "P", "codec": text}]})
    assert found in ([], [EXPECTED])
    return not found


def is_entry_point(text: str) -> bool:
    """Whether the codecs know what it means."""
    try:
        module, attribute = parse_entry_point(text)
    except CodecError as error:
        assert str(error) == "expected package.module:attribute as a product's codec"  # noqa: PT017
        return False
    assert text == f"{module}:{attribute}"
    return True


@pytest.mark.parametrize("text", ["meter:codec", "a.b_c.d1:_x", "enos_ingest.codecs.sample:codec"])
def test_an_entry_point_is_a_module_and_an_attribute(text: str) -> None:
    """As the names of Python are written, in ASCII."""
    assert registry_takes(text)
    assert is_entry_point(text)


@pytest.mark.parametrize(
    "text",
    ["meter", "meter:", ":codec", "a..b:c", ".a:c", "a:b.c", "a:b:c", "a:b ", "a:b\n", "a/b:c", "1a:b", "a-b:c", "é:c"],
)
def test_anything_else_is_refused_with_what_was_expected(text: str) -> None:
    """By the registry file, and by the codecs for what an older database holds."""
    assert not registry_takes(text)
    assert not is_entry_point(text)


def test_an_empty_text_is_no_codec() -> None:
    """The product speaks JSON."""
    assert registry_takes("")


def test_the_longest_name_has_256_characters() -> None:
    """One more is refused by the registry file."""
    assert registry_takes("m" * 254 + ":c")
    too_long = {"products": [{"key": "P", "codec": "m" * 255 + ":c"}]}
    assert faults(too_long) == ["products[0] P: codec: at most 256 characters"]


@given(st.text("ab1_.: \né", max_size=8).filter(bool))
def test_the_two_agree(text: str) -> None:
    """On any text that is not empty."""
    assert registry_takes(text) == is_entry_point(text)
