"""Client ids, user names and signatures, against what the official SDKs send."""

from __future__ import annotations

import hashlib
import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.errors import CredentialError
from enos_ingest.protocol.credentials import (
    ClientId,
    make_credentials,
    make_secret,
    parse_client_id,
    parse_user_name,
    sign,
    verify,
)
from enos_ingest.protocol.identity import Channel, DeviceId
from tests.protocol.vectors import CONNECTS, VECTORS, Vector

DEVICE = DeviceId("EbxGvUrE", "gw-1")
CONTENT = "clientIdciddeviceKeygw-1productKeyEbxGvUrEtimestamp1"

vectors = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.case)


def accepted(vector: Vector, method: str = "sha256") -> bool:
    """Whether the vector's digest is taken for its other fields."""
    return verify(vector.secret, vector.client_id, vector.device, vector.timestamp, method, vector.digest)


def signed(signature: str, method: str) -> bool:
    """Whether a signature over `CONTENT` is taken for one made with "secret"."""
    return verify("secret", "cid", DEVICE, "1", method, signature)


@vectors
@pytest.mark.parametrize("method", ["sha256", "Sha256", "hmacsha256", "hmacSha256", "", " sha256 "])
def test_a_captured_signature_is_accepted(vector: Vector, method: str) -> None:
    """Under each name that an SDK uses for SHA-256, and without a name."""
    assert accepted(vector, method)


@vectors
def test_the_case_of_the_hex_digits_does_not_matter(vector: Vector) -> None:
    """Python and Java send lower case, Node.js and C upper case; blanks around do no harm."""
    for digest in (vector.digest.upper(), vector.digest.lower(), f" {vector.digest}\n"):
        assert accepted(vector._replace(digest=digest))


@vectors
def test_a_flipped_digit_is_refused(vector: Vector) -> None:
    """Whichever digit it is."""
    for position, digit in enumerate(vector.digest):
        flipped = "0" if digit != "0" else "1"
        assert not accepted(vector._replace(digest=vector.digest[:position] + flipped + vector.digest[position + 1 :]))


@vectors
@pytest.mark.parametrize(
    "changed",
    [
        {"secret": "another"},
        {"secret": ""},
        {"timestamp": "1"},
        {"client_id": "another"},
        {"device_key": "another"},
        {"product_key": "another"},
        {"digest": ""},
        {"digest": "é"},
    ],
    ids=str,
)
def test_a_signature_over_something_else_is_refused(vector: Vector, changed: dict[str, str]) -> None:
    """Another secret, timestamp, client id or key; no signature at all."""
    assert not accepted(vector._replace(**changed))


@vectors
def test_sign_makes_what_was_captured(vector: Vector) -> None:
    """The lower-case digest over names and values in alphabetical order, then the secret."""
    content = (
        f"clientId{vector.client_id}deviceKey{vector.device_key}"
        f"productKey{vector.product_key}timestamp{vector.timestamp}"
    )
    assert sign(vector.secret, content) == vector.digest.lower()


@pytest.mark.parametrize("name", ["sha1", "hmacsha1", "hmacSha1"])
def test_sha1_is_accepted_in_three_ways(name: str) -> None:
    """Python and Java send the plain digest, Node.js an HMAC over content and secret, others a true HMAC."""
    content, key = CONTENT.encode(), b"secret"
    ways = (
        hashlib.sha1(content + key, usedforsecurity=False).hexdigest().upper(),
        hmac.new(key, content + key, "sha1").hexdigest(),
        hmac.new(key, content, "sha1").hexdigest(),
    )
    assert len(set(ways)) == 3
    assert all(signed(way, name) for way in ways)
    assert not any(signed(way, "sha256") for way in ways)


@pytest.mark.parametrize("name", ["md5", "hmacmd5", "hmacMd5"])
def test_md5_is_accepted_where_it_is_named(name: str) -> None:
    """The documents' own login sample uses it."""
    digest = sign("secret", CONTENT, name)
    assert digest == hashlib.md5((CONTENT + "secret").encode(), usedforsecurity=False).hexdigest()
    assert signed(digest, name)
    assert not signed(digest, "")
    assert not signed(digest, "sha256")


