"""Settings: the four layers, and what is said about a value that cannot be used."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from enos_ingest.config import find_config, load_settings
from enos_ingest.errors import ConfigError
from enos_ingest.settings import (
    LimitsSettings,
    ModelsSettings,
    MqttSettings,
    SecuritySettings,
    Settings,
)
from enos_ingest.slots import describe_settings
from enos_ingest.sockets import Bind

SAMPLE = Path(__file__).parent.parent / "enos-ingest.toml"


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "enos-ingest.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refusal(folder: Path, text: str | bytes) -> str:
    """What is said about a configuration file, without its path."""
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path, {})
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.startswith(f"{path}: ")
    return sentence.removeprefix(f"{path}: ")


def test_the_sample_file_as_it_is_changes_nothing() -> None:
    """The annotated sample holds every section and sets no value."""
    assert load_settings(SAMPLE, {}) == Settings(base=SAMPLE.parent)
    assert load_settings(SAMPLE, {}).given == frozenset()


def test_the_sample_file_uncommented_is_the_defaults(tmp_path: Path) -> None:
    """Every key is in the sample, at its default, in the order of the settings."""
    text = re.sub(r"(?m)^#(?=\w+ = )", "", SAMPLE.read_text())
    settings = load_settings(write(tmp_path, text), {})
    assert settings == Settings(base=tmp_path)
    keys = [f"{section}.{key}" for section, table in tomllib.loads(text).items() for key in table]
    assert keys == [f"{each.section}.{each.key}" for each in describe_settings()]
    assert settings.given == frozenset(keys)


@pytest.mark.parametrize("setting", describe_settings(), ids=lambda each: f"{each.section}.{each.key}")
def test_the_sample_file_explains_each_key_in_the_words_of_the_settings(setting: object) -> None:
    """The comment above a key is its help text and its range."""
    description = next(each for each in describe_settings() if each == setting)
    before = SAMPLE.read_text().partition(f"[{description.section}]\n")[2].partition(f"\n#{description.key} = ")[0]
    comment = " ".join(line.removeprefix("# ") for line in before.rpartition("\n\n")[2].splitlines())
    ranged = description.allowed.startswith(("a whole number", "a number", "one of"))
    assert comment == description.help + (f" Takes {description.allowed}." if ranged else "")


def test_each_description_names_the_variable_that_sets_it() -> None:
    """The variable of a setting is accepted with the setting's own default."""
    environ = {each.env: each.default.strip('"') for each in describe_settings()}
    assert len(environ) == len(describe_settings())
    assert load_settings(None, environ) == Settings()
    assert "ENOS_INGEST__MQTT__BIND" in environ


def test_flag_over_environment_over_file_over_default(tmp_path: Path) -> None:
    """Each layer wins over the one below."""
    path = write(tmp_path, "[limits]\nconnections = 1\nsubscriptions = 1\nin_flight = 1\n")
    environ = {"ENOS_INGEST__LIMITS__CONNECTIONS": "2", "ENOS_INGEST__LIMITS__SUBSCRIPTIONS": "2", "HOME": "/"}
    limits = load_settings(path, environ, {"limits.connections": "3"}).limits
    assert (limits.connections, limits.subscriptions, limits.in_flight) == (3, 2, 1)
    assert limits.drain_seconds == 10.0


