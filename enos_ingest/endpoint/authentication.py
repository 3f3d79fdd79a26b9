"""Who is behind a CONNECT: a device, an integration channel, an operator, or the hub's own subscriber."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable
from typing import NamedTuple

from enos_ingest.devices.directory import Directory, OperatorAccount
from enos_ingest.devices.passwords import hash_password, verify_password
from enos_ingest.endpoint.packets import ConnackCode, Connect
from enos_ingest.errors import CredentialError
from enos_ingest.protocol.compression import Compression, parse_compression
from enos_ingest.protocol.credentials import (
    SECURE_MODE_CHANNEL,
    SECURE_MODE_PRODUCT,
    ClientId,
    parse_client_id,
    parse_user_name,
    verify,
)
from enos_ingest.protocol.identity import CHANNEL_DEVICE_KEY, Channel, DeviceId, Hub, Identity, Operator

__all__ = ["Authenticator", "Client", "Refused"]

_ANONYMOUS = Operator("%anonymous%", frozenset({"read", "write"}))
_CONCURRENT_HASHES = 1
"""scrypt takes 16 MiB and a core for some 50 ms: more at once would let strangers slow every device down."""

_WAITING_HASHES = 32
"""Logins that wait for it, 1 second's worth; more are told to come back, so that nobody waits for ever."""

