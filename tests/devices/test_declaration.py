"""Registry files with faults: each is named by table, index and key, and nothing is applied."""

from __future__ import annotations

from typing import Any

import pytest

from enos_ingest.devices.apply import apply_declaration
from enos_ingest.devices.declaration import check_declaration, parse_declaration
from enos_ingest.devices.directory import Directory
from enos_ingest.errors import RegistryError
from tests.devices.registries import HASH, apply, faults, faults_of_text

PRODUCT = {"key": "EbxGvUrE", "model": "gateway"}
SUBS = {"key": "Sb7PkXyZ", "model": "inverter"}
KEY = "expected a key: 1 to 64 characters without blanks, /, +, #, &, |, % or $"


def device(key: str, product: str = "EbxGvUrE", **more: object) -> dict[str, Any]:
    """A row of a device with a secret."""
    return {"product": product, "key": key, "secret": "s", **more}


def application(name: str, key: str) -> dict[str, Any]:
    return {"name": name, "key": key, "secret": "s", "scopes": []}


def gateway(name: str, *sub_devices: str) -> dict[str, Any]:
    """A row of a gateway."""
    return {"device": name, "sub_devices": list(sub_devices)}


def test_long_keys_are_told_apart() -> None:
    """To their last character, also where they name a gateway."""
    product, names = "p" * 64, ["d" * 63 + end for end in "abc"]
    document = {
        "products": [{"key": product, "model": "gateway"}],
        "devices": [device(name, product) for name in names],
        "gateways": [gateway(f"{product}/{name}") for name in names],
    }
    assert faults(document) == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[[products]]\nkey = "a"\nkey = "b"\n', "(at line 3, column 10)"),
        ('[[products]\nkey = "a"\n', "(at line 1, column 11)"),
        ("[[products]]\nkey = EbxGvUrE\n", "(at line 2, column 7)"),
    ],
)
def test_a_syntax_error_names_its_line(text: str, place: str) -> None:
    """And the column; the words are those of Python's reader."""
    (said,) = faults_of_text(text)
    assert said.startswith("not TOML: ")
    assert said.endswith(place)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"device": []}, "device: unknown; did you mean devices?"),
        ({"xyz": []}, "xyz: unknown"),
        ({"products": {"key": "a"}}, "products: expected an array"),
        ({"products": [1]}, "products[0]: expected an object"),
        ({"products": [{}]}, "products[0]: key missing"),
        ({"products": [PRODUCT, {"key": "a", "modell": "x"}]}, "products[1] a: modell unknown; did you mean model?"),
        ({"devices": [{**device("a"), "colour": "red"}]}, "devices[0] EbxGvUrE/a: colour unknown"),
        ({"products": [{"key": "a", "model": ""}]}, "products[0] a: model: at least 1 character"),
        (
            {"products": [{"key": "a", "dynamic_activation": "yes"}]},
            "products[0] a: dynamic_activation: expected a boolean",
        ),
        ({"products": [{"key": "a b"}]}, f"products[0] a b: key: {KEY}"),
        ({"products": [{"key": 7}]}, f"products[0] 7: key: {KEY}"),
        ({"products": [{"key": ""}]}, f"products[0]: key: {KEY}"),
        ({"products": [{"key": "x" * 65}]}, f"products[0] {'x' * 65}: key: {KEY}"),
        ({"devices": [{"product": "P"}]}, "devices[0] P: key missing"),
        ({"devices": [device("a/b", "P")]}, f"devices[0] P/a/b: key: {KEY}"),
        ({"devices": [device("a", "P", secret=1)]}, "devices[0] P/a: secret: expected a string"),
        ({"devices": [device("a", "P", enabled=1)]}, "devices[0] P/a: enabled: expected a boolean"),
        (
            {"devices": [device("a", "P", asset_id="ä")]},
            "devices[0] P/a: asset_id: expected an asset id: 1 to 64 letters, digits, - or _",
        ),
        ({"gateways": [{"device": "P/a"}]}, "gateways[0] P/a: sub_devices missing"),
        ({"gateways": [gateway("a")]}, "gateways[0] a: device: expected PRODUCT/DEVICE"),
        ({"gateways": [gateway("P/a", "P/b", "b")]}, "gateways[0] P/a: sub_devices[1]: expected PRODUCT/DEVICE"),
        ({"applications": [{"name": "x", "api_key": "k"}]}, "applications[0] x: scopes missing"),
        (
            {"applications": [{"name": "x", "api_key": "k", "scopes": ["write"]}]},
            'applications[0] x: scopes[0]: expected one of "control", "read", "admin"',
        ),
        (
            {"operators": [{"name": "a&b", "password": "p", "scopes": []}]},
            "operators[0] a&b: name: expected a name: 1 to 64 characters without blanks, & or %",
        ),
        (
            {"operators": [{"name": "alice", "password": "p", "scopes": ["read", "admin"]}]},
            'operators[0] alice: scopes[1]: expected one of "read", "write"',
        ),
    ],
)
def test_a_row_of_a_wrong_shape_is_named(document: dict[str, Any], said: str) -> None:
    """The table, the index, what names the row, the key, what was expected there."""
    assert faults(document) == [said]


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"products": [PRODUCT, PRODUCT]}, ["products[1] EbxGvUrE: declared twice, first as products[0]"]),
        (
            {"devices": [device("a"), device("b"), device("a", secret="t"), device("a")]},
            [
                "devices[2] EbxGvUrE/a: declared twice, first as devices[0]",
                "devices[3] EbxGvUrE/a: declared twice, first as devices[0]",
            ],
        ),
        (
            {"devices": [device("a")], "gateways": [gateway("EbxGvUrE/a"), gateway("EbxGvUrE/a")]},
            ["gateways[1] EbxGvUrE/a: declared twice, first as gateways[0]"],
        ),
        (
            {"products": [PRODUCT, {"key": "x", "model": "turbine"}]},
            ["products[1] x: unknown model turbine (known: gateway, inverter)"],
        ),
        (
            {"devices": [*(device(f"d{index}") for index in range(17)), {"product": "EbxGvUrE", "key": "gw-1"}]},
            ["devices[17] EbxGvUrE/gw-1: secret missing"],
        ),
        ({"devices": [device("a", "Nowhere")]}, ["devices[0] Nowhere/a: unknown product Nowhere"]),
        ({"devices": [device("integration")]}, ["devices[0] EbxGvUrE/integration: key integration is reserved"]),
        (
            {"devices": [device("integration", "Nowhere")]},
            [
                "devices[0] Nowhere/integration: key integration is reserved",
                "devices[0] Nowhere/integration: unknown product Nowhere",
            ],
        ),
        (
            {"devices": [device("a", asset_id="A1"), device("b", asset_id="A1")]},
            ["devices[1] EbxGvUrE/b: asset_id A1 is EbxGvUrE/a's"],
        ),
        ({"gateways": [gateway("EbxGvUrE/a")]}, ["gateways[0] EbxGvUrE/a: device is not declared"]),
        (
            {"devices": [device("a")], "gateways": [gateway("EbxGvUrE/a", "EbxGvUrE/a")]},
            ["gateways[0] EbxGvUrE/a: a gateway cannot be its own sub-device"],
        ),
        (
            {
                "devices": [device("a"), device("b")],
                "gateways": [gateway("EbxGvUrE/a", "EbxGvUrE/b"), gateway("EbxGvUrE/b")],
            },
            ["gateways[0] EbxGvUrE/a: sub-device EbxGvUrE/b is a gateway itself"],
        ),
        (
            {"devices": [device("a")], "gateways": [gateway("EbxGvUrE/a", "EbxGvUrE/b", "EbxGvUrE/b")]},
            [
                "gateways[0] EbxGvUrE/a: sub-device EbxGvUrE/b is not declared",
                "gateways[0] EbxGvUrE/a: sub-device EbxGvUrE/b is not declared",
                "gateways[0] EbxGvUrE/a: sub-device EbxGvUrE/b stands twice",
            ],
        ),
        (
            {"applications": [{"name": "x", "key": "k", "scopes": []}, {"name": "y", "secret": "s", "scopes": []}]},
            ["applications[0] x: key and secret go together", "applications[1] y: key and secret go together"],
        ),
        ({"applications": [{"name": "x", "scopes": []}]}, ["applications[0] x: key and secret, or api_key, missing"]),
        (
            {
                "applications": [
                    {"name": "x", "key": "k", "secret": "s", "api_key": "a", "scopes": []},
                    {"name": "y", "key": "k", "secret": "t", "api_key": "a", "scopes": []},
                ]
            },
            ["applications[1] y: key is x's", "applications[1] y: api_key is x's"],
        ),
        (
            {"operators": [{"name": "o", "scopes": []}]},
            ["operators[0] o: one of password and password_hash is needed"],
        ),
        (
            {"operators": [{"name": "o", "password": "p", "password_hash": HASH, "scopes": []}]},
            ["operators[0] o: one of password and password_hash is needed"],
        ),
        (
            {"operators": [{"name": "o", "password_hash": "plain", "scopes": []}]},
            ["operators[0] o: password_hash is none (`enos-ingest registry hash-password` makes one)"],
        ),
    ],
)
def test_a_row_that_contradicts_another_is_named(tables: dict[str, Any], said: list[str]) -> None:
    """Twice the same, unknown ones, what is missing, roles that exclude each other."""
    assert faults({"products": [PRODUCT, SUBS], **tables}) == said