def test_environment_values_are_read_by_the_type_of_the_setting() -> None:
    """Texts, numbers, truth values and addresses."""
    environ = {
        "ENOS_INGEST__MQTT__BIND": "[::1]:0",
        "ENOS_INGEST__SECURITY__ANONYMOUS": "True",
        "ENOS_INGEST__LIMITS__CONNECT_SECONDS": "2",
        "ENOS_INGEST__REGISTRY__ORG_ID": "42",
    }
    settings = load_settings(None, environ)
    assert settings.mqtt.bind == Bind("::1", 0)
    assert settings.security.anonymous is True
    assert settings.limits.connect_seconds == 2.0
    assert isinstance(settings.limits.connect_seconds, float)
    assert settings.registry.org_id == "42"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[mqqt]\n", "unknown section [mqqt]; did you mean [mqtt]?"),
        ("[zzz]\n", "there are [mqtt], [http], [storage]"),
        ("[limits]\nconections = 3\n", "unknown setting limits.conections; did you mean limits.connections?"),
        ("[mqtt]\nmessage_bytes = 3\n", "unknown setting mqtt.message_bytes; did you mean limits.message_bytes?"),
        ("[mqtt]\nx = 3\n", "unknown setting mqtt.x; there are mqtt.bind"),
        ('[mqtt]\n"a\\nb" = 3\n', 'unknown setting "mqtt.a\\nb"'),
        ('bind = "x"\n', "bind stands outside any section; it belongs under [mqtt] or [http]"),
        ("mqqt = 1\n", "mqqt stands outside any section; did you mean [mqtt]?"),
        ("mqtt = 1\n", "mqtt is a section: write [mqtt] on a line of its own"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(tmp_path: Path, text: str, said: str) -> None:
    """A misspelt section or key never passes unseen."""
    assert said in refusal(tmp_path, text)


def test_an_unknown_variable_is_refused_with_the_nearest_one() -> None:
    """A misspelt variable with our prefix is an error; other programs' variables are not ours to judge."""
    with pytest.raises(ConfigError, match=r"ENOS_INGEST__MQTT__BNID; did you mean ENOS_INGEST__MQTT__BIND\?"):
        load_settings(None, {"ENOS_INGEST__MQTT__BNID": "127.0.0.1:1"})


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("ENOS_INGEST_MQTT_BIND", "ENOS_INGEST__MQTT__BIND"),
        ("ENOS_INGEST_MQTT__BIND", "ENOS_INGEST__MQTT__BIND"),
        ("ENOS_INGEST__MQTT_BIND", "ENOS_INGEST__MQTT__BIND"),
        ("ENOS_INGEST_LIMITS_IN_FLIGHT", "ENOS_INGEST__LIMITS__IN_FLIGHT"),
        ("ENOS_INGEST_LIMIT_IN_FLIGHT", "ENOS_INGEST__LIMITS__IN_FLIGHT"),
        ("ENOS_INGEST_MQTT_PORT", "ENOS_INGEST__MQTT__BIND"),
        ("ENOS_INGEST_MQTT_KEY", "ENOS_INGEST__MQTT__TLS_KEY"),
        ("ENOS_INGEST_KEYY", "ENOS_INGEST_KEY"),
        ("ENOS_INGEST_API_KEY", "ENOS_INGEST_KEY"),
        ("ENOS_INGEST__KEY", "ENOS_INGEST_KEY"),
    ],
)
def test_a_variable_that_is_nearly_one_of_ours_is_refused(variable: str, meant: str) -> None:
    """It would otherwise be ignored, and the hub run on a default."""
    with pytest.raises(ConfigError) as caught:
        load_settings(None, {variable: "127.0.0.1:1"})
    assert str(caught.value) == f"environment: unknown variable {variable}; did you mean {meant}?"


@pytest.mark.parametrize(
    "variables",
    [
        {"ENOS_INGEST_KEY": "k", "ENOS_INGEST_PYTHON": "python3", "ENOS_INGEST_TESTS_NO_SKIP": "1"},
        {"ENOS_INGEST": "x", "ENOSINGEST_MQTT_BIND": "x", "MY_ENOS_INGEST_MQTT_BIND": "x"},
        {
            "ENOS_INGEST_SERVICE_HOST": "10.0.0.1",
            "ENOS_INGEST_SERVICE_PORT": "1883",
            "ENOS_INGEST_SERVICE_PORT_MQTT": "1883",
            "ENOS_INGEST_PORT": "tcp://10.0.0.1:1883",
            "ENOS_INGEST_PORT_1883_TCP": "tcp://10.0.0.1:1883",
            "ENOS_INGEST_PORT_1883_TCP_PROTO": "tcp",
            "ENOS_INGEST_PORT_1883_TCP_PORT": "1883",
            "ENOS_INGEST_PORT_1883_TCP_ADDR": "10.0.0.1",
        },
        {
            "ENOS_INGEST_HTTP_SERVICE_HOST": "fd00::1",
            "ENOS_INGEST_HTTP_PORT": "tcp://[fd00::1]:8080",
            "ENOS_INGEST_HTTP_PORT_8080_TCP_ADDR": "fd00::1",
        },
    ],
)
def test_variables_that_are_no_settings_are_left_alone(variables: dict[str, str]) -> None:
    """Those of the shell and of the scripts, other programs', and what Kubernetes sets for a service enos-ingest."""
    assert load_settings(None, variables) == Settings()


