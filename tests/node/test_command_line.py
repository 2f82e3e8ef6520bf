"""``chat-node`` as people and scripts use it: what it prints, and how it exits."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node import __version__

from .process import CHAT_NODE, NodeProcess, chat_node, environment

KEY = "a-key-that-is-long-enough-for-hs256"


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "jwt_key"
    path.write_text(KEY + "\n")
    return path


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, key_file: Path) -> Iterator[NodeProcess]:
    settings = {"auth_mode": "token,guest", "jwt_key_file": key_file, "chat_release": "r7"}
    with NodeProcess.running(tmp_path_factory.mktemp("node"), **settings) as node:
        yield node


@pytest.mark.parametrize("command", ["serve", "send", "tail", "rooms", "token", "health", "probe", "notice"])
def test_every_command_explains_itself(command: str) -> None:
    shown = chat_node(command, "--help")
    assert shown.returncode == 0
    assert f"chat-node {command} [OPTIONS]" in shown.stdout.replace("python -m node", "chat-node")
    assert command in chat_node("--help").stdout


def test_version() -> None:
    assert chat_node("--version").stdout == f"chat-node {__version__}\n"


def test_serve_shows_every_setting_with_its_variable() -> None:
    shown = chat_node("serve", "--help").stdout
    assert "[WEBSOCKET_PORT]" in shown
    assert "--websocket-port" in shown


def test_bad_settings_are_all_told_in_one_message_with_exit_2(tmp_path: Path) -> None:
    bad: dict[str, Any] = {
        "websocket_port": "http",
        "log_level": "LOUD",
        "auth_mode": "token",
        "jwt_key": "canary-secret",
    }
    told = chat_node("serve", "--max-rooms", "0", data_dir=tmp_path, **bad)
    assert told.returncode == 2
    assert told.stdout == ""
    first, *faults = told.stderr.splitlines()
    assert first == "chat-node: these settings cannot be used:"
    places = [fault.split(":")[0].strip() for fault in faults]
    assert places == ["WEBSOCKET_PORT", "LOG_LEVEL", "--max-rooms", "JWT_KEY"]
    assert "canary" not in told.stderr


@pytest.mark.parametrize("setting", ["websocket_port", "http_port"])
def test_a_busy_port_is_told_plainly(tmp_path: Path, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = {"websocket_port": 0, "http_port": 0, setting: taken.getsockname()[1]}
        told = chat_node("serve", data_dir=tmp_path, auth_mode="guest", **ports)
    assert told.returncode == 2
    assert f"{setting.upper()}: cannot listen on 127.0.0.1:{ports[setting]}: Address already in use" in told.stderr
    assert "Traceback" not in told.stderr


def test_an_unusable_directory_is_told_plainly(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = chat_node("serve", data_dir=tmp_path / "file" / "data", websocket_port=0, http_port=0)
    assert told.returncode == 2
    assert "DATA_DIR: cannot use" in told.stderr


def test_a_token_opens_the_door(node: NodeProcess, key_file: Path) -> None:
    token = chat_node("token", "--user", "tina", "--ttl", "60", jwt_key_file=key_file).stdout.strip()
    sent = chat_node("send", "--room", "hall", "--create", "--url", node.url, "hello", "there", chat_token=token)
    assert (sent.returncode, json.loads(sent.stdout)["dup"]) == (0, False)
    tailed = chat_node("tail", "--room", "hall", "--url", node.url, "--count", "1", "--json", chat_token=token)
    message = json.loads(tailed.stdout.splitlines()[-1])
    assert (message["from"], message["body"]) == ("tina", "hello there")
    refused = chat_node("rooms", "--url", node.url, "--token", token[:-3] + "xxx")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "4500" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_token_needs_a_key(tmp_path: Path) -> None:
    assert chat_node("token", "--user", "tina").returncode == 2
    assert chat_node("token", "--user", "not a name", jwt_key=KEY).returncode == 1


def test_send_reads_lines_and_tail_shows_them_in_order(node: NodeProcess) -> None:
    lines = [f"line {i} ünïcode" for i in range(30)]
    sent = chat_node("send", "--room", "lines", "--create", "--user", "ana", "--url", node.url, text="\n".join(lines))
    assert [json.loads(ack)["seq"] for ack in sent.stdout.splitlines()] == list(range(2, 32))
    tailed = chat_node("tail", "--room", "lines", "--user", "bo", "--url", node.url, "--count", "30", "--limit", "500")
    shown = tailed.stdout.splitlines()
    assert [line.partition(" ana: ")[2] for line in shown if " ana: " in line] == lines


def test_what_users_write_cannot_steer_the_terminal(node: NodeProcess) -> None:
    chat_node("send", "--room", "esc", "--create", "--user", "eve", "--url", node.url, "\x1b[2Jboo\r\x07")
    shown = chat_node("tail", "--room", "esc", "--user", "bo", "--url", node.url, "--count", "1").stdout
    assert "boo" in shown
    assert not any(char in shown for char in "\x1b\r\x07")


def test_send_stays_connected_while_nothing_is_typed_and_ends_at_ctrl_c(node: NodeProcess) -> None:
    command = [*CHAT_NODE, "send", "--room", "slow", "--create", "--user", "ana", "--url", node.url]
    with subprocess.Popen(command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(2):
            process.stdin.write(b"word\n")
            process.stdin.flush()
            assert b'"dup":false' in process.stdout.readline()
            time.sleep(1.5)  # longer than the node's heartbeat
        process.send_signal(2)
        assert process.wait(5) == 130
    assert node.metric("chat_connections_closed_total", code="4012") == 0


def test_rooms_lists_page_after_page(node: NodeProcess) -> None:
    for room in ("z.1", "z.2"):
        chat_node("send", "--room", room, "--create", "--user", "ana", "--url", node.url, "x")
    whose = ["--user", "ana", "--url", node.url]
    listed = [json.loads(line) for line in chat_node("rooms", "--prefix", "z.", "--json", *whose).stdout.splitlines()]
    assert [(room["room"], room["head"]) for room in listed] == [("z.1", 2), ("z.2", 2)]
    shown = chat_node("rooms", "--prefix", "z.", *whose).stdout.splitlines()
    assert [line.split() for line in shown] == [["z.1", "1", "2"], ["z.2", "1", "2"]]


def test_who_are_you_is_asked_before_connecting() -> None:
    asked = chat_node("rooms")
    assert asked.returncode == 2
    assert "--user" in asked.stderr


def test_no_room_is_an_error_of_the_command(node: NodeProcess) -> None:
    refused = chat_node("send", "--room", "nowhere", "--user", "ana", "--url", node.url, "x")
    assert refused.returncode == 1
    assert refused.stderr.strip().endswith("there is no room nowhere")


def test_probe_makes_the_round_trip(node: NodeProcess, key_file: Path) -> None:
    for _ in range(2):
        probed = chat_node("probe", "--url", node.url, jwt_key_file=key_file)
        report = json.loads(probed.stdout)
        assert (probed.returncode, report["ok"], report["node"]) == (0, True, "node1")
    refused = chat_node("probe", "--url", node.url, jwt_key="another" + KEY)
    assert (refused.returncode, json.loads(refused.stdout)["ok"]) == (1, False)
    silent = chat_node("probe", "--url", "ws://127.0.0.1:1/ws", "--timeout", "1", jwt_key_file=key_file)
    assert (silent.returncode, json.loads(silent.stdout)["ok"]) == (1, False)


def test_health_tells_life_and_readiness(node: NodeProcess) -> None:
    assert chat_node("health", http_port=node.http_port).returncode == 0
    ready = chat_node("health", "--ready", http_port=node.http_port)
    report = json.loads(ready.stdout)
    assert (report["ready"], report["reason"], report["node"], report["release"]) == (True, None, "node1", "r7")
    assert (report["version"], report["peers"], report["applied"]) == (__version__, [], report["head"])
    nobody = chat_node("health", http_port=1)
    assert (nobody.returncode, nobody.stdout) == (1, "")


def test_the_operators_port_is_no_chat_port_and_the_other_way_round(node: NodeProcess) -> None:
    assert node.get("/livez") == (200, "alive\n")
    assert node.get("/ws")[0] == 404
    assert node.metric("chat_ready") == 1.0
    assert node.metric("chat_connections_opened_total") > 0


def test_log_lines_are_json_without_message_bodies_or_tokens(node: NodeProcess, key_file: Path) -> None:
    token = chat_node("token", "--user", "tina", jwt_key_file=key_file).stdout.strip()
    chat_node("send", "--room", "quiet", "--create", "--url", node.url, "canary-body", chat_token=token)
    text = "\n".join(json.dumps(line) for line in node.lines())
    assert "tina" in text
    for secret in ("canary-body", token, KEY):
        assert secret not in text
    assert all({"event", "level", "timestamp", "node"} <= line.keys() for line in node.lines())
