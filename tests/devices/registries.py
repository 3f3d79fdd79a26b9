"""Registry documents for tests: small ones by hand, random ones for properties."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from enos_ingest.devices.apply import apply_declaration
from enos_ingest.devices.declaration import check_declaration, parse_declaration
from enos_ingest.devices.differences import Difference
from enos_ingest.devices.directory import Directory
from enos_ingest.devices.passwords import hash_password
from enos_ingest.errors import RegistryError

__all__ = ["HASH", "MODELS", "apply", "documents", "faults", "faults_of_text"]

MODELS = ("inverter", "gateway")
HASH = hash_password("known")
"""Made once: it takes some 50 ms."""


def apply(
    document: dict[str, Any], current: Directory | None = None, *, prune: bool = False
) -> tuple[Directory, list[Difference]]:
    """Apply a document to a directory, an empty one by default."""
    declaration = check_declaration(document, "registry.toml")
    return apply_declaration(declaration, current or Directory(), MODELS, prune=prune)


def faults(document: dict[str, Any], current: Directory | None = None, *, prune: bool = False) -> list[str]:
    """What is wrong with a document."""
    try:
        apply(document, current, prune=prune)
    except RegistryError as error:
        return list(error.faults)
    return []


def faults_of_text(text: str) -> list[str]:
    """What is wrong with a file."""
    try:
        apply_declaration(parse_declaration(text, "registry.toml"), Directory(), MODELS)
    except RegistryError as error:
        return list(error.faults)
    return []


_keys = st.text("abcXYZ019-_.é", min_size=1, max_size=4)
_secrets = st.text("s3cret", min_size=1, max_size=6)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A valid registry document. Few keys, so that two of them often name the same rows."""
    products = draw(
        st.lists(
            st.fixed_dictionaries(
                {"key": st.sampled_from(["P1", "P2", "P3"])},
                optional={
                    "secret": _secrets,
                    "model": st.sampled_from(MODELS),
                    "dynamic_activation": st.booleans(),
                    "allow_reactivation": st.booleans(),
                    "register": st.booleans(),
                    "require_tls": st.booleans(),
                    "codec": st.sampled_from(["", "codec:decode"]),
                },
            ),
            unique_by=lambda row: row["key"],
        )
    )
    devices = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "product": st.sampled_from([row["key"] for row in products]),
                    "key": st.sampled_from(["d1", "d2", "d3", "d4"]) | _keys,
                    "secret": _secrets,
                },
                optional={"enabled": st.booleans()},
            ),
            unique_by=lambda row: (row["product"], row["key"]),
            max_size=8,
        )
        if products
        else st.just([])
    )
    references = [f"{row['product']}/{row['key']}" for row in devices]
    # Roles go by the device key, so that a gateway of one document is no sub-device of the next.
    gateways = [reference for reference in references if reference.endswith(("1", "2"))]
    sub_devices = [reference for reference in references if not reference.endswith(("1", "2"))]
    topology = [
        {
            "device": gateway,
            "sub_devices": draw(st.lists(st.sampled_from(sub_devices), unique=True)) if sub_devices else [],
        }
        for gateway in gateways
        if draw(st.booleans())
    ]
    applications = [
        # Keys that go by the name, and a tail that may change: no two applications share one.
        {**row, **{key: f"{row['name']}/{row[key]}" for key in ("api_key", "key") if key in row}}
        for row in draw(
            st.lists(
                st.fixed_dictionaries(
                    {
                        "name": _keys,
                        "scopes": st.lists(st.sampled_from(["control", "read", "admin"])),
                        "api_key": _secrets,
                    },
                    optional={"key": st.just("k"), "secret": st.just("s")},
                ).filter(lambda row: ("key" in row) == ("secret" in row)),
                unique_by=lambda row: row["name"],
                max_size=3,
            )
        )
    ]
    operators = draw(
        st.lists(
            st.fixed_dictionaries(
                {"name": _keys, "password_hash": st.just(HASH), "scopes": st.lists(st.sampled_from(["read", "write"]))}
            ),
            unique_by=lambda row: row["name"],
            max_size=3,
        )
    )
    return {
        "products": products,
        "devices": devices,
        "gateways": topology,
        "applications": applications,
        "operators": operators,
    }