def test_an_unknown_model_is_told_where_none_is_loaded() -> None:
    """Then there is nothing to choose from."""
    with pytest.raises(RegistryError) as caught:
        apply_declaration(check_declaration({"products": [PRODUCT]}, "r.toml"), Directory(), [])
    assert str(caught.value) == "r.toml: products[0] EbxGvUrE: unknown model gateway (known: none is loaded)"


def test_all_faults_are_reported_together_in_the_order_of_the_file() -> None:
    """Those of shape first: rows of a wrong shape are not compared with each other."""
    text = """
[[products]]
key = "EbxGvUrE"
modle = "gateway"
[[devices]]
product = "EbxGvUrE"
secret = "s"
[[devices]]
product = "EbxGvUrE"
key = "gw-1"
enabled = "no"
[[operators]]
name = "alice"
password = "p"
"""
    with pytest.raises(RegistryError) as caught:
        parse_declaration(text, "site.toml")
    assert str(caught.value).splitlines() == [
        "site.toml: products[0] EbxGvUrE: modle unknown; did you mean model?",
        "site.toml: devices[0] EbxGvUrE: key missing",
        "site.toml: devices[1] EbxGvUrE/gw-1: enabled: expected a boolean",
        "site.toml: operators[0] alice: scopes missing",
    ]


