"""Who is online: sequences of connects, logins, logouts and disconnects against a model that is easy to trust."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from enos_ingest.devices.directory import Device, Directory, Product
from enos_ingest.devices.presence import Presence
from enos_ingest.protocol.identity import DeviceId

DEVICES = [DeviceId("P", key) for key in ("gw1", "gw2", "sub1", "sub2")]
GW1, GW2, SUB1, SUB2 = DEVICES

devices = st.sampled_from(DEVICES)


class PresenceMachine(RuleBasedStateMachine):
    """The model: which devices are connected, and through whom each sub-device last logged in."""

    def __init__(self) -> None:
        super().__init__()
        self.presence = Presence()
        self.told: list[DeviceId] = []
        self.presence.on_online = self.told.append
        self.history: dict[DeviceId, list[tuple[bool, DeviceId | None]]] = {}
        self.presence.on_change = self.note
        self.connected: set[DeviceId] = set()
        self.login_by: dict[DeviceId, DeviceId] = {}
        self.seen: set[DeviceId] = set()

    def note(self, device: DeviceId, online: bool, why: str, gateway: DeviceId | None) -> None:
        """A change that is told."""
        assert why
        self.history.setdefault(device, []).append((online, gateway))

    @precondition(lambda self: len(self.connected) < len(DEVICES))
    @rule(data=st.data())
    def connect(self, data: st.DataObject) -> None:
        """Any device may connect; a newer connection comes after the end of the older one."""
        device = data.draw(st.sampled_from(sorted(set(DEVICES) - self.connected)))
        self.presence.connect(device)
        self.connected.add(device)
        assert self.told.pop() == device

    @precondition(lambda self: self.connected)
    @rule(data=st.data())
    def disconnect(self, data: st.DataObject) -> None:
        """It takes the sub-devices along, and says which."""
        device = data.draw(st.sampled_from(sorted(self.connected)))
        self.connected.remove(device)
        gone = {sub_device for sub_device, gateway in self.login_by.items() if gateway == device}
        self.login_by = {sub: gateway for sub, gateway in self.login_by.items() if gateway != device}
        assert self.presence.disconnect(device) == gone

    @rule(gateway=devices, sub_device=devices)
    def login(self, gateway: DeviceId, sub_device: DeviceId) -> None:
        """The newest login wins."""
        self.presence.login(gateway, sub_device)
        self.login_by[sub_device] = gateway
        assert self.told.pop() == sub_device

    @rule(gateway=devices, sub_device=devices)
    def logout(self, gateway: DeviceId, sub_device: DeviceId) -> None:
        """Only the gateway of the last login can log a sub-device out."""
        was_online = self.login_by.get(sub_device) == gateway
        assert self.presence.logout(gateway, sub_device) == was_online
        if was_online:
            del self.login_by[sub_device]

    @rule(device=devices)
    def first_login(self, device: DeviceId) -> None:
        """True once a device."""
        assert self.presence.is_first_login(device) == (device not in self.seen)
        self.seen.add(device)

    @invariant()
    def agrees(self) -> None:
        """Whatever is asked has the same answer."""
        online = self.connected | self.login_by.keys()
        assert self.told == []
        assert self.presence.online == len(online)
        for device in DEVICES:
            last, through = self.history.get(device, [(False, None)])[-1]
            assert last == (device in online)
            ways = {self.login_by.get(device)} | ({None} if device in self.connected else set())
            assert not last or through in ways
            assert self.presence.is_online(device) == (device in online)
            assert self.presence.gateway_of(device) == self.login_by.get(device)
            subs = {sub for sub, gateway in self.login_by.items() if gateway == device}
            assert self.presence.sub_devices(device) == subs
            for sub in DEVICES:
                assert self.presence.is_online_through(device, sub) == (sub in subs)


TestPresenceMachine = PresenceMachine.TestCase


def test_nobody_is_online_at_start() -> None:
    """Nothing is known of the time before."""
    presence = Presence()
    assert presence.online == 0
    assert not presence.is_online(GW1)


def test_the_newest_login_wins_over_another_gateway() -> None:
    """The end of the first gateway's connection then changes nothing."""
    presence = Presence()
    for gateway in (GW1, GW2):
        presence.connect(gateway)
        presence.login(gateway, SUB1)
    assert presence.is_online_through(GW2, SUB1)
    assert not presence.is_online_through(GW1, SUB1)
    assert not presence.logout(GW1, SUB1)
    assert presence.disconnect(GW1) == frozenset()
    assert presence.is_online(SUB1)
    assert presence.disconnect(GW2) == {SUB1}
    assert presence.online == 0


def test_a_sub_device_with_its_own_connection_stays_online() -> None:
    """Its gateway's end takes only the login away."""
    presence = Presence()
    presence.connect(GW1)
    presence.connect(SUB2)
    presence.login(GW1, SUB2)
    assert presence.online == 2
    assert presence.disconnect(GW1) == {SUB2}
    assert presence.is_online(SUB2)
    assert not presence.is_online_through(GW1, SUB2)