def test_an_unknown_flag_is_refused_with_the_nearest_name() -> None:
    """The same rule for what was typed."""
    with pytest.raises(ConfigError, match=r"command line: unknown setting http\.bnd; did you mean http\.bind\?"):
        load_settings(None, {}, {"http.bnd": "127.0.0.1:1"})


def test_a_fault_names_where_the_value_came_from() -> None:
    """A file by its path, a variable by its name, anything else as the caller says."""
    said = r"settings: limits\.in_flight must be a whole number from 1 to 1000000, not 0"
    with pytest.raises(ConfigError, match=said):
        load_settings(None, {}, {"limits.in_flight": "0"}, origin="settings")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[limits]\nconnections = "many"', 'limits.connections must be a whole number from 1 to 1000000, not "many"'),
        ("[limits]\nconnections = 0", "limits.connections must be a whole number from 1 to 1000000, not 0"),
        ("[limits]\nconnections = 1000001", "not 1000001"),
        ("[limits]\nconnections = 2.0", "limits.connections must be a whole number from 1 to 1000000, not 2.0"),
        ("[limits]\nconnections = true", "limits.connections must be a whole number from 1 to 1000000, not true"),
        ("[limits]\nconnect_seconds = false", "limits.connect_seconds must be a number from 0.1 to 3600, not false"),
        ("[limits]\nconnect_seconds = nan", "limits.connect_seconds must be a number from 0.1 to 3600, not nan"),
        ("[limits]\nconnect_seconds = inf", "not inf"),
        ("[limits]\nconnect_seconds = 1" + "0" * 400, "not a number of 1329 bits"),
        ("[limits]\nconnections = 0x" + "f" * 5000, "not a number of 20000 bits"),
        ("[storage]\nurl = 0x" + "f" * 5000, "not a number of 20000 bits"),
        ('[log]\nlevel = "' + "x" * 100 + '"', 'not "' + "x" * 79 + "..."),
        ("[limits]\nconnect_seconds = [1]", "not a list"),
        ("[security]\nanonymous = 1", "security.anonymous must be true or false, not 1"),
        ("[storage]\nurl = 5", "storage.url must be a text that is not empty, not 5"),
        ('[storage]\nurl = ""', 'storage.url must be a text that is not empty, not ""'),
        ('[models]\npath = "a\\u0000b"', "models.path must be a text that is not empty"),
        ("[registry.file]\nx = 1", "registry.file must be a text, not a table"),
        ("[registry]\nfile = 2024-05-01", "registry.file must be a text, not 2024-05-01"),
        ('[log]\nlevel = "loud"', 'log.level must be one of "debug", "info", "warning", "error", not "loud"'),
        ("[mqtt]\nbind = 1883", "mqtt.bind must be HOST:PORT, not 1883"),
        ('[mqtt]\nbind = "1883"', "mqtt.bind must be HOST:PORT with a port from 0 to 65535"),
        ('[mqtt]\nbind = "a\\u001b[31m:1"', 'not "a\\u001b[31m:1"'),
        ('[mqtt]\nbind = ""', "mqtt.bind must be HOST:PORT with a port from 0 to 65535"),
        ("[mqtt]\ntls_bind = 8883", 'mqtt.tls_bind must be HOST:PORT, or "" for none, not 8883'),
        ('[mqtt]\ntls_bind = "8883"', "mqtt.tls_bind must be HOST:PORT with a port from 0 to 65535"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(tmp_path: Path, text: str, said: str) -> None:
    """The sentence names the key, the value and the range."""
    assert said in refusal(tmp_path, text)


@pytest.mark.parametrize("text", ["yes", "1", "", "on"])
def test_a_truth_value_in_the_environment_is_true_or_false(text: str) -> None:
    """Nothing else is guessed at, and the variable is named."""
    with pytest.raises(ConfigError, match=r"^ENOS_INGEST__SECURITY__ANONYMOUS: security.anonymous must be true or fal"):
        load_settings(None, {"ENOS_INGEST__SECURITY__ANONYMOUS": text})


@pytest.mark.parametrize("text", ["ten", "1.5", "", "9" * 5000])
def test_a_number_in_the_environment_is_a_number(text: str) -> None:
    """A text that is none is refused with the variable's name."""
    with pytest.raises(ConfigError, match=r"^ENOS_INGEST__LIMITS__CONNECTIONS: limits.connections must be a whole"):
        load_settings(None, {"ENOS_INGEST__LIMITS__CONNECTIONS": text})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[mqtt]\nbind = 127\n[http\n", "line 3"),
        ("[mqtt]\nbind = ", "at line 2"),
        ('[mqtt]\nbind = """\n\n', "at line 4, the end of the file"),
        (b"[mqtt]\n# \xff\n", "not UTF-8 text (at line 2)"),
        ("[mqtt]\nbind = " + "[" * 20000, "nested too deeply"),
        ("[limits]\nconnections = " + "9" * 5000, "not valid TOML"),
        ("[mqtt]\n[mqtt]\n", "line 2"),
    ],
)
def test_a_syntax_error_names_file_and_line(tmp_path: Path, text: str | bytes, said: str) -> None:
    """Whatever stops the TOML parser ends in one sentence."""
    assert said in refusal(tmp_path, text)


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    """Some editors write one in front."""
    assert load_settings(write(tmp_path, b"\xef\xbb\xbf[registry]\norg_id = 'o'\r\n"), {}).registry.org_id == "o"


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A file given with -c must exist, and be a file."""
    with pytest.raises(ConfigError, match=r"absent\.toml: there is no such configuration file"):
        load_settings(tmp_path / "absent.toml", {})
    with pytest.raises(ConfigError, match="cannot read the configuration file: Is a directory"):
        load_settings(tmp_path, {})


def test_the_working_folder_is_searched_for_the_default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`enos-ingest.toml` in the working folder, if there."""
    monkeypatch.chdir(tmp_path)
    assert find_config() is None
    write(tmp_path, "")
    assert find_config() == Path("enos-ingest.toml")
    assert load_settings(find_config(), {}).base == tmp_path


