"""Settings: one frozen dataclass, filled from defaults < TOML file < environment < flags.

A setting has one name everywhere: ``WEBSOCKET_PORT`` in the environment, ``websocket_port`` in TOML,
``--websocket-port`` as a flag. In the environment ``NAME_FILE`` reads the value from a file (a Docker secret).
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from node.errors import ConfigError
from node.keys import parse_keys

AUTH_MODES = ("token", "accounts", "guest")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LOG_FORMATS = ("json", "text")

Parse = Callable[[str], Any]
_NODE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _integer(low: int, high: int) -> Parse:
    def parse(text: str) -> int:
        if not re.fullmatch(r"-?\d+", text) or not low <= int(text) <= high:
            raise ValueError(f"wants a whole number from {low} to {high}")
        return int(text)

    return parse


def _seconds(low: float, high: float) -> Parse:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"wants a number of seconds from {low:g} to {high:g}")
        return value

    return parse


def _choice(choices: tuple[str, ...]) -> Parse:
    def parse(text: str) -> str:
        for choice in choices:
            if text.lower() == choice.lower():
                return choice
        raise ValueError(f"wants one of {', '.join(choices)}")

    return parse


def _several(parse_one: Parse) -> Parse:
    def parse(text: str) -> tuple[Any, ...]:
        return tuple(parse_one(part.strip()) for part in text.split(",") if part.strip())

    return parse


def _url(*schemes: str) -> Parse:
    def parse(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(f"wants an address like {schemes[0]}://HOST:PORT")
        return text

    return parse


def _name(text: str) -> str:
    if not _NODE_ID.fullmatch(text):
        raise ValueError("wants 1-64 letters, digits, '.', '_' or '-', first a letter or digit")
    return text


def _setting(default: Any, parse: Parse, help_text: str, *, secret: bool = False) -> Any:
    return field(default=default, repr=not secret, metadata={"parse": parse, "help": help_text, "secret": secret})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set on a node. See ``chat-node serve --help`` for the meaning of each."""

    node_id: str = _setting("node1", _name, "Name of this node among its peers.")
    data_dir: Path = _setting(Path("chat-data"), Path, "Directory of the node's own files.")
    websocket_host: str = _setting("127.0.0.1", str, "Address to listen on for chat clients.")
    websocket_port: int = _setting(8080, _integer(0, 65535), "Port for chat clients; 0 takes a free one.")
    http_host: str = _setting("127.0.0.1", str, "Address to listen on for operators.")
    http_port: int = _setting(9090, _integer(0, 65535), "Port for operators; 0 takes a free one.")
    nats_url: tuple[str, ...] = _setting(
        (), _several(_url("nats", "tls")), "NATS servers, comma separated, nearest first; none: the log is in SQLite."
    )
    nats_user: str = _setting("", str, "User on the NATS servers.")
    nats_password: str = _setting("", str, "Password on the NATS servers.", secret=True)
    nats_replicas: int = _setting(3, _integer(1, 5), "Copies of the log that NATS keeps.")
    auth_mode: tuple[str, ...] = _setting(
        (),
        _several(_choice(AUTH_MODES)),
        "token, accounts, guest, several by comma; default guest on loopback, else token.",
    )
    jwt_key: str = _setting(
        "",
        str,
        "Keys of the clients' tokens: shared ones (HS256, at least 32 bytes), one a line; or public ones (EdDSA, "
        "RS256) in PEM; or a JWK or JWK Set.",
        secret=True,
    )
    jwks_url: str = _setting(
        "", _url("https", "http"), "Address of a JWK Set with further public keys of the clients' tokens."
    )
    jwks_max_age: float = _setting(300.0, _seconds(1, 86400), "Seconds after which JWKS_URL is asked again.")
    jwt_issuer: str = _setting("", str, "The issuer (iss) that tokens must name; default any.")
    jwt_audience: str = _setting("", str, "The audience (aud) that tokens must name; default none may be named.")
    allowed_origins: tuple[str, ...] = _setting(
        (), _several(str), "Origins of browser pages that may connect, comma separated; * for any."
    )
    public_url: str = _setting("", _url("ws", "wss"), "Address under which clients reach this node.")
    edge_urls: tuple[str, ...] = _setting(
        (), _several(_url("wss")), "WebSocket addresses of all machines for pages that came over TLS, comma separated."
    )
    chat_release: str = _setting("", str, "Free text shown by /readyz: what the operator calls this deployment.")
    log_level: str = _setting("INFO", _choice(LOG_LEVELS), "DEBUG, INFO, WARNING or ERROR.")
    log_format: str = _setting("json", _choice(LOG_FORMATS), "json, or text for people.")
    heartbeat_interval: float = _setting(25.0, _seconds(0.1, 3600), "Seconds between pings to clients and to peers.")
    heartbeat_timeout: float = _setting(8.0, _seconds(0.1, 3600), "Seconds to wait for the answer to a ping.")
    inactivity_timeout: float = _setting(
        0.0, _seconds(0, 86400), "Seconds without a request after which a client is closed; 0: never."
    )
    hello_timeout: float = _setting(10.0, _seconds(0.1, 60), "Seconds a new connection has to say hello.")
    send_timeout: float = _setting(
        15.0, _seconds(0.1, 300), "Seconds a send is held through an outage before outcome_unknown."
    )
    drain_timeout: float = _setting(20.0, _seconds(0, 300), "Seconds that clients have to move away at shutdown.")
    max_frame_bytes: int = _setting(65536, _integer(256, 2**20), "Largest frame taken from a client.")
    max_body_bytes: int = _setting(16384, _integer(1, 2**18), "Largest message body.")
    max_rooms: int = _setting(200, _integer(1, 10000), "Most rooms joined by one connection.")
    max_unsent_bytes: int = _setting(2**20, _integer(4096, 2**30), "Unsent output at which a reader is too slow.")
    max_connections: int = _setting(15000, _integer(1, 10**6), "Most connections to this node.")
    max_user_connections: int = _setting(10, _integer(1, 10**6), "Most connections of one user to this node.")
    max_pending: int = _setting(20000, _integer(1, 10**6), "Most records waiting for the log on this node.")
    send_rate: float = _setting(20.0, _seconds(0, 1e6), "Sends a second on one connection; 0: no limit.")
    send_burst: int = _setting(40, _integer(1, 10**6), "Sends at once on one connection.")
    typing_rate: float = _setting(0.5, _seconds(0, 1e6), "Words of typing a second on one connection; 0: no limit.")
    request_rate: float = _setting(200.0, _seconds(0, 1e6), "Requests a second on one connection; 0: no limit.")
    request_burst: int = _setting(1000, _integer(1, 10**6), "Requests at once on one connection.")
    api_rate: float = _setting(50.0, _seconds(0, 1e6), "Requests a second of one admin to the admin API; 0: no limit.")
    api_burst: int = _setting(100, _integer(1, 10**6), "Requests at once of one admin to the admin API.")