def test_sub_devices_that_the_registry_no_longer_lets_in_go_offline() -> None:
    """Removed, disabled, or moved from their gateway; they are named, all others stay."""
    keys = ["kept", "removed", "disabled", "moved"]
    kept, removed, disabled, moved = subs = [DeviceId("P", key) for key in keys]
    presence = Presence()
    presence.connect(GW1)
    for sub in subs:
        presence.login(GW1, sub)
    rows = [Device(GW1), Device(GW2), Device(kept), Device(disabled, enabled=False), Device(moved)]
    directory = Directory([Product("P")], rows, [(GW1, kept), (GW1, disabled), (GW2, moved)])
    assert presence.forget_strangers(directory) == {removed, disabled, moved}
    assert presence.sub_devices(GW1) == {kept}
    assert presence.online == 2
    assert presence.forget_strangers(directory) == frozenset()


def test_a_device_that_was_removed_may_log_in_for_the_first_time_again() -> None:
    """It is another device of the same name."""
    presence = Presence()
    there, gone = Directory([Product("P")], [Device(GW1)]), Directory([Product("P")])
    assert presence.is_first_login(GW1)
    presence.forget_strangers(there)
    assert not presence.is_first_login(GW1)
    presence.forget_strangers(gone)
    assert presence.is_first_login(GW1)


Told = list[tuple[DeviceId, bool, str, DeviceId | None]]


def listening() -> tuple[Presence, Told]:
    """A presence, and what it tells."""
    presence, told = Presence(), Told()
    presence.on_change = lambda *change: told.append(change)
    return presence, told


def test_each_change_is_told_with_its_reason() -> None:
    """A take-over is an end and a beginning; the same login again is no change; a gateway takes its own along."""
    presence, told = listening()
    presence.connect(GW1)
    presence.connect(GW2)
    presence.login(GW1, SUB1)
    presence.login(GW1, SUB1)
    presence.login(GW2, SUB1)
    presence.login(GW2, SUB2)
    presence.logout(GW2, SUB1)
    presence.disconnect(GW2, "keep_alive")
    presence.disconnect(GW1)
    assert told == [
        (GW1, True, "connected", None),
        (GW2, True, "connected", None),
        (SUB1, True, "login", GW1),
        (SUB1, False, "taken_over", GW1),
        (SUB1, True, "login", GW2),
        (SUB2, True, "login", GW2),
        (SUB1, False, "logout", GW2),
        (GW2, False, "keep_alive", None),
        (SUB2, False, "gateway", GW2),
        (GW1, False, "client", None),
    ]


def test_a_device_that_is_still_there_by_another_way_is_told_as_online() -> None:
    """With the way that is left, so that the last word is how it is."""
    presence, told = listening()
    presence.connect(GW1)
    presence.login(GW1, SUB1)
    presence.connect(SUB1)
    del told[:]
    presence.disconnect(SUB1, "network")
    assert told == [(SUB1, True, "network", GW1)]
    presence.connect(SUB1)
    presence.logout(GW1, SUB1)
    assert told[2:] == [(SUB1, True, "logout", None)]


def test_what_the_registry_did_is_told() -> None:
    """Deleted, disabled, or moved."""
    presence, told = listening()
    presence.connect(GW1)
    subs = [DeviceId("P", key) for key in ("deleted", "disabled", "moved")]
    for sub in subs:
        presence.login(GW1, sub)
    del told[:]
    deleted, disabled, moved = subs
    rows = [Device(GW1), Device(disabled, enabled=False), Device(moved)]
    presence.forget_strangers(Directory([Product("P")], rows, [(GW1, deleted), (GW1, disabled)]))
    assert told == [
        (deleted, False, "deleted", GW1),
        (disabled, False, "disabled", GW1),
        (moved, False, "registry", GW1),
    ]


def test_a_login_lasts_no_longer_than_the_secret_and_the_way() -> None:
    """Whose secret is another one goes offline, and whose product wants TLS; a newer login has the newer secret."""
    presence, told = listening()
    presence.connect(GW1)
    kept, changed, again, careful = subs = [DeviceId(key, "d") for key in ("P", "Q", "R", "T")]
    for sub in subs:
        presence.login(GW1, sub, "old")
    presence.login(GW1, again, "new")
    del told[:]
    products = [*(Product(key) for key in "PQR"), Product("T", require_tls=True)]
    rows = [Device(GW1), Device(kept, "old"), Device(changed, "new"), Device(again, "new"), Device(careful, "old")]
    directory = Directory(products, rows, [(GW1, sub) for sub in subs])
    assert presence.forget_strangers(directory) == {changed, careful}
    assert told == [(changed, False, "registry", GW1), (careful, False, "registry", GW1)]
    assert presence.sub_devices(GW1) == {kept, again}


def test_a_login_lasts_no_longer_than_its_gateway_is_enabled() -> None:
    """Also where the gateway holds no connection that ends then, as with an operator's login in its name."""
    presence, told = listening()
    presence.login(GW1, SUB1)
    presence.login(GW2, SUB2)
    rows = [Device(GW1, enabled=False), Device(GW2), Device(SUB1), Device(SUB2)]
    directory = Directory([Product("P")], rows, [(GW1, SUB1), (GW2, SUB2)])
    assert presence.forget_strangers(directory) == {SUB1}
    assert told[-1] == (SUB1, False, "gateway", GW1)
    assert presence.is_online_through(GW2, SUB2)


def test_nobody_is_left_online_at_the_end() -> None:
    """Also sub-devices whose gateway was never connected, as an operator may log them in."""
    presence, told = listening()
    presence.login(GW1, SUB1)
    presence.close()
    assert told[1:] == [(SUB1, False, "stopped", GW1)]
    assert presence.online == 0