def test_rows_that_contradict_each_other_are_reported_together() -> None:
    """In the order of the tables."""
    document = {
        "products": [{"key": "P", "model": "turbine"}],
        "devices": [device("a", "P"), {"product": "P", "key": "b"}, device("c", "Q")],
        "gateways": [gateway("P/a", "P/a", "P/x")],
        "operators": [{"name": "o", "scopes": []}],
    }
    assert faults(document) == [
        "products[0] P: unknown model turbine (known: gateway, inverter)",
        "devices[1] P/b: secret missing",
        "devices[2] Q/c: unknown product Q",
        "gateways[0] P/a: a gateway cannot be its own sub-device",
        "gateways[0] P/a: sub-device P/x is not declared",
        "operators[0] o: one of password and password_hash is needed",
    ]


def test_a_device_without_secret_waits_for_its_dynamic_activation() -> None:
    """Where its product has it, declared in this file or before."""
    product = {"key": "P", "dynamic_activation": True}
    row = {"product": "P", "key": "d"}
    first, _ = apply({"products": [product]})
    assert faults({"devices": [row]}, first) == []
    assert faults({"products": [product], "devices": [row]}) == []
    assert faults({"products": [{"key": "P"}], "devices": [row]}, first) == ["devices[0] P/d: secret missing"]


