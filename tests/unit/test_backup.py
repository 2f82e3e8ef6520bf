"""What backups decide without a cluster or a repository: manifests, complaints, targets, copies of an inventory."""

from __future__ import annotations

import errno
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from chat_backup import cluster, common, main, repository, work

from tests.unit.test_roles import load

backup = load("backup/filter_plugins/backup.py")

MANIFEST = {
    "created_at": "2026-01-02T03:04:05+00:00",
    "format": 1,
    "epoch": "12345678",
    "count": 7,
    "rooms": 1,
    "messages": 2,
    "users": 3,
    "accounts": 4,
    "digest": "00ff",
    "sha256": "ab",
}


def snapshot(identity: str) -> repository.Snapshot:
    return repository.Snapshot(identity, "data", dict(MANIFEST))


def test_a_manifest_comes_back_from_the_tags_as_it_was() -> None:
    """Among it an epoch and a digest that look like numbers, and are none."""
    manifest = {**MANIFEST, "digest": "00112233"}
    assert repository.read_tags(["chat-data", *repository.tags_of(manifest)]) == manifest


def test_a_tag_holds_no_comma_and_no_list() -> None:
    assert repository.tags_of({"a": "1,2", "b": ["x"], "c": "x"}) == ["c=x"]


@pytest.mark.parametrize(
    ("wrote", "means"),
    [
        ("Fatal: wrong password or no key found", "the password does not open"),
        ("Fatal: unable to open config file: stat /x/config: no such file", "there is no repository"),
        ("Save(<data/1>) returned error: write /x: no space left on device", "a disk is full"),
        ("ignoring error for /chat.jsonl: ciphertext verification failed", "the repository is damaged"),
        ("Fatal: repository contains errors", "the repository is damaged"),
        ("unable to create lock in backend: repository is already locked by PID 1", "somebody else works"),
    ],
)
def test_a_complaint_of_restic_becomes_a_cause_and_a_remedy(wrote: str, means: str) -> None:
    assert repository.explain(wrote).startswith(means)


@pytest.mark.parametrize(
    ("wrote", "refused"),
    [
        ("Fatal: wrong password or no key found", True),
        ("Fatal: unable to open config file: stat /x/config: no such file", False),
        ("", False),
    ],
)
def test_only_a_password_that_does_not_open_what_is_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrote: str, refused: bool
) -> None:
    tried = tmp_path / "tried"
    restic = tmp_path / "restic"
    restic.write_text(f'#!/bin/sh\necho "$RESTIC_PASSWORD_FILE" >{tried}\necho "{wrote}" >&2\ntest -z "{wrote}"\n')
    restic.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    config = common.Config("/x", "chat-system", http_port=9090, acts="here", check_percent=0, keep={})
    with pytest.raises(repository.WrongPassword) if refused else nullcontext():
        repository.Repository(config).try_password(Path("/a/new/one"))
    assert tried.read_text() == "/a/new/one\n"


def test_a_password_in_an_address_is_not_shown() -> None:
    assert "hunter2" not in repository.explain("Fatal: rest:https://me:hunter2@store/x: 401")


def test_a_snapshot_is_named_by_its_id_or_is_the_newest() -> None:
    there = [snapshot("aaaa1111"), snapshot("bbbb2222")]
    assert repository.chosen(there, "latest").id == "bbbb2222"
    assert repository.chosen(there, "aaaa1111ffffffff").id == "aaaa1111"


@pytest.mark.parametrize("wanted", ["cccc", "aaaa"])
def test_an_unknown_or_ambiguous_snapshot_is_refused_with_those_there_are(wanted: str) -> None:
    with pytest.raises(common.Failure, match=r"no such snapshot.*aaaa1111, aaaa2222"):
        repository.chosen([snapshot("aaaa1111"), snapshot("aaaa2222")], wanted)


def test_no_backup_at_all_is_told() -> None:
    with pytest.raises(common.Failure, match="no such backup"):
        repository.chosen([], "latest")


@pytest.mark.parametrize("name", ["count", "rooms", "messages", "users", "accounts", "digest"])
def test_what_differs_from_the_manifest_is_named(name: str) -> None:
    work.must_agree(MANIFEST, dict(MANIFEST), "no")
    with pytest.raises(common.Failure, match=f"no: {name} is "):
        work.must_agree(MANIFEST, {**MANIFEST, name: "other"}, "no")


