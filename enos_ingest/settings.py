"""Every setting of one service, with its default, its range and what it is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import enos_ingest
from enos_ingest.errors import ConfigError
from enos_ingest.sockets import Bind

__all__ = [
    "PACKAGED_MODELS",
    "CodecsSettings",
    "CommandsSettings",
    "HttpSettings",
    "LimitsSettings",
    "LogSettings",
    "ModelsSettings",
    "MqttSettings",
    "RegistrySettings",
    "SecuritySettings",
    "Settings",
    "StorageSettings",
]

PACKAGED_MODELS = Path(enos_ingest.__file__).parent / "schemas" / "models"
"""The sample thing models that come with the package."""

_MQTT_LONGEST = 268_435_455
"""The longest packet that MQTT can announce [MQTT 2.2.3]."""


def _about(
    text: str, *, low: float | None = None, high: float | None = None, choices: Sequence[str] = (), empty: bool = False
) -> dict[str, Any]:
    """The metadata of a setting: its help text and its range; `empty` says whether a text may be ""."""
    return {"help": text, "low": low, "high": high, "choices": tuple(choices), "empty": empty}


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """The MQTT listener."""

    bind: Bind = field(
        default=Bind("127.0.0.1", 1883),
        metadata=_about("Where devices and MQTT tools connect; port 0 takes any free port, 0.0.0.0 all addresses."),
    )
    tls_bind: Bind | None = field(
        default=None,
        metadata=_about(
            'Where they connect with TLS, usually port 8883; "" for nowhere. Needs tls_certificate and tls_key.',
            empty=True,
        ),
    )
    tls_certificate: str = field(
        default="",
        metadata=_about(
            "The file of the hub's certificate, as PEM, followed by those that lead to its root; read again on SIGHUP.",
            empty=True,
        ),
    )
    tls_key: str = field(
        default="",
        metadata=_about("The file of the certificate's private key, as PEM, without a passphrase.", empty=True),
    )
    tls_client_ca: str = field(
        default="",
        metadata=_about(
            "The file of the authorities, as PEM, that sign the certificates of clients; read again on SIGHUP.",
            empty=True,
        ),
    )
    tls_client: str = field(
        default="none",
        metadata=_about(
            "Whether clients show a certificate over TLS, a device one that names it; all but none need tls_client_ca.",
            choices=("none", "optional", "required"),
        ),
    )


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The HTTP listener: health, metrics, access tokens."""

    bind: Bind = field(
        default=Bind("127.0.0.1", 8080),
        metadata=_about(
            "Where the REST API, /healthz, /readyz, /metrics and /openapi.json are served; beyond loopback the last two"
            " want an application's API key, as the REST API always does."
        ),
    )


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """Where points, the registry and the quarantine are kept."""

    url: str = field(
        default="sqlite:///data/enos-ingest.db",
        metadata=_about("The database; three slashes start a relative path, four an absolute one."),
    )


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """Products, devices, gateways, applications and operators."""

    file: str = field(
        default="",
        metadata=_about(
            'A registry file that is applied at every start; "" for none (then: enos-ingest registry apply).',
            empty=True,
        ),
    )
    org_id: str = field(
        default="default",
        metadata=_about("The id of the one organisation that this hub stands for: `orgId` of every REST call."),
    )


@dataclass(frozen=True, slots=True)
class ModelsSettings:
    """Thing models."""

    path: str = field(
        default="models",
        metadata=_about(
            "The folder of thing models; while it is not set and there is no such folder, the packaged samples serve."
        ),
    )


@dataclass(frozen=True, slots=True)
class CodecsSettings:
    """Codecs of products with a format of their own."""

    path: str = field(
        default="codecs",
        metadata=_about("A folder of codec modules, beside those that are installed; it need not exist."),
    )
    seconds: float = field(
        default=1.0,
        metadata=_about(
            "Seconds that one call of a codec may take; then its worker process is killed.", low=0.01, high=60
        ),
    )
    memory_mb: int = field(
        default=512,
        metadata=_about(
            "MiB of address space of a worker process, where the platform can bound it.", low=64, high=1_048_576
        ),
    )
    workers: int = field(
        default=8,
        metadata=_about("Worker processes at the most; with more codecs than that, some share one.", low=1, high=1000),
    )
    waiting: int = field(
        default=1000,
        metadata=_about(
            "Calls that wait for their turn with one worker process; one more is refused. Uplinks wait elsewhere.",
            low=1,
            high=1_000_000,
        ),
    )


@dataclass(frozen=True, slots=True)
class SecuritySettings:
    """Who gets in."""

    anonymous: bool = field(
        default=False,
        metadata=_about(
            "Let clients in without a user name, to read and publish; accepted only while all binds are loopback."
        ),
    )