def test_a_client_that_names_no_method_may_use_sha1() -> None:
    """The Java SDK falls back on it."""
    assert signed(sign("secret", CONTENT, "sha1"), "")
    assert signed(sign("secret", CONTENT), "  ")


@pytest.mark.parametrize("name", ["sha512", "hmac", "none", "sha-256", "hmachmacsha1"])
def test_an_unknown_method_is_refused(name: str) -> None:
    """`sign` says which, `verify` says no, whatever the signature."""
    with pytest.raises(CredentialError, match=f"unknown sign method '{name}'"):
        sign("secret", CONTENT, name)
    assert not signed(sign("secret", CONTENT), name)


def test_a_device_without_a_secret_is_never_accepted() -> None:
    """Anybody could sign with an empty secret."""
    assert not verify("", "cid", DEVICE, "1", "sha256", sign("", CONTENT))


@pytest.mark.parametrize("method", ["sha256", "hmacsha1", "", "none"])
def test_who_is_not_known_takes_as_long_to_refuse_as_a_wrong_signature(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many digests are made and compared: a stranger cannot learn which devices there are."""
    compared: list[int] = []
    compare = hmac.compare_digest

    def count(a: bytes, b: bytes) -> bool:
        compared.append(len(a))
        return compare(a, b)

    monkeypatch.setattr("enos_ingest.protocol.credentials.hmac.compare_digest", count)
    assert not verify("secret", "cid", DEVICE, "1", method, "wrong")
    wrong = compared.copy()
    compared.clear()
    assert not verify("", "cid", DEVICE, "1", method, "wrong")
    assert compared == wrong


@pytest.mark.parametrize("sdk", CONNECTS)
def test_the_client_id_of_each_sdk_is_read(sdk: str) -> None:
    """All before the first bar is what was signed, and the timestamp is text."""
    text, vector = CONNECTS[sdk]
    parts = parse_client_id(text)
    assert (parts.signed, parts.timestamp) == (vector.client_id, vector.timestamp)
    assert parts.secure_mode == (4 if sdk == "Python channel" else 2)
    assert verify(vector.secret, parts.signed, vector.device, parts.timestamp, parts.sign_method, vector.digest)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a|securemode=2, signmethod=sha256, timestamp=1|", ClientId("a", 2, "sha256", "1")),
        ("a|securemode=2,signmethod=sha256,timestamp=1", ClientId("a", 2, "sha256", "1")),
        ("a|securemode=2,signmethod=sha256,timestamp=1| ", ClientId("a", 2, "sha256", "1")),
        ("a|timestamp=1,securemode = 3 , signmethod = |", ClientId("a", 3, "", "1")),
        ("a|securemode=4,timestamp=1|", ClientId("a", 4, "", "1")),
        ("a|SecureMode=2,SignMethod=Sha256,Timestamp=1|", ClientId("a", 2, "Sha256", "1")),
        ("|securemode=2,timestamp=1|", ClientId("", 2, "", "1")),
        ("a=b,c|securemode=2,timestamp=x=y|", ClientId("a=b,c", 2, "", "x=y")),
        ("a|securemode=2,rest,timestamp=1|", ClientId("a", 2, "", "1")),
        ("x" * 200 + "|securemode=2,timestamp=1|", ClientId("x" * 200, 2, "", "1")),
    ],
)
def test_a_client_id_may_be_written_in_many_ways(text: str, parts: ClientId) -> None:
    """With blanks, without the last bar, in any order and case, with any free text."""
    assert parse_client_id(text) == parts


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"no \|securemode=...,signmethod=...,timestamp=...\| block"),
        ("gw-1", "block"),
        ("a||", "no securemode of 2, 3 or 4"),
        ("a|signmethod=sha256,timestamp=1|", "no securemode of 2, 3 or 4"),
        ("a|securemode=5,timestamp=1|", "no securemode of 2, 3 or 4"),
        ("a|securemode=,timestamp=1|", "no securemode of 2, 3 or 4"),
        ("a|securemode=22,timestamp=1|", "no securemode of 2, 3 or 4"),
        ("a|securemode=²,timestamp=1|", "no securemode of 2, 3 or 4"),
        ("a|securemode=2,signmethod=sha256|", "no timestamp"),
        ("a|securemode=2,timestamp= |", "no timestamp"),
    ],
)
def test_a_client_id_that_says_too_little_is_refused(text: str, said: str) -> None:
    """One sentence says what is missing."""
    with pytest.raises(CredentialError, match=said):
        parse_client_id(text)


@pytest.mark.parametrize(
    ("signed", "compression"),
    [
        ("gw{ip=127.0.0.1,version=enos-mqtt-2.2.16,compress=DEFAULT}", "DEFAULT"),
        ("gw{compress=GZIP}", "GZIP"),
        ("gw{ Compress = lz4 } ", "lz4"),
        ("gw{a}{compress=LZO}", "LZO"),
        ("gw{compress=GZIP}x", ""),
        ("gw{ip=127.0.0.1}", ""),
        ("gw,compress=GZIP", ""),
        ("compress=GZIP}", ""),
        ("{}", ""),
    ],
)
def test_a_client_id_declares_its_compression_at_the_end_of_what_it_signs(signed: str, compression: str) -> None:
    """In braces, as the Java SDK does; all of it is signed."""
    parts = parse_client_id(f"{signed}|securemode=2,timestamp=1|")
    assert (parts.signed, parts.compression) == (signed, compression)


def test_a_secret_is_long_plain_and_never_the_same() -> None:
    """The C SDK takes 64 characters; quotes or backslashes in it would break its search for the end."""
    made = [make_secret() for _ in range(100)]
    assert len(set(made)) == 100
    assert all(re.fullmatch("[0-9a-f]{32}", secret) for secret in made)


@given(st.text())
def test_any_text_is_a_client_id_or_a_credential_error(text: str) -> None:
    """Strangers send anything."""
    try:
        parts = parse_client_id(text)
    except CredentialError:
        return
    assert text.startswith(parts.signed + "|")
    assert parts.timestamp


@pytest.mark.parametrize(
    ("text", "publisher"),
    [
        ("gw-1&EbxGvUrE", DeviceId("EbxGvUrE", "gw-1")),
        ("%channel%&EbxGvUrE", Channel("EbxGvUrE")),
        ("alice", None),
        ("", None),
        ("%channel%", None),
    ],
)
def test_a_user_name_says_who_connects(text: str, publisher: DeviceId | Channel | None) -> None:
    """A device, a channel, or with no ampersand an operator."""
    assert parse_user_name(text) == publisher
    assert type(parse_user_name(text)) is type(publisher)


@pytest.mark.parametrize("text", ["&", "&EbxGvUrE", "gw-1&", "a&b&c", "%channel%&"])
def test_a_user_name_that_lacks_a_key_is_refused(text: str) -> None:
    """Neither an operator's nor a device's."""
    with pytest.raises(CredentialError, match=r"user name is not \{deviceKey\}&\{productKey\}"):
        parse_user_name(text)


_keys = st.text(st.characters(exclude_characters="&|%", exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(_keys, _keys, _keys, st.integers(0, 2**53))
def test_a_device_is_known_by_what_it_puts_into_connect(product: str, key: str, secret: str, timestamp: int) -> None:
    """Whatever its keys and secret are; not with another secret."""
    device = DeviceId(product, key)
    made = make_credentials(device, secret, timestamp)
    parts = parse_client_id(made.client_id)
    assert parse_user_name(made.user_name) == device
    assert parts == ClientId(key, 2, "sha256", str(timestamp))
    assert verify(secret, parts.signed, device, parts.timestamp, parts.sign_method, made.password)
    assert not verify(secret + "x", parts.signed, device, parts.timestamp, parts.sign_method, made.password)


def test_a_channel_signs_with_the_secret_of_its_product() -> None:
    """What is made for a channel equals what the Python SDK sends, but for the timestamp's fraction."""
    made = make_credentials(Channel("EbxGvUrE"), "ProdSecret789", 1795221825549)
    assert made.client_id == "EbxGvUrE|securemode=4,signmethod=sha256,timestamp=1795221825549|"
    assert made.user_name == "%channel%&EbxGvUrE"
    signer = DeviceId("EbxGvUrE", "%channel%")
    assert verify("ProdSecret789", "EbxGvUrE", signer, "1795221825549", "sha256", made.password)