def test_the_checksum_is_compared_within_an_epoch_only() -> None:
    with pytest.raises(common.Failure, match="sha256"):
        work.must_agree(MANIFEST, {**MANIFEST, "sha256": "other"}, "no")
    work.must_agree(MANIFEST, {**MANIFEST, "sha256": "other", "epoch": "next"}, "no")


def exported(*users: str, count: int | None = None) -> list[str]:
    entries = [{"position": n, "entry": {"v": 1, "records": [{"user": user}]}} for n, user in enumerate(users, 1)]
    return [json.dumps(line) for line in ({"count": len(users) if count is None else count}, *entries, {"sha256": ""})]


@pytest.mark.parametrize(
    ("lines", "probes_only"),
    [
        (exported(), True),
        (exported("probe", "probe"), True),
        (exported("probe", "ana"), False),
        (exported("probe", count=5)[:-1], False),
        ([json.dumps({"count": 1}), json.dumps({"position": 1, "base64": "AA=="})], False),
    ],
)
def test_a_log_counts_as_empty_if_only_the_probe_wrote(lines: list[str], probes_only: bool) -> None:
    assert cluster.judge(lines)["probes_only"] is probes_only


def test_the_nodes_password_is_found_in_the_servers_settings() -> None:
    users = '{ user: chat-1f, password: "a b" }\n{ user: chat-2e, password: "c" }'
    text = f"authorization {{\n  users: [\n{users} ]\n}}\ncluster {{ authorization {{ user: route }} }}"
    assert cluster.credentials(text) == ("chat-1f", "a b")


def test_a_disk_without_room_is_told_before(tmp_path: Path) -> None:
    with pytest.raises(common.Failure, match="too full"):
        common.need_room(tmp_path, 1 << 60)
    common.need_room(tmp_path, 1)


def test_what_is_no_full_disk_is_not_called_one() -> None:
    assert "full" not in str(common.disk_failure(OSError(errno.EIO, "broken"), Path("/x")))


def test_the_outcome_of_one_kind_leaves_the_others(tmp_path: Path) -> None:
    file = tmp_path / "backup.json"
    main.note(file, "data", {"outcome": "done"})
    main.note(file, "config", {"outcome": "failed"})
    assert json.loads(file.read_text()) == {"data": {"outcome": "done"}, "config": {"outcome": "failed"}}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a: 1\n", "a: 1\n"),
        ("$ANSIBLE_VAULT;1.1;AES256\n6162\n", "$ANSIBLE_VAULT;1.1;AES256\n6162\n"),
        ("key: xxsecret-value\n", f"key: xx{backup.LEFT_OUT}\n"),
        ("vault_password: hello\n", f"vault_password: {backup.LEFT_OUT}\n"),
        ("host ansible_become_password=hello\n", f"host ansible_become_password={backup.LEFT_OUT}\n"),
        ('chat_jwt_key: "{{ vault_key }}"\n', 'chat_jwt_key: "{{ vault_key }}"\n'),
        ("chat_jwt_key: !vault |\n  $ANSIBLE_VAULT;1.1\n", "chat_jwt_key: !vault |\n  $ANSIBLE_VAULT;1.1\n"),
        ('vault_token: ""\n', 'vault_token: ""\n'),
        ("ansible_ssh_private_key_file: ~/.ssh/id\n", "ansible_ssh_private_key_file: ~/.ssh/id\n"),
        ("password: |\n  hello\n", None),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n", None),
    ],
)
def test_an_inventorys_copy_gives_no_secret_away(text: str, kept: str | None) -> None:
    assert backup.without_secrets(text, ["secret-value", ""]) == kept


def test_files_of_secrets_are_left_out_and_named(tmp_path: Path) -> None:
    for name, text in {"hosts.yml": "a: 1\n", "secrets/key": "x\n", "secrets/vaulted": "$ANSIBLE_VAULT;1.1\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "image").write_bytes(b"\xff\xfe")
    copy: dict[str, Any] = backup.inventory_copy(str(tmp_path), [])
    assert sorted(copy["files"]) == ["hosts.yml", "secrets/vaulted"]
    assert copy["left_out"] == ["image", "secrets/key"]
