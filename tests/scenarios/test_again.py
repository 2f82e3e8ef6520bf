"""Running again changes nothing, looking changes nothing, and what somebody bent by hand is put right."""

from __future__ import annotations

import re

import pytest

from tests.scenarios.lab import STACK, Lab, Play, playbook


@pytest.mark.timeout(600)
def test_a_look_at_a_live_cluster_is_clean(lab: Lab) -> None:
    play = playbook("site", "--check", "--diff", "-vvv")
    assert play.code == 0, play.output[-3000:]
    assert play.changed == 0
    _assert_no_secret(lab, play)
    assert set(play.hosts) >= set(lab.hosts)


@pytest.mark.timeout(600)
def test_a_look_shows_what_would_change_and_changes_nothing(lab: Lab) -> None:
    before = _spec(lab, "node1")
    play = playbook("deploy", "--check", "--diff", "-e", '{"chat_log_level": "DEBUG"}')
    assert play.code == 0, play.output[-3000:]
    assert re.search(r"^\+.*LOG_LEVEL.*DEBUG", play.output, re.MULTILINE), play.output[-3000:]
    assert _spec(lab, "node1") == before


@pytest.mark.timeout(600)
def test_a_service_bent_by_hand_is_put_right(lab: Lab) -> None:
    wanted = _environment(lab, "node3")
    lab.ssh("host1", f"docker service update --env-add LOG_LEVEL=ERROR {STACK}_node3", timeout_s=180)
    assert _environment(lab, "node3") != wanted
    play = playbook("deploy", "-vvv")
    assert play.code == 0, play.output[-3000:]
    assert play.changed > 0
    _assert_no_secret(lab, play)
    assert _environment(lab, "node3") == wanted


@pytest.mark.timeout(300)
@pytest.mark.long
def test_one_host_alone_can_be_looked_after(lab: Lab) -> None:
    play = playbook("site", "--limit", "host3")
    assert play.code == 0, play.output[-3000:]
    assert play.changed == 0


def _assert_no_secret(lab: Lab, play: Play) -> None:
    """Not at the most talkative either, which repeats what modules were given."""
    for name in ("jwt_key", "nats_password"):
        assert (lab.inventory / "secrets" / name).read_text().strip() not in play.output


def _spec(lab: Lab, node: str) -> str:
    return lab.ssh("host1", f"docker service inspect {STACK}_{node} --format '{{{{json .Spec}}}}'")


def _environment(lab: Lab, node: str) -> str:
    template = "{{json .Spec.TaskTemplate.ContainerSpec.Env}}"
    return lab.ssh("host1", f"docker service inspect {STACK}_{node} --format '{template}'")
