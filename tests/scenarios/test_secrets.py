"""Secrets change while people chat, and none of them is ever shown."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from functools import partial

import pytest
import trio

from node.client import ClientClosed, open_client
from tests.scenarios import chatting
from tests.scenarios.lab import Lab, Play, playbook

NAMES = ("jwt_key", "nats_password")


@pytest.fixture
def replaced(lab: Lab) -> Iterator[list[str]]:
    """The inventory with a new value of each secret and the former one; all values, that nobody may see."""
    directory, former = lab.inventory / "secrets", lab.inventory / "group_vars" / "all" / "former.yml"
    values = []
    for name in NAMES:
        (directory / f"{name}_former").write_text((directory / name).read_text())
        (directory / name).write_text(secrets.token_hex(32) + "\n")
        values += [(directory / name).read_text().strip(), (directory / f"{name}_former").read_text().strip()]
    lookup = "{{{{ lookup('ansible.builtin.file', '{}/{}_former') }}}}"
    former.write_text("".join(f'chat_{n}_former: "{lookup.format(directory, n)}"\n' for n in NAMES))
    lab.signs_with = "jwt_key_former"
    yield [*values, *(hashlib.sha256(f"{value} routes".encode()).hexdigest() for value in values)]
    former.unlink()
    for name in NAMES:
        if lab.signs_with == "jwt_key":
            (directory / f"{name}_former").unlink()
        else:  # it did not come to that: the cluster has the former ones
            (directory / f"{name}_former").rename(directory / name)
    lab.signs_with = "jwt_key"


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_both_values_are_valid_until_the_former_is_closed(lab: Lab, replaced: list[str]) -> None:
    former_token = lab.token("late")
    async with chatting.talk(lab, "scenario.secrets") as going:
        opened = await _secrets("state=open")
        lab.signs_with = "jwt_key"
        async with open_client(lab.urls, token=former_token) as client:
            await chatting.join(client, going.room)
        listed = await _secrets()
        closed = await _secrets("state=rotate", "grace=1")
    going.check(await chatting.histories(lab, going.room))
    print(f"longest time without a successful send: {going.longest_silence_s:.1f} s")
    async with open_client(lab.urls, token=former_token) as client:
        with pytest.raises(ClientClosed, match="no key of this node verifies it"), trio.fail_after(20):
            await client.rooms()

    told = " ".join(listed.output.split())
    assert "chat-system_jwt_key-" in told
    assert "used by node1, node2, node3 | needed by releases" in told
    assert "The former values are worth nothing any more" in " ".join(closed.output.split())
    shown = [value for value in replaced if value in opened.output + listed.output + closed.output]
    assert not shown
    there = lab.ssh("host1", "docker secret ls --quiet --filter name=chat-system_").split()
    assert len(there) == 2 + len(lab.hosts), "what was replaced is forgotten"
    again = await _secrets("state=prune")
    assert again.changed == 0


async def _secrets(*arguments: str) -> Play:
    play = await trio.to_thread.run_sync(
        partial(playbook, "secrets", "-vvv", *(part for argument in arguments for part in ("-e", argument)))
    )
    assert play.code == 0, play.output[-4000:]
    return play


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"state": "swap"}, "it is one of: list, create, open, close, rotate, prune"),
        ({"state": "rotate", "grace": "soon"}, "it is a number of seconds"),
        ({"state": "open"}, "no second value can be valid"),
        ({"state": "open", "chat_jwt_key_former": "{{ chat_jwt_key }}"}, "chat_jwt_key_former are the same"),
    ],
)
def test_what_makes_no_sense_is_refused(lab: Lab, arguments: dict[str, str], said: str) -> None:
    del lab
    play = playbook("secrets", "-e", json.dumps(arguments))
    assert play.code != 0
    assert said in " ".join(play.output.split()), play.output[-3000:]
    assert play.changed == 0
