"""When a certificate expires, from its bytes: the standard library tells that only of a peer's."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

__all__ = ["expiry_of"]

_END = "-----END CERTIFICATE-----"
_UTC_TIME, _VERSION = 0x17, 0xA0


def expiry_of(pem: str) -> datetime:
    """The end of the validity of the first certificate of a PEM file. [RFC 5280 4.1]

    Raises:
        ValueError: there is no such thing in it.
    """
    begin = pem.index("-----BEGIN CERTIFICATE-----")
    der = ssl.PEM_cert_to_DER_cert(pem[begin : pem.index(_END, begin) + len(_END)])
    _, certificate, _ = _element(der)
    _, rest, _ = _element(certificate)
    kind, _, behind = _element(rest)
    if kind == _VERSION:
        rest = behind
    for _ in range(3):  # the serial number, the algorithm, the issuer
        _, _, rest = _element(rest)
    _, validity, _ = _element(rest)
    _, _, rest = _element(validity)
    kind, until, _ = _element(rest)
    # A year of two digits is one from 1950 to 2049.
    text = until.decode("ascii")
    if kind == _UTC_TIME:
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """The first element of DER: its tag, its content, and what stands behind it."""
    if len(data) < 2:
        raise ValueError("ends inside an element")
    start, length = 2, data[1]
    if length >= 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start])
    if start + length > len(data):
        raise ValueError("ends inside an element")
    return data[0], data[start : start + length], data[start + length :]
