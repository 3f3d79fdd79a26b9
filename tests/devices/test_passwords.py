"""Hashes of passwords and API keys."""

from __future__ import annotations

import pytest

from enos_ingest.devices.passwords import (
    hash_api_key,
    hash_password,
    is_password_hash,
    verify_password,
)
from tests.devices.registries import HASH

SALT = "AAAAAAAAAAAAAAAAAAAAAA=="
DIGEST = "A" * 43 + "="


@pytest.mark.parametrize("password", ["secret", "", "pässwörd", "x" * 1000])
def test_a_password_is_known_again(password: str) -> None:
    """By its hash alone; another one is not."""
    hashed = hash_password(password)
    assert is_password_hash(hashed)
    assert verify_password(password, hashed)
    assert not verify_password(password + "x", hashed)
    assert password == "" or password not in hashed


def test_two_hashes_of_one_password_differ() -> None:
    """Each has its own salt."""
    assert hash_password("secret") != hash_password("secret")


def test_the_cost_is_written_into_the_hash() -> None:
    """So that a later release may ask for more, and still know old ones."""
    assert HASH.startswith("scrypt$16384$8$1$")
    cheaper = "scrypt$2$1$1$c2FsdA==$dKVA3FIrwgMJghD6xdt4Tj6G0dTAVoipewJRy0DF0Kw="
    assert is_password_hash(cheaper)
    assert not verify_password("secret", cheaper)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "scrypt$16384$8$1$x",
        f"bcrypt$16384$8$1${SALT}${DIGEST}",
        f"scrypt$many$8$1${SALT}${DIGEST}",
        f"scrypt$16384$8$1${SALT}$!",
        f"scrypt$16384$8$1$é${DIGEST}",
        f"scrypt$16384$8$1$${DIGEST}",
        f"scrypt$16384$8$1${SALT}$AAAA",
        f"scrypt$16383$8$1${SALT}${DIGEST}",
        f"scrypt$1$8$1${SALT}${DIGEST}",
        f"scrypt$0$8$1${SALT}${DIGEST}",
        f"scrypt$-2$8$1${SALT}${DIGEST}",
        f"scrypt$262144$8$1${SALT}${DIGEST}",
        f"scrypt$16384$17$1${SALT}${DIGEST}",
        f"scrypt$16384$0$1${SALT}${DIGEST}",
        f"scrypt$16384$8$5${SALT}${DIGEST}",
        f"scrypt$16384$8$1${SALT}${DIGEST}$",
    ],
)
def test_what_is_no_hash_matches_no_password(text: str) -> None:
    """Of another form, or of a cost that would take the machine."""
    assert not is_password_hash(text)
    assert not verify_password("", text)
    assert not verify_password(text, text)


def test_the_highest_cost_that_is_taken_can_be_computed() -> None:
    """The memory it may use is bounded by what it needs."""
    assert not verify_password("x", f"scrypt$131072$16$1${SALT}${DIGEST}")


def test_an_api_key_is_known_again() -> None:
    """By its SHA-256."""
    assert hash_api_key("key") == "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"
