"""Every setting of one service, with its default, its range and what it is for; `limits` has those that bound it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import enos_ingest
from enos_ingest.about import about
from enos_ingest.errors import ConfigError
from enos_ingest.limits import LimitsSettings
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


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """The MQTT listener."""

    bind: Bind = field(
        default=Bind("127.0.0.1", 1883),
        metadata=about("Where devices and MQTT tools connect; port 0 takes any free port, 0.0.0.0 all addresses."),
    )
    tls_bind: Bind | None = field(
        default=None,
        metadata=about(
            'Where they connect with TLS, usually port 8883; "" for nowhere. Needs tls_certificate and tls_key.',
            empty=True,
        ),
    )
    tls_certificate: str = field(
        default="",
        metadata=about(
            "The file of the hub's certificate, as PEM, followed by those that lead to its root; read again on SIGHUP.",
            empty=True,
        ),
    )
    tls_key: str = field(
        default="",
        metadata=about("The file of the certificate's private key, as PEM, without a passphrase.", empty=True),
    )
    tls_client_ca: str = field(
        default="",
        metadata=about(
            "The file of the authorities, as PEM, that sign the certificates of clients; read again on SIGHUP.",
            empty=True,
        ),
    )
    tls_client: str = field(
        default="none",
        metadata=about(
            "Whether clients show a certificate over TLS, a device one that names it; all but none need tls_client_ca.",
            choices=("none", "optional", "required"),
        ),
    )


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The HTTP listener: the REST API, access tokens, health, metrics."""

    bind: Bind = field(
        default=Bind("127.0.0.1", 8080),
        metadata=about(
            "Where the REST API, /healthz, /readyz, /metrics and /openapi.json are served; beyond loopback the last two"
            " want an application's API key, as the REST API always does."
        ),
    )


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """Where points, the registry and the quarantine are kept."""

    url: str = field(
        default="sqlite:///data/enos-ingest.db",
        metadata=about("The database; three slashes start a relative path, four an absolute one."),
    )


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """Products, devices, gateways, applications and operators."""

    file: str = field(
        default="",
        metadata=about(
            'A registry file that is applied at every start; "" for none (then: enos-ingest registry apply).',
            empty=True,
        ),
    )
    org_id: str = field(
        default="default",
        metadata=about("The id of the one organisation that this hub stands for: `orgId` of every REST call."),
    )


@dataclass(frozen=True, slots=True)
class ModelsSettings:
    """Thing models."""

    path: str = field(
        default="models",
        metadata=about(
            "The folder of thing models; while it is not set and there is no such folder, the packaged samples serve."
        ),
    )


@dataclass(frozen=True, slots=True)
class CodecsSettings:
    """Codecs of products with a format of their own."""

    path: str = field(
        default="codecs",
        metadata=about("A folder of codec modules, beside those that are installed; it need not exist."),
    )
    seconds: float = field(
        default=1.0,
        metadata=about(
            "Seconds that one call of a codec may take; then its worker process is killed.", low=0.01, high=60
        ),
    )
    memory_mb: int = field(
        default=512,
        metadata=about(
            "MiB of address space of a worker process, where the platform can bound it.", low=64, high=1_048_576
        ),
    )
    workers: int = field(
        default=8,
        metadata=about("Worker processes at the most; with more codecs than that, some share one.", low=1, high=1000),
    )
    waiting: int = field(
        default=1000,
        metadata=about(
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
        metadata=about(
            "Let clients in without a user name, to read and publish; accepted only while all binds are loopback."
        ),
    )


@dataclass(frozen=True, slots=True)
class CommandsSettings:
    """Values and service calls that business software sends to devices."""

    node: int = field(
        default=0,
        metadata=about(
            "The number of this hub, another one for each hub of a site: no two give a command the same id.",
            low=0,
            high=255,
        ),
    )
    cached_per_device: int = field(
        default=50,
        metadata=about(
            "Commands that wait for one device to come online; a further one is answered 11902.", low=1, high=10_000
        ),
    )
    settle_seconds: float = field(
        default=1.0,
        metadata=about(
            "Seconds from a device's coming online to its cached commands, unless it subscribes to their topic.",
            low=0,
            high=60,
        ),
    )
    waiting: int = field(
        default=10_000,
        metadata=about(
            "Callers that wait for the answer of a device, over all devices; further ones are turned away.",
            low=1,
            high=1_000_000,
        ),
    )
    kept_days: int = field(default=30, metadata=about("Days that a finished command is kept.", low=1, high=36_500))
    kept: int = field(
        default=1_000_000,
        metadata=about("Finished commands kept; beyond that the oldest go.", low=1, high=1_000_000_000),
    )
    kept_bytes: int = field(
        default=2**30,
        metadata=about("Bytes of finished commands kept; beyond that the oldest go.", low=1024, high=2**50),
    )


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is written to standard error."""

    level: str = field(
        default="info",
        metadata=about("The least level that is written.", choices=("debug", "info", "warning", "error")),
    )
    format: str = field(
        default="auto",
        metadata=about(
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
