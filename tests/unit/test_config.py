"""Settings: where they come from, which place wins, and that all faults are told at once, without secrets."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from node.config import Settings, env_name, is_loopback, load
from node.errors import ConfigError
from node.keys import MIN_SHARED_BYTES

KEY = "k" * MIN_SHARED_BYTES


def faults(*args: object, **kwargs: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(*args, **kwargs)  # type: ignore[arg-type]
    return caught.value.faults


def test_nothing_given_is_a_guest_node_on_loopback() -> None:
    settings = load({})
    assert settings.auth_mode == ("guest",)
    assert settings.websocket_host == "127.0.0.1"
    assert settings.data_dir == Path("chat-data")
    assert settings.nats_url == ()


def test_defaults_have_the_type_that_their_parser_makes() -> None:
    for setting in fields(Settings):
        if setting.default not in ("", ()):
            parsed = setting.metadata["parse"](str(setting.default))
            assert parsed == setting.default
            assert type(parsed) is type(setting.default), setting.name


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('node_id = "toml"\nhttp_port = 1\nmax_rooms = 7\nallowed_origins = ["https://a", "https://b"]\n')
    environment = {"NODE_ID": "env", "HTTP_PORT": "2"}
    settings = load(environment, {"node_id": "flag", "http_port": None}, file)
    assert (settings.node_id, settings.http_port, settings.max_rooms) == ("flag", 2, 7)
    assert settings.allowed_origins == ("https://a", "https://b")
    assert settings.websocket_port == 8080


def test_every_setting_can_be_given_in_the_environment() -> None:
    odd = {"NODE_ID": "n-7", "DATA_DIR": "/d", "WEBSOCKET_HOST": "::1", "NATS_URL": "nats://a:4222, tls://b:1"}
    odd |= {"AUTH_MODE": "Token,GUEST", "JWT_KEY": KEY, "NATS_USER": "u", "NATS_PASSWORD": "p", "CHAT_RELEASE": "r9"}
    odd |= {"PUBLIC_URL": "wss://chat.example/ws", "LOG_LEVEL": "debug", "LOG_FORMAT": "TEXT", "SEND_RATE": "0"}
    settings = load(odd)
    assert (settings.node_id, settings.data_dir, settings.chat_release) == ("n-7", Path("/d"), "r9")
    assert settings.nats_url == ("nats://a:4222", "tls://b:1")
    assert settings.auth_mode == ("token", "guest")
    assert (settings.log_level, settings.log_format, settings.send_rate) == ("DEBUG", "text", 0.0)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("NODE_ID", "two words"),
        ("NODE_ID", "x" * 65),
        ("WEBSOCKET_PORT", "-1"),
        ("WEBSOCKET_PORT", "65536"),
        ("WEBSOCKET_PORT", "80.5"),
        ("HTTP_PORT", "http"),
        ("NATS_URL", "http://a"),
        ("NATS_URL", "nats://"),
        ("NATS_REPLICAS", "0"),
        ("AUTH_MODE", "password"),
        ("PUBLIC_URL", "http://a/ws"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_FORMAT", "xml"),
        ("HEARTBEAT_INTERVAL", "0"),
        ("HEARTBEAT_TIMEOUT", "soon"),
        ("HELLO_TIMEOUT", "nan"),
        ("SEND_RATE", "-1"),
        ("MAX_BODY_BYTES", "0"),
        ("SEND_BURST", "0"),
    ],
)
def test_a_bad_value_is_named_with_its_place_and_what_is_wanted(variable: str, text: str) -> None:
    (fault,) = faults({variable: text})
    assert fault.startswith(f"{variable}: {text!r} wants ")


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('no_such = 1\nlog_level = "LOUD"\n')
    environment = {"WEBSOCKET_PORT": "x", "JWT_KEY_FILE": str(tmp_path / "none"), "AUTH_MODE": "token", "NATS_URL": "a"}
    found = faults(environment, {"max_rooms": "many"}, file)
    wanted = ["no_such: no such setting", "log_level (TOML): 'LOUD'", "WEBSOCKET_PORT: 'x'", "JWT_KEY_FILE: "]
    wanted += ["NATS_URL: 'a'", "--max-rooms: 'many'", "JWT_KEY: AUTH_MODE has token"]
    for part in wanted:
        assert any(part in fault for fault in found), part
    assert len(found) == len(wanted)


def test_settings_that_do_not_fit_together() -> None:
    assert "MAX_BODY_BYTES" in faults({"MAX_BODY_BYTES": "4096", "MAX_FRAME_BYTES": "1024"})[0]
    assert "NATS_USER, NATS_PASSWORD" in faults({"NATS_URL": "nats://a:1", "NATS_USER": "u"})[0]
    assert "JWT_KEY" in faults({"WEBSOCKET_HOST": "0.0.0.0"})[0]  # noqa: S104
    assert "JWT_KEY: key 1 has 5 bytes" in faults({"AUTH_MODE": "token", "JWT_KEY": "short"})[0]
    assert "'ftp://a' wants" in faults({"JWKS_URL": "ftp://a"})[0]


def test_an_address_of_keys_is_enough_for_tokens() -> None:
    assert load({"AUTH_MODE": "token", "JWKS_URL": "https://id.example.org/keys"}).jwt_key == ""
    assert "JWT_KEY" in faults({"AUTH_MODE": "token", "JWKS_URL": "https://a/keys", "JWT_KEY": "short"})[0]


def test_unreadable_files_are_faults(tmp_path: Path) -> None:
    assert "none.toml" in faults({}, {}, tmp_path / "none.toml")[0]
    (tmp_path / "bad.toml").write_text("= nothing")
    assert "bad.toml" in faults({}, {}, tmp_path / "bad.toml")[0]
    (tmp_path / "latin").write_bytes(b"\xff\xfe")
    assert "JWT_KEY_FILE" in faults({"JWT_KEY_FILE": str(tmp_path / "latin")})[0]


def test_a_secret_comes_from_a_file_without_its_newline(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\r\n")
    settings = load({"JWT_KEY_FILE": str(tmp_path / "key"), "JWT_KEY": "not this one", "AUTH_MODE": "token"})
    assert settings.jwt_key == KEY


def test_secrets_are_shown_nowhere() -> None:
    environment = {"JWT_KEY": "canary-key", "NATS_PASSWORD": "canary-password", "AUTH_MODE": "token"}
    assert not any("canary" in fault for fault in faults({**environment, "HTTP_PORT": "x"}))
    settings = load({"JWT_KEY": "canary" + KEY, "NATS_PASSWORD": "canary", "NATS_USER": "u"})
    assert "canary" not in repr(settings)
    assert settings.jwt_key.startswith("canary")


def test_guest_is_the_default_on_loopback_only() -> None:
    assert load({"WEBSOCKET_HOST": "localhost"}).auth_mode == ("guest",)
    assert load({"WEBSOCKET_HOST": "10.0.0.1", "JWT_KEY": KEY}).auth_mode == ("token",)
    assert [is_loopback(host) for host in ("127.9.9.9", "::1", "localhost", "example.org", "0.0.0.0", "")] == [  # noqa: S104
        True, True, True, False, False, False,
    ]  # fmt: skip


def test_env_names() -> None:
    names = [env_name(setting) for setting in fields(Settings)]
    assert len(set(names)) == len(names)
    assert {"NODE_ID", "DATA_DIR", "JWT_KEY", "CHAT_RELEASE", "DRAIN_TIMEOUT"} <= set(names)


def test_an_empty_variable_is_no_setting() -> None:
    assert load({"PUBLIC_URL": "", "LOG_LEVEL": ""}) == load({})
