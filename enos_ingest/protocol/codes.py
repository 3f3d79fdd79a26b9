"""Return codes in replies to devices."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Code"]


class Code(IntEnum):
    """Return codes as EnOS documents them; `text` is the documented wording."""

    SUCCESS = 200
    TOO_MANY_REQUESTS = 429
    DEVICE_NOT_EXISTED = 705
    DEVICE_DISABLED = 723
    NOT_IN_TOPOLOGY = 740
    SIGN_CHECK_FAILED = 742
    ACTIVATION_NOT_ALLOWED = 770
    NO_WRITE_PERMISSION = 1009
    MODEL_VALIDATE_FAILED = 1204
    DATA_FORMAT_ERROR = 1206
    NO_SUB_DEVICE_PERMISSION = 1212
    PAYLOAD_FORMAT_ERROR = 1220
    PAYLOAD_EMPTY = 1251
    DEVICE_NOT_FOUND = 1257
    METHODS_NOT_CONSISTENT = 1260

    @property
    def text(self) -> str:
        """The documented wording, "" for success."""
        return _TEXTS[self]


_TEXTS = {
    Code.SUCCESS: "",
    Code.TOO_MANY_REQUESTS: "Too many requests",
    Code.DEVICE_NOT_EXISTED: "Device not existed",
    Code.DEVICE_DISABLED: "Device is disable",
    Code.NOT_IN_TOPOLOGY: "Sub device not belong the gateway",
    Code.SIGN_CHECK_FAILED: "Sign check failed",
    Code.ACTIVATION_NOT_ALLOWED: "Dynamic activate is not allowed",
    Code.NO_WRITE_PERMISSION: "Publish to topic with no write permission",
    Code.MODEL_VALIDATE_FAILED: "Model validate failed",
    Code.DATA_FORMAT_ERROR: "Measurepoint post data format error",
    Code.NO_SUB_DEVICE_PERMISSION: "No sub-device permission",
    Code.PAYLOAD_FORMAT_ERROR: "Payload format error",
    Code.PAYLOAD_EMPTY: "Payload is empty",
    Code.DEVICE_NOT_FOUND: "Device not found",
    Code.METHODS_NOT_CONSISTENT: "Methods not consistent",
}