@pytest.mark.parametrize(
    ("text", "bind", "loopback"),
    [
        ("127.0.0.1:1883", Bind("127.0.0.1", 1883), True),
        ("127.8.8.8:0", Bind("127.8.8.8", 0), True),
        ("[::1]:65535", Bind("::1", 65535), True),
        ("localhost:1", Bind("localhost", 1), True),
        ("0.0.0.0:1883", Bind("0.0.0.0", 1883), False),  # noqa: S104 parsed, not bound
        ("[::]:1883", Bind("::", 1883), False),
        ("192.168.1.5:1883", Bind("192.168.1.5", 1883), False),
        ("mqtt.example.com:1883", Bind("mqtt.example.com", 1883), False),
    ],
)
def test_an_address_is_read_and_written_back(text: str, bind: Bind, loopback: bool) -> None:
    """Names, IPv4, IPv6 in brackets; only loopback addresses count as such."""
    assert Bind.parse(text) == bind
    assert str(bind) == text
    assert bind.is_loopback is loopback


@pytest.mark.parametrize(
    "text",
    ["", ":", "1883", "host", "host:", ":1883", "host:65536", "host:-1", "host:1x", "::1:1883", "[::1]", "[host]:1",
     "[]:1", "a b:1", "*:1883", "tcp://host:1", "host:123456", "host:\u0661"],
)  # fmt: skip
def test_an_address_of_another_form_is_refused(text: str) -> None:
    """No port, no host, IPv6 without brackets, a URL: nothing is guessed."""
    with pytest.raises(ValueError, match="HOST:PORT"):
        Bind.parse(text)


@pytest.mark.parametrize("name", ["mqtt.bind", "mqtt.tls_bind", "http.bind"])
def test_anonymous_is_accepted_on_loopback_binds_only(name: str) -> None:
    """One bind beyond loopback is enough to refuse it."""
    given = {
        "security.anonymous": "true",
        "mqtt.tls_bind": "127.0.0.1:8883",
        "mqtt.tls_certificate": "a",
        "mqtt.tls_key": "b",
    }
    assert load_settings(None, {}, given).security.anonymous
    with pytest.raises(ConfigError, match=rf"only on a loopback bind such as 127\.0\.0\.1, and {name} is 0"):
        load_settings(None, {}, {**given, name: "0.0.0.0:1"})


