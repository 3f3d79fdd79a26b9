"""The official Python SDK as a client, unmodified: how tests connect it, and how nothing of it is left."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from enos.core.internal.Profile import Profile
from enos.core.login.DynamicActivationLogin import DynamicActivationLogin
from enos.core.login.MessageIntegrationLogin import MessageIntegrationLogin
from enos.core.login.NormalDeviceLogin import NormalDeviceLogin
from enos.core.message.IConnectCallback import IConnectCallback
from enos.core.MqttClient import MqttClient
from enos.message.upstream.status.SubDeviceLoginRequest import SubDeviceLoginRequest

from enos_ingest.testing.hub import Hub
from tests.clients.proxy import Proxy
from tests.clients.world import GATEWAY, SECRETS
from tests.process import PATIENCE

__all__ = ["Connect", "Handler", "connecting", "login"]

Connect: TypeAlias = Callable[..., Any]

Handler: TypeAlias = Callable[[Any, Any], Any]
"""What a program registers for a kind of command: gets the command and what its topic holds, returns a reply."""

_THREADS = re.compile(r"paho-mqtt-client|default executor|.*\(_thread_main\)")
"""The names of threads that the SDK starts; the last one is how paho-mqtt 1.6 leaves it."""


@contextlib.contextmanager
def connecting(hub: Hub) -> Iterator[Connect]:
    """Connect the SDK as a device, in its blocking way with `wait`, through a proxy with `via`.

    `handlers` are registered before, by the class of the command. With `activated` the secret is the product's, and
    that is called with the device's own once the hub has told it. Every client is closed at the end, and no thread of
    any is left.
    """
    clients: list[Any] = []

    def start(
        device: str = GATEWAY,
        secret: str | None = None,
        sign_method: str | None = None,
        *,
        wait: bool = False,
        via: Hub | Proxy = hub,
        handlers: Mapping[Any, Handler] | None = None,
        activated: Callable[[str], None] | None = None,
    ) -> Any:
        url, (product_key, _, device_key) = f"tcp://{via.host}:{via.port}", device.partition("/")
        if device_key == "%channel%":
            credentials = MessageIntegrationLogin(url, product_key, secret or SECRETS[product_key])
        elif activated:
            credentials = DynamicActivationLogin(url, product_key, secret or SECRETS[product_key], device_key)
        else:
            credentials = NormalDeviceLogin(url, product_key, device_key, secret or SECRETS[device])
        profile = Profile.create_instance(credentials)
        if sign_method:
            profile.set_sign_method(sign_method)
        client = MqttClient(profile=profile)
        client.on_device_dynamic_active = activated
        clients.append(client)
        for command, handler in (handlers or {}).items():
            client.register_arrived_message_handler(command.get_class(), handler)
        if wait:
            # It begins to wait for CONNACK after asking for it, and waits its 10 seconds where that was too late.
            client.connect()
        else:
            callback, connected = IConnectCallback(), threading.Event()
            callback.on_connect = connected.set
            client.connect(callback)
            assert connected.wait(PATIENCE)
        return client

    yield start
    for client in clients:
        # Closing a client leaves sockets of its paho client open, and the thread at work where it was never let in.
        paho = client._MqttClient__connection._MqttConnection__paho_client  # noqa: SLF001
        client.close()
        paho.loop_stop()
        paho.reinitialise()
    assert [thread for thread in threading.enumerate() if _THREADS.match(thread.name)] == []


def login(device: str, secret: str | None = None) -> Any:
    """The request that logs a sub-device in."""
    product_key, _, device_key = device.partition("/")
    return (
        SubDeviceLoginRequest.builder().set_sub_device_info(product_key, device_key, secret or SECRETS[device]).build()
    )
