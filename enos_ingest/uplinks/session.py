"""Login and logout of sub-devices, `/ext/session/{productKey}/{deviceKey}/combine/...` on the gateway's topics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from enos_ingest.devices.activation import activate, activation_fault
from enos_ingest.devices.changes import SecretMade
from enos_ingest.devices.directory import Device
from enos_ingest.protocol.codes import Code
from enos_ingest.protocol.credentials import verify
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.protocol.topics import Family
from enos_ingest.uplinks.route import Accepted, FaultCodes, Refusal, Request, Route, World

__all__ = ["ROUTES", "login", "login_batch", "logout"]

_CODES = FaultCodes(
    empty=Code.PAYLOAD_EMPTY,
    unreadable=Code.PAYLOAD_FORMAT_ERROR,
    method=Code.METHODS_NOT_CONSISTENT,
    shape=Code.PAYLOAD_FORMAT_ERROR,
)

_VIA_DEVICE_SECRET, _VIA_PRODUCT_SECRET = "2", "3"

_WORDINGS = {
    Code.TOO_MANY_REQUESTS: "Too many requests",
    Code.DEVICE_NOT_EXISTED: "Device not existed",
    Code.DEVICE_DISABLED: "Device is disable",
    Code.NOT_IN_TOPOLOGY: "Sub device not belong the gateway",
    Code.SIGN_CHECK_FAILED: "Sign check failed",
    Code.MUST_USE_TLS: "The device must login by ssl",
    Code.ACTIVATION_NOT_ALLOWED: "Dynamic activate is not allowed",
    Code.ALREADY_ACTIVATED: "Device cannot activate again",
}
"""How EnOS's documents word the faults of one entry of a batch; the wording of a login alone names the device again."""

_NO_SUB_DEVICES: dict[str, Any] = {"loginedSubDevices": [], "failedSubDevices": []}
"""What a batch of logins that is none is answered with: the C SDK insists on both lists."""


class _Login(NamedTuple):
    """A login that was granted: what the reply says of it, who is to be stored as activated by it, with what secret."""

    data: dict[str, Any]
    activated: tuple[DeviceId, ...]
    changes: tuple[SecretMade, ...]


def login(request: Request, world: World) -> Accepted:
    """Take a sub-device online through the gateway that asks.

    The reply's data names the keys, which the C SDK insists on, and the assetId, which the Java SDK does. A refusal has
    the keys as well: without them C's drops the reply, and its program waits for it as if there were none.
    """
    gateway, params = _gateway(request), request.document["params"]
    try:
        granted = _log_in(request, gateway, params, world)
    except Refusal as refusal:
        keys = _keys(DeviceId(params["productKey"], params["deviceKey"]))
        raise Refusal(refusal.code, refusal.reason, keys) from None
    return Accepted(granted.data, granted.activated, changes=granted.changes)


def login_batch(request: Request, world: World) -> Accepted:
    """Take several sub-devices online, each on its own: the answer has each entry in one of two lists.

    One signature method, client id and timestamp count for all. Where some are refused the code is 723, as in the
    documents' sample, and the message says why: with the code that a login alone would get, unless that is 723 too.
    """
    gateway = _gateway(request)
    params = request.document["params"]
    common = {name: params.get(name) for name in ("clientId", "timestamp", "signMethod", "signmethod")}
    logged_in: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    activated: list[DeviceId] = []
    changes: list[SecretMade] = []
    faults: list[str] = []
    for entry in params["subDevices"]:
        try:
            granted = _log_in(request, gateway, {**entry, **common}, world)
        except Refusal as refusal:
            sub_device = DeviceId(entry["productKey"], entry["deviceKey"])
            failed.append(_keys(sub_device))
            code = "" if refusal.code is Code.DEVICE_DISABLED else f" ({int(refusal.code)})"
            error = _WORDINGS.get(refusal.code, refusal.reason)
            faults.append(f"{sub_device.product_key}&{sub_device.device_key} has error: {error}{code};")
        else:
            logged_in.append(granted.data)
            activated.extend(granted.activated)
            if granted.changes:
                changes.extend(granted.changes)
                world = replace(world, directory=world.directory.changed(granted.changes))
    data = {"loginedSubDevices": logged_in, "failedSubDevices": failed}
    if not failed:
        return Accepted(data, tuple(activated), changes=tuple(changes))
    message = "".join(faults)
    return Accepted(data, tuple(activated), changes=tuple(changes), code=Code.DEVICE_DISABLED, message=message)


