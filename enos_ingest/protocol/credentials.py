"""MQTT client id, user name and signature.

A device connects with

    client id   {free text}|securemode=2,signmethod=sha256,timestamp=1548753362502|
    user name   {deviceKey}&{productKey}
    password    hex digest

where the digest is taken over the sorted parameters `clientId`, `deviceKey`, `productKey` and `timestamp`, each
name followed by its value, and then the secret. It is a plain digest, also where its name starts with `hmac`:
that is what the official SDKs compute.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from enos_ingest.errors import CredentialError
from enos_ingest.protocol.identity import CHANNEL_DEVICE_KEY, Channel, DeviceId, Publisher

__all__ = [
    "SECURE_MODE_CHANNEL",
    "SECURE_MODE_DEVICE",
    "SECURE_MODE_PRODUCT",
    "ClientId",
    "Credentials",
    "make_credentials",
    "make_secret",
    "parse_client_id",
    "parse_user_name",
    "sign",
    "verify",
]

SECURE_MODE_DEVICE = 2
"""Signed with the device secret: the usual login."""
SECURE_MODE_PRODUCT = 3
"""Signed with the product secret: a device that is to be given its own."""
SECURE_MODE_CHANNEL = 4
"""Signed with the product secret: the message-integration channel."""

_DIGESTS = {"sha256": "sha256", "sha1": "sha1", "md5": "md5"}
_NOBODY = secrets.token_hex(16)
"""What the signature of a device is checked with that has no secret, or is not known: the time taken must not tell."""
_UNNAMED = ("sha256", "sha1")
"""What is tried for a client that names no method: the documented default, and the Java SDK's own fallback."""

_DECLARED = re.compile(r"\{([^{}]*)\}\s*\Z")
"""What the Java SDK declares at the end of what it signs, such as `{ip=127.0.0.1,version=...,compress=GZIP}`."""


@dataclass(frozen=True, slots=True)
class ClientId:
    """The parts of an MQTT client id; `signed` is all before the first `|`, `timestamp` is opaque text.

    `compression` is what the client has declared, as it is written, "" for nothing.
    """

    signed: str
    secure_mode: int
    sign_method: str
    timestamp: str
    compression: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client puts into CONNECT."""

    client_id: str
    user_name: str
    password: str


def parse_client_id(text: str) -> ClientId:
    """Read an MQTT client id.

    Blanks around the parts are allowed, the documents print some. The free text may hold commas, braces and
    `=`, as the Java SDK's does, and be of any length.

    Raises:
        CredentialError: the extension block is missing or says no secure mode or timestamp.
    """
    signed, bar, block = text.partition("|")
    if not bar:
        raise CredentialError("client id has no |securemode=...,signmethod=...,timestamp=...| block")
    options = _options(block.rstrip().removesuffix("|"))
    mode, timestamp = options.get("securemode", ""), options.get("timestamp", "")
    if mode not in ("2", "3", "4"):
        raise CredentialError("client id has no securemode of 2, 3 or 4")
    if not timestamp:
        raise CredentialError("client id has no timestamp")
    declared = _DECLARED.search(signed)
    compression = _options(declared[1]).get("compress", "") if declared else ""
    return ClientId(signed, int(mode), options.get("signmethod", ""), timestamp, compression)


def parse_user_name(text: str) -> Publisher | None:
    """The device or channel that a user name stands for; None for an operator's, which holds no `&`.

    Raises:
        CredentialError: the device key or product key is missing.
    """
    device_key, ampersand, product_key = text.partition("&")
    if not ampersand:
        return None
    if not device_key or not product_key or "&" in product_key:
        raise CredentialError("user name is not {deviceKey}&{productKey}")
    if device_key == CHANNEL_DEVICE_KEY:
        return Channel(product_key)
    return DeviceId(product_key, device_key)


def sign(secret: str, content: str, method: str = "sha256") -> str:
    """The lower-case hex digest over `content` and `secret` that the SDKs send."""
    return hashlib.new(_digest_of(method), (content + secret).encode(), usedforsecurity=False).hexdigest()


def verify(secret: str, client_id: str, device: DeviceId, timestamp: str, method: str, signature: str) -> bool:
    """Whether `signature` was made with `secret`.

    The named digest is tried as the SDKs compute it, digest(content + secret), and as two true HMACs that
    others compute: HMAC(secret, content) and, in the Node.js SDK, HMAC(secret, content + secret). All of them
    need the secret. Hex is compared in constant time, in any case. With an empty secret it takes as long to find that
    nothing is right.
    """
    content = _content(client_id, device, timestamp).encode()
    key, given = (secret or _NOBODY).encode(), signature.strip().lower().encode()
    try:
        digests = (_digest_of(method),) if method.strip() else _UNNAMED
    except CredentialError:
        return False
    for digest in digests:
        for candidate in (
            hashlib.new(digest, content + key, usedforsecurity=False).hexdigest(),
            hmac.new(key, content, digest).hexdigest(),
            hmac.new(key, content + key, digest).hexdigest(),
        ):
            if hmac.compare_digest(candidate.encode(), given):
                return bool(secret)
    return False


def make_secret() -> str:
    """A new secret of a device, of 32 hex digits: the C SDK takes up to 64 characters."""
    return secrets.token_hex(16)


def make_credentials(publisher: Publisher, secret: str, timestamp: int) -> Credentials:
    """What a device (secure mode 2) or an integration channel (4) puts into CONNECT.

    Args:
        secret: the device's secret, or for a channel the product's.
        timestamp: epoch milliseconds.
    """
    if isinstance(publisher, Channel):
        mode, signed = SECURE_MODE_CHANNEL, publisher.product_key
        signer = DeviceId(publisher.product_key, CHANNEL_DEVICE_KEY)
    else:
        mode, signed, signer = SECURE_MODE_DEVICE, publisher.device_key, publisher
    return Credentials(
        client_id=f"{signed}|securemode={mode},signmethod=sha256,timestamp={timestamp}|",
        user_name=f"{signer.device_key}&{signer.product_key}",
        password=sign(secret, _content(signed, signer, str(timestamp))).upper(),
    )


def _content(client_id: str, device: DeviceId, timestamp: str) -> str:
    return f"clientId{client_id}deviceKey{device.device_key}productKey{device.product_key}timestamp{timestamp}"


def _options(block: str) -> dict[str, str]:
    """The values of a `name=value,...` block by name, in lower case."""
    options: dict[str, str] = {}
    for part in block.split(","):
        name, equals, value = part.partition("=")
        if equals:
            options[name.strip().lower()] = value.strip()
    return options


def _digest_of(method: str) -> str:
    name = method.strip().lower().removeprefix("hmac")
    if name not in _DIGESTS:
        raise CredentialError(f"unknown sign method {method[:40]!r}")
    return _DIGESTS[name]