_REMEMBERED = 1000
"""Operators whose password was right lately: they get in even while strangers keep the hashing busy."""


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """A CONNECT is refused: the code of CONNACK, and for the log the reason, which never holds a secret."""

    def __init__(self, code: ConnackCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Client(NamedTuple):
    """A device or channel that has shown who it is.

    `compression` is how its payloads are; `activates` says that it came with its product's secret, to be told its own.
    """

    identity: DeviceId | Channel
    compression: Compression = Compression.NONE
    activates: bool = False


class Authenticator:
    """Checks credentials against the registry as it is now.

    Args:
        directory: gives the registry.
        anonymous: whether a client without a user name is an operator with every scope.
    """

    def __init__(self, directory: Callable[[], Directory], *, anonymous: bool) -> None:
        self._directory = directory
        self._anonymous = anonymous
        self._hub = Hub()
        self._hub_password = secrets.token_urlsafe(32)
        self._hashing = asyncio.Semaphore(_CONCURRENT_HASHES)
        self._hashers = 0
        self._key = secrets.token_bytes(32)
        self._lately: dict[str, bytes] = {}
        # A stranger must not learn from the time taken whether an operator of that name exists.
        self._nobody = OperatorAccount("", hash_password(secrets.token_urlsafe(32)))

    @property
    def hub_credentials(self) -> tuple[str, str]:
        """User name and one-time password of the hub's own subscriber, made at start, valid in this process."""
        return str(self._hub), self._hub_password

    def publisher(self, connect: Connect) -> Client | None:
        """The device or channel behind a CONNECT; None where it comes from an operator, or from nobody yet known.

        Raises:
            Refused: 2 for a malformed client id, 4 for an unknown device or a wrong signature, 5 for what is not
                allowed, or not served.
        """
        if connect.user_name is None:
            return None
        try:
            publisher = parse_user_name(connect.user_name)
        except CredentialError as error:
            raise Refused(ConnackCode.BAD_CREDENTIALS, str(error)) from None
        if publisher is None:
            return None
        parts = _parse(connect.client_id)
        if isinstance(publisher, DeviceId):
            self._check_device(publisher, parts, _password(connect))
        else:
            self._check_channel(publisher, parts, _password(connect))
        try:
            compression = parse_compression(parts.compression)
        except CredentialError as error:
            raise Refused(ConnackCode.NOT_AUTHORIZED, f"{publisher}: {error}") from None
        return Client(publisher, compression, parts.secure_mode == SECURE_MODE_PRODUCT)

    def hub(self, connect: Connect) -> Hub:
        """The hub's own subscriber.

        Raises:
            Refused: 4 for anybody else.
        """
        name, password = connect.user_name or "", _password(connect)
        if name != str(self._hub) or not hmac.compare_digest(password.encode(), self._hub_password.encode()):
            raise Refused(ConnackCode.BAD_CREDENTIALS, "not the hub's own subscriber")
        return self._hub

    async def operator(self, connect: Connect) -> Operator:
        """The operator behind a CONNECT; takes a while, as passwords are hashed.

        Raises:
            Refused: 4 for an unknown name or a wrong password, 5 for no name where anonymous clients are not allowed.
        """
        if connect.user_name is None:
            if not self._anonymous:
                raise Refused(ConnackCode.NOT_AUTHORIZED, "no user name, and anonymous clients are not allowed")
            return _ANONYMOUS
        return await self._operator(connect.user_name, _password(connect))

    def proof(self, identity: Identity) -> str | None:
        """What an identity proves itself with as the registry stands: the secret, or the hash of the password.

        None for one who is not let in. While it stays the same, so may the connection.
        """
        directory = self._directory()
        match identity:
            case DeviceId():
                device = directory.devices.get(identity)
                return device.secret if device is not None and device.enabled else None
            case Channel(product_key):
                product = directory.products.get(product_key)
                return product.secret if product is not None else None
            case Operator(name, scopes):
                if identity == _ANONYMOUS:
                    return "" if self._anonymous else None
                account = directory.operators.get(name)
                return account.password_hash if account is not None and account.scopes == scopes else None
            case Hub():
                return ""

    def _check_device(self, device_id: DeviceId, parts: ClientId, password: str) -> None:
        directory = self._directory()
        device = directory.devices.get(device_id)
        secret = ""
        if parts.secure_mode == SECURE_MODE_CHANNEL:
            raise Refused(ConnackCode.NOT_AUTHORIZED, f"securemode {parts.secure_mode} is not allowed for {device_id}")
        if device is not None:
            via_product = parts.secure_mode == SECURE_MODE_PRODUCT
            secret = directory.products[device_id.product_key].secret if via_product else device.secret
        if not verify(secret, parts.signed, device_id, parts.timestamp, parts.sign_method, password):
            what = "wrong signature" if device else "unknown device"
            raise Refused(ConnackCode.BAD_CREDENTIALS, f"{what} {device_id}")
        if device and not device.enabled:
            raise Refused(ConnackCode.NOT_AUTHORIZED, f"device {device_id} is disabled")

    def _check_channel(self, channel: Channel, parts: ClientId, password: str) -> None:
        if parts.secure_mode != SECURE_MODE_CHANNEL:
            raise Refused(ConnackCode.NOT_AUTHORIZED, f"securemode {parts.secure_mode} is not for {channel}")
        product = self._directory().products.get(channel.product_key)
        signer = DeviceId(channel.product_key, CHANNEL_DEVICE_KEY)
        secret = product.secret if product else ""
        if not verify(secret, parts.signed, signer, parts.timestamp, parts.sign_method, password):
            what = "wrong signature" if product else "unknown product"
            raise Refused(ConnackCode.BAD_CREDENTIALS, f"{what} {channel}")

    async def _operator(self, name: str, password: str) -> Operator:
        account = self._directory().operators.get(name)
        known = account or self._nobody
        if not await self._is_password(password, known.password_hash) or account is None:
            raise Refused(ConnackCode.BAD_CREDENTIALS, f"unknown operator or wrong password: {name[:64]}")
        if self._directory().operators.get(name) != account:
            raise Refused(ConnackCode.NOT_AUTHORIZED, f"operator {name[:64]} was changed meanwhile")
        return Operator(name, account.scopes)

    async def _is_password(self, password: str, password_hash: str) -> bool:
        """Whether a password is the one behind a hash; one that was so lately is not hashed again."""
        digest = hmac.digest(self._key, password.encode(), "sha256")
        lately = self._lately.get(password_hash)
        if lately is not None and hmac.compare_digest(lately, digest):
            return True
        if self._hashers >= _WAITING_HASHES:
            raise Refused(ConnackCode.SERVER_UNAVAILABLE, "too many passwords are being checked")
        self._hashers += 1
        try:
            async with self._hashing:
                matches = await asyncio.to_thread(verify_password, password, password_hash)
        finally:
            self._hashers -= 1
        if matches:
            self._lately[password_hash] = digest
            while len(self._lately) > _REMEMBERED:
                del self._lately[next(iter(self._lately))]
        return matches


def _password(connect: Connect) -> str:
    return (connect.password or b"").decode("utf-8", "replace")


def _parse(client_id: str) -> ClientId:
    try:
        return parse_client_id(client_id)
    except CredentialError as error:
        raise Refused(ConnackCode.IDENTIFIER_REJECTED, str(error)) from None