def logout(request: Request, world: World) -> Accepted:
    """Take a sub-device offline; one that is not online, or not known, is answered 200 all the same."""
    params = request.document["params"]
    sub_device = DeviceId(params["productKey"], params["deviceKey"])
    world.presence.logout(_gateway(request), sub_device)
    return Accepted(data=_keys(sub_device))


ROUTES = (
    Route(Family.SESSION, "combine/login", "combine-login", _CODES, login),
    Route(Family.SESSION, "combine/login/batch", "combine-login-batch", _CODES, login_batch, _NO_SUB_DEVICES),
    Route(Family.SESSION, "combine/logout", "combine-logout", _CODES, logout),
)


def _log_in(request: Request, gateway: DeviceId, params: Mapping[str, Any], world: World) -> _Login:
    """Take one sub-device online, or raise Refusal; `params` are those of a login alone."""
    sub_device = DeviceId(params["productKey"], params["deviceKey"])
    device = world.directory.devices.get(sub_device)
    if device is None:
        raise Refusal(Code.DEVICE_NOT_EXISTED, f"device {sub_device} is not registered")
    if sub_device not in world.directory.sub_devices(gateway):
        raise Refusal(Code.NOT_IN_TOPOLOGY, f"{sub_device} is not a sub-device of {gateway}")
    # An operator may ask in its name, and a codec may have had the message for long.
    if not world.directory.devices[gateway].enabled:
        raise Refusal(Code.DEVICE_DISABLED, f"gateway {gateway} is disabled")
    if not device.enabled:
        raise Refusal(Code.DEVICE_DISABLED, f"device {sub_device} is disabled")
    product = world.directory.products[sub_device.product_key]
    if product.require_tls:
        raise Refusal(Code.MUST_USE_TLS, f"device {sub_device} must connect by itself, with TLS")
    mode = _text(params.get("secureMode") or _VIA_DEVICE_SECRET)
    if mode == _VIA_PRODUCT_SECRET:
        _check_activation(request, device, world)
    elif mode != _VIA_DEVICE_SECRET:
        raise Refusal(Code.ACTIVATION_NOT_ALLOWED, f"device {sub_device} must log in with its own secret")
    if not verify(
        device.secret if mode == _VIA_DEVICE_SECRET else product.secret,
        params["clientId"],
        sub_device,
        _text(params["timestamp"]),
        params.get("signMethod") or params.get("signmethod") or "",
        params["sign"],
    ):
        raise Refusal(Code.SIGN_CHECK_FAILED, f"the signature of {sub_device} does not match")
    online = world.presence.sub_devices(gateway)
    if sub_device not in online and len(online) >= world.sub_devices_per_gateway:
        raise Refusal(Code.TOO_MANY_REQUESTS, f"{gateway} has {len(online)} sub-devices online, more are not allowed")
    data = {**_keys(sub_device), "assetId": device.asset_id}
    secret = device.secret
    changes: tuple[SecretMade, ...] = ()
    if mode == _VIA_PRODUCT_SECRET:
        made = activate(device, request.received)
        data["deviceSecret"] = secret = made.secret
        changes = (made,)
    world.presence.login(gateway, sub_device, secret)
    first = device.activated is None and world.presence.is_first_login(sub_device)
    return _Login(data, (sub_device,) if first else (), changes)


def _check_activation(request: Request, device: Device, world: World) -> None:
    """Raise Refusal where a sub-device may not be told its secret, or its gateway would not be alone to hear it."""
    fault = activation_fault(device, world.directory, world.presence)
    if fault is not None:
        raise Refusal(*fault)
    if not request.is_direct:
        reason = f"the secret of {device.id} is told on the connection of its gateway only"
        raise Refusal(Code.NO_WRITE_PERMISSION, reason)


def _gateway(request: Request) -> DeviceId:
    """The gateway that asks; its session topics are nobody else's."""
    gateway = request.publisher
    if gateway != request.topic.owner or not isinstance(gateway, DeviceId):
        raise Refusal(Code.NO_WRITE_PERMISSION, f"{gateway} may not use the session topics of {request.topic.owner}")
    return gateway


def _keys(device: DeviceId) -> dict[str, Any]:
    return {"productKey": device.product_key, "deviceKey": device.device_key}


def _text(value: str | float) -> str:
    """A timestamp or mode as it was signed: the Node.js SDK sends numbers, the others strings."""
    return value if isinstance(value, str) else str(value)
