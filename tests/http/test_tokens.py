"""Access tokens: who gets one, how long it lasts, what ends it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.devices.directory import Application, Directory
from enos_ingest.http.tokens import Grant, Login, TokenCode, TokenRefusal, Tokens, is_current, sign_login

CLOCK = 1_795_221_824_968
SCADA = Application("scada", "scada-key", "scada-secret", scopes=frozenset({"control"}))
OTHER = Application("other", "other-key", "other-secret", scopes=frozenset({"read"}))


class Site:
    """Tokens with clocks that stand still until they are moved."""

    def __init__(self, applications: Iterable[Application] = (SCADA, OTHER)) -> None:
        self.clock = CLOCK
        self.now = 1000.0
        self.directory = Directory(applications=applications)
        self.tokens = Tokens(lambda: self.directory, now=lambda: self.now, clock=lambda: self.clock)
        self.sent = 0

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.clock += int(seconds * 1000)

    def login(self, application: Application = SCADA, token: str = "", *, at: int | None = None) -> Login:
        """A login with a timestamp of its own."""
        self.sent += 1
        timestamp = str(self.clock + self.sent if at is None else at)
        return Login(application.key, sign_login(application.key, token, timestamp, application.secret), timestamp)

    def get(self, application: Application = SCADA) -> Grant:
        return self.tokens.get(self.login(application))

    def holder(self, token: str) -> Application | None:
        """Whose token this is; None for no valid one."""
        found = self.tokens.find(token)
        return None if found is None or self.tokens.is_expired(found[0]) else found[1]


def refusal(site: Site, login: Login, token: str | None = None) -> TokenCode:
    with pytest.raises(TokenRefusal) as caught:
        site.tokens.get(login) if token is None else site.tokens.refresh(login, token)
    assert "secret" not in caught.value.message.replace("and secret", "")
    return caught.value.code


def test_the_digest_is_the_documented_one() -> None:
    """SHA-256 over key, timestamp and secret, as sha256sum prints it; a refresh may have the token in between."""
    without = "cda3638346f2d7f5e184e8c45d1ac11958f2bb0ba05a579a839fc0bad6d38fd5"
    with_token = "07f91e421524572bd002a7f98bede770e0070e48b4e162c47ce473247118e0dd"
    assert sign_login("key", "", "1572574909697", "secret") == without
    assert sign_login("key", "token", "1572574909697", "secret") == with_token


def test_a_token_lasts_two_hours_and_is_given_again_while_it_does() -> None:
    """With the seconds that it has left; whose it is can be looked up."""
    site = Site()
    first = site.get()
    assert first.seconds == 7200
    assert len(first.token) >= 43
    assert site.holder(first.token) == SCADA
    site.pass_by(7100.5)
    assert site.get() == Grant(first.token, 99)
    assert site.get(OTHER).token != first.token
    site.pass_by(99)
    # Less than a second is of no use to anybody.
    second = site.get()
    assert second.token != first.token
    assert second.seconds == 7200
    assert site.holder(first.token) == SCADA
    site.pass_by(0.5)
    assert site.holder(first.token) is None
    assert site.holder(second.token) == SCADA


def test_wrong_credentials_get_none() -> None:
    """An unknown key, another's digest, a digest of something else, the secret itself."""
    site = Site()
    right = site.login()
    assert refusal(site, Login("nobody", right.encryption, right.timestamp)) == TokenCode.UNKNOWN_KEY
    assert refusal(site, Login("", right.encryption, right.timestamp)) == TokenCode.UNKNOWN_KEY
    for encryption in ("", "0" * 64, right.encryption[:-1], SCADA.secret, site.login(OTHER).encryption, "é"):
        assert refusal(site, Login(SCADA.key, encryption, right.timestamp)) == TokenCode.WRONG_ENCRYPTION
    assert refusal(site, Login(SCADA.key, right.encryption, right.timestamp + "0")) == TokenCode.WRONG_ENCRYPTION
    assert len(site.tokens) == 0
    assert site.tokens.get(Login(SCADA.key, right.encryption.upper(), right.timestamp)).seconds == 7200


