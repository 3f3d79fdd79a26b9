"""The certificate that the settings name, from before it is loaded: SIGHUP may come at any time."""

from __future__ import annotations

from enos_ingest.endpoint.tls import ServerCertificate
from enos_ingest.errors import ConfigError
from enos_ingest.logs import get_logger
from enos_ingest.settings import Settings

__all__ = ["HubCertificate"]

log = get_logger(__name__)


class HubCertificate:
    """Loads and reloads the certificate of the listener for TLS, if there is to be one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loaded: ServerCertificate | None = None

    @property
    def expires(self) -> float | None:
        """When it expires, in seconds since 1970; None where there is none, or that cannot be read."""
        expires = self._loaded.expires if self._loaded else None
        return expires.timestamp() if expires else None

    def load(self) -> ServerCertificate:
        """Read the files of the settings; to be used where `mqtt.tls_bind` is set.

        Raises:
            ConfigError: as `ServerCertificate`.
        """
        self._loaded = ServerCertificate(
            *self._settings.tls_files(),
            self._settings.tls_client_file(),
            client_required=self._settings.mqtt.tls_client == "required",
        )
        return self._loaded

    def reload(self) -> None:
        """Read the certificate and its key again; new connections are served with them."""
        if self._loaded is None:
            log.info("there is no certificate to read again, as mqtt.tls_bind is not set")
            return
        try:
            self._loaded.reload()
        except ConfigError as error:
            log.error("the certificate cannot be used, the last one stays in force", error=str(error))
        else:
            log.info("certificate reloaded", file=self._settings.mqtt.tls_certificate)