def test_settings_made_in_code_are_checked_against_each_other_too() -> None:
    """The rule does not depend on a file."""
    with pytest.raises(ConfigError, match=r"mqtt\.bind is 10\.0\.0\.1:1883"):
        Settings(mqtt=MqttSettings(Bind("10.0.0.1", 1883)), security=SecuritySettings(anonymous=True))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tls_bind": Bind("::1", 8883)}, "mqtt.tls_certificate and mqtt.tls_key are not set"),
        ({"tls_bind": Bind("::1", 8883), "tls_certificate": "a"}, "mqtt.tls_key is not set"),
        ({"tls_bind": Bind("::1", 8883), "tls_key": "a"}, "mqtt.tls_certificate is not set"),
        ({"tls_certificate": "a", "tls_key": "b"}, "mqtt.tls_bind is not set"),
    ],
    ids=str,
)
def test_tls_is_set_whole_or_not_at_all(given: dict[str, Any], said: str) -> None:
    """An address without a certificate cannot be served; a certificate without an address would serve nobody."""
    with pytest.raises(ConfigError) as caught:
        Settings(mqtt=MqttSettings(**given))
    assert str(caught.value) == (
        f"TLS needs mqtt.tls_bind, mqtt.tls_certificate and mqtt.tls_key, or none of them: {said}"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tls_client": "required"}, "mqtt.tls_client is required, and mqtt.tls_client_ca is not set"),
        ({"tls_client_ca": "ca.pem"}, "mqtt.tls_client is none, and mqtt.tls_client_ca is ca.pem"),
        ({"tls_client": "optional", "tls_client_ca": "ca.pem"}, "no effect without mqtt.tls_bind"),
    ],
    ids=str,
)
def test_certificates_of_clients_need_all_that_goes_with_them(given: dict[str, Any], said: str) -> None:
    """Half of it would let in whom it is meant to keep out."""
    with pytest.raises(ConfigError, match=said):
        Settings(mqtt=MqttSettings(**given))


def test_tls_is_off_until_it_has_an_address(tmp_path: Path) -> None:
    """Both files are looked for from the folder of the configuration, like every path."""
    assert load_settings(write(tmp_path, '[mqtt]\ntls_bind = ""\n'), {}).mqtt.tls_bind is None
    tls = '[mqtt]\ntls_bind = "127.0.0.1:8883"\ntls_certificate = "tls/hub.pem"\ntls_key = "/etc/hub.key"\n'
    settings = load_settings(write(tmp_path, tls), {})
    assert settings.mqtt.tls_bind == Bind("127.0.0.1", 8883)
    assert settings.tls_files() == (tmp_path / "tls" / "hub.pem", Path("/etc/hub.key"))


def test_a_packet_must_be_able_to_hold_a_message() -> None:
    """`packet_bytes` below `message_bytes` would refuse messages that are allowed."""
    with pytest.raises(
        ConfigError, match=r"limits.packet_bytes = 1048576 must be at least limits.message_bytes = 1048577"
    ):
        Settings(limits=LimitsSettings(message_bytes=1_048_577))
    assert Settings(limits=LimitsSettings(message_bytes=1_048_576)).limits.packet_bytes == 1_048_576


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the file is given relative to another working folder; absolute paths stay."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "etc").mkdir()
    write(tmp_path / "etc", '[registry]\nfile = "registry.toml"\n[models]\npath = "/srv/models"\n')
    settings = load_settings(Path("etc/enos-ingest.toml"), {})
    assert settings.base == tmp_path / "etc"
    assert settings.registry_file() == tmp_path / "etc" / "registry.toml"
    assert settings.models_folder() == (Path("/srv/models"), False)
    assert load_settings(None, {}).base == tmp_path
    assert load_settings(None, {}).registry_file() is None


def test_the_samples_serve_only_while_no_models_folder_is_named_or_there(tmp_path: Path) -> None:
    """A folder that was named and is missing must not be replaced in silence."""
    folder, is_samples = Settings(base=tmp_path).models_folder()
    assert is_samples
    assert folder.is_dir()
    assert folder.parent.name == "schemas"
    named = load_settings(write(tmp_path, '[models]\npath = "models"'), {})
    assert named.models_folder() == (tmp_path / "models", False)
    assert Settings(base=tmp_path, models=ModelsSettings("other")).models_folder() == (tmp_path / "other", False)
    (tmp_path / "models").mkdir()
    assert Settings(base=tmp_path).models_folder() == (tmp_path / "models", False)