@dataclass(frozen=True, slots=True)
class LimitsSettings:
    """What one client may take, and what all together may."""

    message_bytes: int = field(
        default=524_288,
        metadata=_about(
            "The longest payload that is read; a longer one is answered 1206.", low=1024, high=_MQTT_LONGEST
        ),
    )
    packet_bytes: int = field(
        default=1_048_576,
        metadata=_about(
            "The longest MQTT packet; a longer one closes the connection. At least message_bytes.",
            low=1024,
            high=_MQTT_LONGEST,
        ),
    )
    connect_bytes: int = field(
        default=16_384,
        metadata=_about(
            "The longest CONNECT packet, which anybody may send before being known.", low=256, high=1_048_576
        ),
    )
    connect_seconds: float = field(
        default=10.0,
        metadata=_about(
            "Seconds that a new connection may take to send CONNECT, the handshake of TLS included.", low=0.1, high=3600
        ),
    )
    connections: int = field(
        default=10_000, metadata=_about("MQTT connections at the same time.", low=1, high=1_000_000)
    )
    connections_per_address: int = field(
        default=10_000,
        metadata=_about(
            "The same, from one source address; IPv6 counts by /64. A whole site may be behind one address.",
            low=1,
            high=1_000_000,
        ),
    )
    connects_per_second: int = field(
        default=5000,
        metadata=_about(
            "New connections a second from one source address; as many may come at once.", low=1, high=1_000_000
        ),
    )
    tls_handshakes: int = field(
        default=1000,
        metadata=_about("Handshakes of TLS that wait for their turn; more are refused.", low=1, high=1_000_000),
    )
    in_flight: int = field(
        default=2000,
        metadata=_about(
            "Uplinks read and not yet committed, over all connections; at the limit reading stops until some are.",
            low=1,
            high=1_000_000,
        ),
    )
    in_flight_bytes: int = field(
        default=67_108_864,
        metadata=_about("The same, in bytes of payload: 2000 long messages could be 1 GiB.", low=1024, high=2**40),
    )
    in_flight_per_connection: int = field(
        default=256,
        metadata=_about(
            "Uplinks of one connection read and not yet committed; at the limit its reading stops until some are.",
            low=1,
            high=1_000_000,
        ),
    )
    unacknowledged: int = field(
        default=1000,
        metadata=_about(
            "Messages of QoS 1 to one client that it has not acknowledged; more go out with QoS 0, and TCP loses none.",
            low=1,
            high=65_535,
        ),
    )
    subscriptions: int = field(
        default=2000,
        metadata=_about(
            "Topic filters per connection; a gateway needs several for each sub-device.", low=1, high=100_000
        ),
    )
    sub_devices_per_gateway: int = field(
        default=200,
        metadata=_about("Sub-devices that one gateway may have online at the same time.", low=1, high=100_000),
    )
    max_future_seconds: int = field(
        default=0,
        metadata=_about(
            "Seconds that a point may be ahead of the clock; further ahead it is answered 1206. 0 for no bound.",
            low=0,
            high=10_000_000_000,
        ),
    )
    quarantine_rows: int = field(
        default=10_000, metadata=_about("Rejected messages kept; beyond that the oldest go.", low=1, high=1_000_000_000)
    )
    quarantine_bytes: int = field(
        default=67_108_864,
        metadata=_about("Bytes of rejected messages kept; beyond that the oldest go.", low=1024, high=2**50),
    )
    http_connections: int = field(
        default=4096,
        metadata=_about("HTTP connections at the same time; more are closed at once.", low=1, high=1_000_000),
    )
    http_requests: int = field(
        default=4000,
        metadata=_about(
            "HTTP calls answered at the same time; more get 503, on the connections that http_connections has left.",
            low=1,
            high=1_000_000,
        ),
    )
    http_body_bytes: int = field(
        default=1_048_576,
        metadata=_about("The longest body of an HTTP call; a longer one is answered 413.", low=1024, high=2**30),
    )
    calls_per_second: int = field(
        default=2000,
        metadata=_about(
            "HTTP calls a second of one application; as many may come at once. More get 429.", low=1, high=1_000_000
        ),
    )
    drain_seconds: float = field(
        default=10.0,
        metadata=_about("Seconds that SIGTERM may take to commit and answer what was read.", low=0, high=3600),
    )
    outgoing_bytes: int = field(
        default=4_194_304,
        metadata=_about(
            "Bytes waiting for one client that does not read; beyond that it is disconnected.", low=4096, high=2**30
        ),
    )
    outgoing_bytes_total: int = field(
        default=268_435_456,
        metadata=_about(
            "The same, for all together; beyond that those are disconnected for whom most waits.", low=4096, high=2**40
        ),
    )
    incoming_bytes_total: int = field(
        default=134_217_728,
        metadata=_about(
            "Bytes of packets over 16 KiB being read, over all connections; further ones wait. At least packet_bytes.",
            low=1024,
            high=2**40,
        ),
    )