def test_an_application_without_a_key_gets_none() -> None:
    """It has an API key; an empty appKey is not its key."""
    site = Site([Application("grafana", api_key_hash="0" * 64)])
    assert refusal(site, Login("", sign_login("", "", str(CLOCK), ""), str(CLOCK))) == TokenCode.UNKNOWN_KEY


@pytest.mark.parametrize("away", [-600_001, 600_001])
def test_a_clock_that_is_far_away_is_told(away: int) -> None:
    """Ten minutes are allowed, one millisecond more is not."""
    site = Site()
    near = str(CLOCK + away - (1 if away > 0 else -1))
    assert site.tokens.get(Login(SCADA.key, sign_login(SCADA.key, "", near, SCADA.secret), near)).seconds == 7200
    far = str(CLOCK + away)
    login = Login(SCADA.key, sign_login(SCADA.key, "", far, SCADA.secret), far)
    assert refusal(site, login) == TokenCode.INVALID


@pytest.mark.parametrize(
    ("timestamp", "current"),
    [
        (str(CLOCK), True),
        ("", False),
        ("now", False),
        (f"+{CLOCK}", False),
        (f"{CLOCK}.0", False),
        (f"{CLOCK}\n", False),
        ("1_795_221_824_968", False),
        ("".join(chr(0xFF10 + int(digit)) for digit in str(CLOCK)), False),
        (f"0{CLOCK}", True),
        (f"0000{CLOCK}", False),
        (str(CLOCK // 1000), False),
    ],
)
def test_a_timestamp_is_digits(timestamp: str, current: bool) -> None:
    """Nothing that int() would take besides."""
    assert is_current(timestamp, CLOCK) is current


def test_a_login_is_taken_once() -> None:
    """Who overhears one cannot send it again, in the other case of letters neither."""
    site = Site()
    login = site.login()
    site.tokens.get(login)
    assert refusal(site, login) == TokenCode.REPEATED
    assert refusal(site, Login(login.app_key, login.encryption.upper(), login.timestamp)) == TokenCode.REPEATED
    site.pass_by(599.999)
    assert refusal(site, login) == TokenCode.REPEATED
    site.pass_by(1)
    assert refusal(site, login) == TokenCode.INVALID


def test_what_is_forgotten_is_not_taken_again() -> None:
    """Beyond 1000 logins the oldest goes, and none that is as old is taken any more."""
    site = Site()
    logins = [site.login(at=CLOCK + number) for number in range(1002)]
    for login in logins[1:]:
        site.tokens.get(login)
    # Full of these 1001 but for the first, it remembers none that is older.
    assert refusal(site, logins[0]) == TokenCode.REPEATED
    assert refusal(site, logins[1]) == TokenCode.REPEATED
    assert refusal(site, logins[2]) == TokenCode.REPEATED
    site.tokens.get(site.login(at=CLOCK + 2000))


def test_a_clock_that_is_set_back_lets_no_login_in_again() -> None:
    """What was too old to be remembered stays refused."""
    site = Site()
    login = site.login()
    site.tokens.get(login)
    site.pass_by(700)
    site.get()
    site.clock -= 700_000
    assert refusal(site, login) == TokenCode.REPEATED


def test_a_refresh_gives_a_new_token_and_lets_the_old_one_run_out() -> None:
    """Calls on their way go through; the digest may hold the token or not."""
    site = Site()
    first = site.get()
    site.pass_by(7000)
    second = site.tokens.refresh(site.login(token=first.token), first.token)
    assert second.token != first.token
    assert second.seconds == 7200
    assert site.get() == second
    third = site.tokens.refresh(site.login(), second.token)
    assert third.token not in {first.token, second.token}
    assert [site.holder(each.token) for each in (first, second, third)] == [None, SCADA, SCADA]
    assert len(site.tokens) == 2


def test_programs_that_share_an_application_do_not_end_each_others_tokens() -> None:
    """The second to refresh gets the token that the first was given."""
    site = Site()
    first = site.get()
    site.pass_by(7000)
    second = site.tokens.refresh(site.login(), first.token)
    site.pass_by(10)
    assert site.tokens.refresh(site.login(), first.token) == Grant(second.token, 7190)


def test_the_token_before_gets_a_new_one_where_the_latest_is_at_its_end() -> None:
    """Both were made at the same time, and have half a second left."""
    site = Site()
    first = site.get()
    second = site.tokens.refresh(site.login(), first.token)
    site.pass_by(7199.5)
    third = site.tokens.refresh(site.login(), first.token)
    assert third.token not in {first.token, second.token}


def test_a_refresh_needs_a_valid_token_of_the_application() -> None:
    """An expired one is told apart from one of another, or none."""
    site = Site()
    token, others = site.get().token, site.get(OTHER).token
    for wrong in ("", "x", others):
        assert refusal(site, site.login(), wrong) == TokenCode.REFRESH_FAILED
    assert refusal(site, Login(SCADA.key, "0" * 64, str(site.clock)), token) == TokenCode.WRONG_ENCRYPTION
    site.pass_by(7200)
    assert refusal(site, site.login(), token) == TokenCode.EXPIRED


def changed(change: str) -> list[Application]:
    """The applications after a change in the registry."""
    match change:
        case "removed":
            return [OTHER]
        case "secret":
            return [OTHER, Application("scada", "scada-key", "another-secret", scopes=SCADA.scopes)]
        case "key":
            return [OTHER, Application("scada", "another-key", "scada-secret", scopes=SCADA.scopes)]
        case _:
            return [OTHER, Application("scada-2", "scada-key", "scada-secret", scopes=SCADA.scopes)]


@pytest.mark.parametrize("change", ["removed", "secret", "key", "name"])
def test_a_token_ends_with_its_application(change: str) -> None:
    """At once, for a changed key or secret too; and nothing of it is kept when the next one comes."""
    site = Site()
    token, others = site.get().token, site.get(OTHER).token
    site.directory = Directory(applications=changed(change))
    assert site.holder(token) is None
    assert site.holder(others) == OTHER
    site.directory = Directory(applications=[*changed(change), Application("new", "new-key", "new-secret")])
    site.get(site.directory.applications["new"])
    assert len(site.tokens) == 2
    site.directory = Directory(applications=[SCADA, OTHER])
    assert site.holder(token) is None


def test_scopes_change_under_a_token_at_once() -> None:
    """They are the registry's, not the token's."""
    site = Site()
    token = site.get().token
    reading = Application("scada", "scada-key", "scada-secret", scopes=frozenset({"read"}))
    site.directory = Directory(applications=[reading])
    assert site.holder(token) == reading


def test_no_secret_is_shown() -> None:
    """Not where an object gets into a log line or a traceback."""
    site = Site()
    grant = site.get()
    found = site.tokens.find(grant.token)
    for shown in (repr(grant), repr(found), repr(vars(site.tokens)["_holders"])):
        assert grant.token not in shown
        assert SCADA.secret not in shown


@given(st.lists(st.tuples(st.sampled_from(["get", "refresh", "wait"]), st.sampled_from([SCADA, OTHER])), max_size=30))
def test_each_application_has_two_tokens_at_the_most(steps: list[tuple[str, Application]]) -> None:
    """Whatever it does; the one given last is valid, and its own."""
    site = Site()
    latest: dict[str, str] = {}
    for step, application in steps:
        match step:
            case "get":
                latest[application.name] = site.get(application).token
            case "refresh" if application.name in latest:
                token = latest[application.name]
                if site.holder(token) is not None:
                    latest[application.name] = site.tokens.refresh(site.login(application), token).token
            case _:
                site.pass_by(3000)
        assert len(site.tokens) <= 4
        for name, token in latest.items():
            holder = site.holder(token)
            assert holder is None or holder.name == name
        if step == "get":
            assert site.holder(latest[application.name]) == application