def test_what_is_declared_already_need_not_stand_in_the_file() -> None:
    """Unless the apply prunes: then the file must be whole."""
    first, _ = apply({"products": [PRODUCT, SUBS], "devices": [device("gw"), device("s1", "Sb7PkXyZ")]})
    more = {"devices": [device("s2", "Sb7PkXyZ")], "gateways": [gateway("EbxGvUrE/gw", "Sb7PkXyZ/s1", "Sb7PkXyZ/s2")]}
    assert faults(more, first) == []
    assert faults(more, first, prune=True) == [
        "devices[0] Sb7PkXyZ/s2: unknown product Sb7PkXyZ",
        "gateways[0] EbxGvUrE/gw: device is not declared",
        "gateways[0] EbxGvUrE/gw: sub-device Sb7PkXyZ/s1 is not declared",
    ]


def test_roles_that_were_declared_before_count_too() -> None:
    """A gateway of the registry is nobody's sub-device, a sub-device of the registry is no gateway."""
    rows = [device("gw"), device("s1"), device("s2")]
    first, _ = apply({"products": [PRODUCT], "devices": rows, "gateways": [gateway("EbxGvUrE/gw", "EbxGvUrE/s1")]})
    above = {"products": [PRODUCT], "devices": rows, "gateways": [gateway("EbxGvUrE/s2", "EbxGvUrE/gw")]}
    below = {"products": [PRODUCT], "devices": rows, "gateways": [gateway("EbxGvUrE/s1", "EbxGvUrE/s2")]}
    assert faults(above, first) == ["gateways[0] EbxGvUrE/s2: sub-device EbxGvUrE/gw is a gateway itself"]
    assert faults(below, first) == ["gateways[0] EbxGvUrE/s1: device is a sub-device of EbxGvUrE/gw"]
    assert faults(above, first, prune=True) == faults(below, first, prune=True) == []


def test_an_asset_id_of_another_device_is_refused() -> None:
    """Also one that was declared before, or derived from keys; a device may take over what its owner gives up."""
    first, _ = apply({"products": [PRODUCT], "devices": [device("a", asset_id="A1")]})
    assert faults({"devices": [device("b", asset_id="A1")]}, first) == [
        "devices[0] EbxGvUrE/b: asset_id A1 is EbxGvUrE/a's"
    ]
    assert faults({"devices": [device("a", asset_id="A2"), device("b", asset_id="A1")]}, first) == []
    assert faults({"products": [PRODUCT], "devices": [device("b", asset_id="A1")]}, first, prune=True) == []


def test_a_key_of_another_application_is_refused() -> None:
    """Also one that was declared before; an application may take over what its owner gives up."""
    first, _ = apply({"applications": [application("x", "k1"), {"name": "z", "api_key": "a", "scopes": []}]})
    assert faults({"applications": [application("y", "k1")]}, first) == ["applications[0] y: key is x's"]
    taken = {"name": "y", "api_key": "a", "scopes": []}
    assert faults({"applications": [taken]}, first) == ["applications[0] y: api_key is z's"]
    assert faults({"applications": [application("x", "k2"), application("y", "k1")]}, first) == []
    assert faults({"applications": [application("y", "k1"), taken | {"name": "w"}]}, first, prune=True) == []


def test_a_fault_never_shows_a_secret() -> None:
    """Faults are printed and logged."""
    secret = "hunter2" * 40
    document = {
        "products": [{"key": "P", "secret": secret}],
        "devices": [device("a", "P", secret=secret)],
        "applications": [{"name": "x", "api_key": secret, "key": "k", "secret": secret, "scopes": []}],
        "operators": [{"name": "o", "password": secret, "scopes": []}],
    }
    said = faults(document)
    assert len(said) == 5
    assert not any("hunter2" in fault for fault in said)