@dataclass(frozen=True, slots=True)
class CommandsSettings:
    """Values and service calls that business software sends to devices."""

    node: int = field(
        default=0,
        metadata=_about(
            "The number of this hub, another one for each hub of a site: no two give a command the same id.",
            low=0,
            high=255,
        ),
    )
    cached_per_device: int = field(
        default=50,
        metadata=_about(
            "Commands that wait for one device to come online; a further one is answered 11902.", low=1, high=10_000
        ),
    )
    waiting: int = field(
        default=10_000,
        metadata=_about(
            "Callers that wait for the answer of a device, over all devices; further ones are turned away.",
            low=1,
            high=1_000_000,
        ),
    )
    kept_days: int = field(default=30, metadata=_about("Days that a finished command is kept.", low=1, high=36_500))
    kept: int = field(
        default=1_000_000,
        metadata=_about("Finished commands kept; beyond that the oldest go.", low=1, high=1_000_000_000),
    )


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is written to standard error."""

    level: str = field(
        default="info",
        metadata=_about("The least level that is written.", choices=("debug", "info", "warning", "error")),
    )
    format: str = field(
        default="auto",
        metadata=_about(
            "One line for people, or one JSON object; auto: human on a terminal.", choices=("auto", "human", "json")
        ),
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of one service.

    Attributes:
        base: the folder where relative paths start: the configuration file's, else the working folder.
        given: the settings, as `section.key`, that come from a file, the environment or a flag.
    """

    mqtt: MqttSettings = field(default_factory=MqttSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
    registry: RegistrySettings = field(default_factory=RegistrySettings)
    models: ModelsSettings = field(default_factory=ModelsSettings)
    codecs: CodecsSettings = field(default_factory=CodecsSettings)
    security: SecuritySettings = field(default_factory=SecuritySettings)
    limits: LimitsSettings = field(default_factory=LimitsSettings)
    commands: CommandsSettings = field(default_factory=CommandsSettings)
    log: LogSettings = field(default_factory=LogSettings)
    base: Path = field(default_factory=Path.cwd)
    given: frozenset[str] = field(default=frozenset(), compare=False)

    def __post_init__(self) -> None:
        """Check what no setting can know alone; raises ConfigError."""
        binds = {"mqtt.bind": self.mqtt.bind, "mqtt.tls_bind": self.mqtt.tls_bind, "http.bind": self.http.bind}
        for name, bind in binds.items():
            if self.security.anonymous and bind is not None and not bind.is_loopback:
                raise ConfigError(
                    f"security.anonymous = true would let everybody in: it is accepted only on a loopback bind"
                    f" such as 127.0.0.1, and {name} is {bind}"
                )
        if self.limits.packet_bytes < self.limits.message_bytes:
            raise ConfigError(
                f"limits.packet_bytes = {self.limits.packet_bytes} must be at least"
                f" limits.message_bytes = {self.limits.message_bytes}, as a packet holds a message"
            )
        if self.limits.incoming_bytes_total < self.limits.packet_bytes:
            raise ConfigError(
                f"limits.incoming_bytes_total = {self.limits.incoming_bytes_total} must be at least"
                f" limits.packet_bytes = {self.limits.packet_bytes}, as a packet needs so much room"
            )
        tls = {name: getattr(self.mqtt, name) for name in ("tls_bind", "tls_certificate", "tls_key")}
        absent = [f"mqtt.{name}" for name, value in tls.items() if not value]
        if absent and len(absent) < len(tls):
            raise ConfigError(
                "TLS needs mqtt.tls_bind, mqtt.tls_certificate and mqtt.tls_key, or none of them:"
                f" {' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} not set"
            )

        if (self.mqtt.tls_client != "none") != bool(self.mqtt.tls_client_ca):
            raise ConfigError(
                'certificates of clients need mqtt.tls_client_ca and mqtt.tls_client = "optional" or "required":'
                f" mqtt.tls_client is {self.mqtt.tls_client}, and mqtt.tls_client_ca is"
                f" {self.mqtt.tls_client_ca or 'not set'}"
            )
        if self.mqtt.tls_client_ca and absent:
            raise ConfigError("mqtt.tls_client_ca has no effect without mqtt.tls_bind, which is not set")

    def registry_file(self) -> Path | None:
        """The registry file to apply at start, None where none is set."""
        return self.base / self.registry.file if self.registry.file else None

    def tls_files(self) -> tuple[Path, Path]:
        """The files of the certificate and of its key; to be used where `mqtt.tls_bind` is set."""
        return self.base / self.mqtt.tls_certificate, self.base / self.mqtt.tls_key

    def tls_client_file(self) -> Path | None:
        """The file of those who sign the certificates of clients, None where none is asked for."""
        return self.base / self.mqtt.tls_client_ca if self.mqtt.tls_client_ca else None

    def codecs_folder(self) -> Path:
        """The folder of codec modules, which need not exist."""
        return self.base / self.codecs.path

    def models_folder(self) -> tuple[Path, bool]:
        """The folder of thing models, and whether it is the packaged samples for want of one."""
        folder = self.base / self.models.path
        if "models.path" in self.given or self.models != ModelsSettings() or folder.exists():
            return folder, False
        return PACKAGED_MODELS, True
