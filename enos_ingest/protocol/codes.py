"""Return codes in replies to devices."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Code"]


class Code(IntEnum):
    """Return codes as EnOS documents them, by the documented wording."""

    SUCCESS = 200
    TOO_MANY_REQUESTS = 429
    ALREADY_REGISTERED = 702
    DEVICE_NOT_EXISTED = 705
    DEVICE_DISABLED = 723
    NOT_IN_TOPOLOGY = 740
    SIGN_CHECK_FAILED = 742
    MUST_USE_TLS = 746
    ACTIVATION_NOT_ALLOWED = 770
    ALREADY_ACTIVATED = 771
    NO_WRITE_PERMISSION = 1009
    PARSE_ERROR = 1200
    MODEL_VALIDATE_FAILED = 1204
    DATA_FORMAT_ERROR = 1206
    NO_SUB_DEVICE_PERMISSION = 1212
    PAYLOAD_FORMAT_ERROR = 1220
    PAYLOAD_EMPTY = 1251
    REMOVE_TOPO_FAILURE = 1256
    DEVICE_NOT_FOUND = 1257
    METHODS_NOT_CONSISTENT = 1260