def env_name(setting: Field[Any]) -> str:
    """The environment variable of a setting."""
    return setting.name.upper()


def load(
    environment: Mapping[str, str], flags: Mapping[str, str | None] | None = None, file: Path | None = None
) -> Settings:
    """Read and check all settings.

    Args:
        environment: ``os.environ`` or a stand-in.
        flags: setting name -> text; None for a flag that was not given.
        file: a TOML file, or None.

    Raises:
        ConfigError: with every fault found, each naming the place where the value came from.
    """
    faults: list[str] = []
    values: dict[str, Any] = {}
    toml = _read_toml(file, faults)
    for setting in fields(Settings):
        source, text = _find(setting, toml, environment, flags or {}, faults)
        if text is None:
            continue
        try:
            values[setting.name] = setting.metadata["parse"](text)
        except ValueError as error:
            shown = "" if setting.metadata["secret"] else f" {text!r}"
            faults.append(f"{source}:{shown} {error}")
    if "auth_mode" not in values:
        host = values.get("websocket_host", Settings.__dataclass_fields__["websocket_host"].default)
        values["auth_mode"] = ("guest",) if is_loopback(host) else ("token",)
    settings = Settings(**values)
    faults += _cross_check(settings)
    if faults:
        raise ConfigError(faults)
    return settings


def is_loopback(host: str) -> bool:
    """Whether a listening address can only be reached from the machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read_toml(file: Path | None, faults: list[str]) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        table = tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        faults.append(f"{file}: {error}")
        return {}
    known = {setting.name for setting in fields(Settings)}
    faults += [f"{file}: {key}: no such setting" for key in table if key not in known]
    return table


def _find(
    setting: Field[Any],
    toml: Mapping[str, Any],
    environment: Mapping[str, str],
    flags: Mapping[str, str | None],
    faults: list[str],
) -> tuple[str, str | None]:
    """Where a setting is given, strongest place first, and its text; a None text leaves the default."""
    name, variable = setting.name, env_name(setting)
    flag = flags.get(name)
    if flag is not None:
        return f"--{name.replace('_', '-')}", flag
    if f"{variable}_FILE" in environment:
        return f"{variable}_FILE", _read_value(f"{variable}_FILE", environment, faults)
    if environment.get(variable):  # an empty variable is one that a Compose file left open
        return variable, environment[variable]
    if name in toml:
        value = toml[name]
        return f"{name} (TOML)", ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return name, None


def _read_value(variable: str, environment: Mapping[str, str], faults: list[str]) -> str | None:
    try:
        return Path(environment[variable]).read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        faults.append(f"{variable}: {error}")
        return None


def _cross_check(settings: Settings) -> list[str]:
    """Faults that only two settings together have."""
    faults = _check_keys(settings) if "token" in settings.auth_mode else []
    if settings.max_body_bytes > settings.max_frame_bytes:
        faults.append("MAX_BODY_BYTES: larger than MAX_FRAME_BYTES, so that no such body could arrive")
    if settings.nats_url and bool(settings.nats_user) != bool(settings.nats_password):
        faults.append("NATS_USER, NATS_PASSWORD: give both or neither")
    return faults


def _check_keys(settings: Settings) -> list[str]:
    if not settings.jwt_key:
        wanted = (
            "JWT_KEY: AUTH_MODE has token, which wants a key; set JWT_KEY_FILE to a file that holds one, or JWKS_URL"
        )
        return [] if settings.jwks_url else [wanted]
    try:
        parse_keys(settings.jwt_key)
    except ValueError as error:
        return [f"JWT_KEY: {error}"]
    return []
