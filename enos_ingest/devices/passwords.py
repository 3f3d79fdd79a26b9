"""Hashes of passwords (slow, salted) and of API keys (long random strings: one SHA-256 is enough)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

__all__ = ["hash_api_key", "hash_password", "is_password_hash", "verify_password"]

_N, _R, _P = 2**14, 8, 1
"""scrypt cost: 16 MiB and some 50 ms a try, what OWASP asks of an interactive login at the least."""


def hash_password(password: str) -> str:
    """`scrypt$N$r$p$salt$hash`, salt and hash in base64."""
    salt = secrets.token_bytes(16)
    return f"scrypt${_N}${_R}${_P}${_b64(salt)}${_b64(_scrypt(password, salt, _N, _R, _P))}"


def verify_password(password: str, password_hash: str) -> bool:
    """Whether `password` is the one behind `password_hash`; constant time in the comparison."""
    parsed = _parse(password_hash)
    if parsed is None:
        return False
    n, r, p, salt, digest = parsed
    return hmac.compare_digest(_scrypt(password, salt, n, r, p), digest)


def is_password_hash(text: str) -> bool:
    """Whether `text` has the form that `hash_password` makes."""
    return _parse(text) is not None


def hash_api_key(api_key: str) -> str:
    """Lower-case hex SHA-256."""
    return hashlib.sha256(api_key.encode()).hexdigest()


def _parse(text: str) -> tuple[int, int, int, bytes, bytes] | None:
    match text.split("$"):
        case ["scrypt", n, r, p, salt, digest]:
            pass
        case _:
            return None
    try:
        numbers = int(n), int(r), int(p)
        salt_bytes, digest_bytes = base64.b64decode(salt, validate=True), base64.b64decode(digest, validate=True)
    except ValueError:
        return None
    # An upper bound keeps a hash from a hostile file from taking the machine: 128 * N * r bytes are allocated.
    n_ok = 2 <= numbers[0] <= 2**17 and numbers[0] & (numbers[0] - 1) == 0
    if not (n_ok and 1 <= numbers[1] <= 16 and 1 <= numbers[2] <= 4 and salt_bytes and len(digest_bytes) == 32):
        return None
    return *numbers, salt_bytes, digest_bytes


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=256 * n * r + 2**20, dklen=32)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
