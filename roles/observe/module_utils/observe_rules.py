"""The rules by which a cluster is judged: each yields findings, with the command that comes next.

Pure: no clock, no file, no network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible.module_utils.observe_view import (
    DEGRADED,
    NOTE,
    Finding,
    Json,
    View,
    fill_percent,
    lag,
    log_leader,
    moment,
    short,
    token_expiry,
    when,
)

DAY_S, HOUR_S = 86_400, 3_600
TIMER_LATE_S = 7_800
CLOCK_APART_S = 30
FULL_PERCENT = 97
DEPLOY = "`ansible-playbook playbooks/deploy.yml`"
IMAGE_ERRORS = re.compile(
    r"No such image|pull access denied|manifest unknown|not found: manifest|repository .* not found"
)

# Of two findings, the one whose cause stands first here explains the other rather than the reverse.
CAUSES = (
    "unreachable", "engine", "disk", "swarm_quorum", "not_deployed", "label", "image", "secret", "scaled_to_0",
    "crash_loop", "not_running", "jetstream_quorum", "network", "unhealthy", "behind", "not_ready", "firewall", "probe",
    "update", "clock", "filling", "memory", "restarts", "drift", "certificate", "token", "lock", "window", "timer",
)  # fmt: skip


def machines_answer(view: View) -> Iterator[Finding]:
    for host, why in sorted(view.silent.items()):
        yield Finding(
            "unreachable",
            DEGRADED,
            f"{host} cannot be reached: {short(why)}",
            f"switch {host} on, or mend its network and SSH; gone for good: "
            f"`ansible-playbook playbooks/replace_host.yml`",
        )
    for host, facts in view.answered.items():
        if not facts["engine"]["up"]:
            text = f"the Docker engine of {host} does not answer: {short(facts['engine']['error'])}"
            yield Finding("engine", DEGRADED, text, f"`ansible {host} -b -a 'systemctl start docker'`")


def disks_have_room(view: View) -> Iterator[Finding]:
    for host, facts in view.answered.items():
        fullest = max(facts["host"]["disks"], key=fill_percent)
        percent = fill_percent(fullest)
        if percent >= view.limits["disk_percent"]:
            # A full disk explains nearly everything else; one that fills up explains nothing yet.
            text = f"the disk of {host} at {fullest['path']} is {percent:g} % full"
            step = f"`ansible {host} -b -a 'du -xh -d 2 {fullest['path']}'`, then make room"
            yield Finding("disk" if percent >= FULL_PERCENT else "filling", DEGRADED, text, step)
        memory = 100 - 100 * facts["host"]["available_bytes"] / facts["host"]["memory_bytes"]
        if memory >= view.limits["memory_percent"]:
            text = f"{memory:.0f} % of the memory of {host} is in use"
            yield Finding("memory", DEGRADED, text, "`ansible-playbook playbooks/resources.yml`")


def swarm_has_quorum(view: View) -> Iterator[Finding]:
    managers = [(h, f["swarm"]) for h, f in view.answered.items() if f.get("swarm", {}).get("manages")]
    errors = [(h, f["swarm"]["error"]) for h, f in view.answered.items() if f.get("swarm", {}).get("error")]
    if view.managing:
        lost = [m["hostname"] for m in view.managing["machines"] if m["manager"] and not m["reachable"]]
        for hostname in lost:
            text = f"the Swarm does not hear its manager {hostname}"
            yield Finding("unreachable", DEGRADED, text, f"see whether {hostname} runs: `playbooks/network.yml`")
        return
    if errors or managers:
        host, error = (errors or [(managers[0][0], "no answer")])[0]
        yield Finding(
            "swarm_quorum",
            DEGRADED,
            f"the Swarm has no quorum, so nothing can be changed, while what runs goes on: {host} says {short(error)}",
            "bring back enough managers; if they are gone for good: `docker swarm init --force-new-cluster` on the one "
            "that is left, then `ansible-playbook playbooks/site.yml`",
        )
    elif view.answered:
        yield Finding("swarm_quorum", DEGRADED, "no host manages a Swarm", "`ansible-playbook playbooks/site.yml`")


def services_run(view: View) -> Iterator[Finding]:
    expected = {name for services in view.expected.values() for name in services.values()}
    if view.managing and not view.services:
        yield Finding("not_deployed", DEGRADED, "the stack is not deployed", DEPLOY)
        return
    for name in sorted(expected - view.services.keys() if view.managing else ()):
        yield Finding(
            "not_deployed", DEGRADED, f"there is no service {name}", "`ansible-playbook playbooks/deploy.yml`"
        )
    for name, row in sorted(view.services.items()):
        if row["wanted"] == 0:
            step = f"`ansible-playbook playbooks/start.yml -e node={name}`"
            yield Finding("scaled_to_0", DEGRADED, f"{name} is scaled to 0", step)
        elif row["running"] < row["wanted"]:
            yield why_not_running(view, name, row)
        elif lately(view, row) >= view.limits["restarts"]:
            text = f"{name} went down {lately(view, row)} times within an hour: {'; '.join(row['errors'][:1])}"
            yield Finding("restarts", DEGRADED, text, f"`ansible-playbook playbooks/logs.yml -e node={name}`")
        if row["running"] and (row["update"].startswith("rollback") or row["update"] == "paused"):
            text = f"Swarm says {row['update']} of {name}: {row['update_message']}"
            yield Finding("update", NOTE, text, f"`ansible-playbook playbooks/inspect.yml -e node={name}`")


def lately(view: View, row: Json) -> int:
    """How many tasks went down within the last hour."""
    return sum(moment(at) > view.now - HOUR_S for at in row["failed_at"])


def why_not_running(view: View, name: str, row: Json) -> Finding:
    """The finding on a service that has fewer tasks than it should."""
    text = f"{name} is {row['running']}/{row['wanted']}"
    error = next(iter(row["errors"]), "")
    homes = [m for m in view.managing["machines"] if m["node_type"] == row["node_type"]]
    if row["node_type"] and not homes:
        text += f": no machine has the label node_type={row['node_type']}"
        return Finding("label", DEGRADED, text, "`ansible-playbook playbooks/site.yml` sets the labels")
    if any(m["state"] != "ready" for m in homes):
        text += f": its machine {homes[0]['hostname']} is {homes[0]['state']}"
        return Finding("not_running", DEGRADED, text, f"see {homes[0]['hostname']}: `playbooks/network.yml`")
    if any(m["availability"] != "active" for m in homes):
        text += f": its machine {homes[0]['hostname']} is set to {homes[0]['availability']}"
        step = f"`docker node update --availability active {homes[0]['hostname']}` on a manager"
        return Finding("not_running", DEGRADED, text, step)
    if row["missing_objects"]:
        text += f": {', '.join(row['missing_objects'])} is gone from the Swarm"
        return Finding("secret", DEGRADED, text, f"{DEPLOY} makes it again")
    if IMAGE_ERRORS.search(error):
        text += f": its image cannot be had: {error}"
        return Finding("image", DEGRADED, text, f"see that the registry answers, then {DEPLOY}")
    if row["failed_at"]:
        text += f", {len(row['failed_at'])} tasks ended, the last with: {error}"
        return Finding("crash_loop", DEGRADED, text, f"`ansible-playbook playbooks/logs.yml -e node={name}`")
    return Finding("not_running", DEGRADED, text, f"`ansible-playbook playbooks/inspect.yml -e node={name}`")


def containers_are_healthy(view: View) -> Iterator[Finding]:
    for host, row in view.containers:
        if row["status"] == "running" and row["health"] == "unhealthy":
            text = f"{row['service']} on {host} is unhealthy: {short(row['check_output']) or 'its check says nothing'}"
            step = f"`ansible-playbook playbooks/logs.yml -e node={row['service']}`"
            yield Finding("unhealthy", DEGRADED, text, step)


def log_has_quorum(view: View) -> Iterator[Finding]:
    servers = {name: server for name, server in view.log_servers.items() if not server["error"]}
    if servers and not any(log_leader(server) for server in servers.values()):
        said = next(iter(servers.values()))["healthz"].get("error", "there is no leader")
        text = f"the log has no quorum, so no message can be sent: {short(said)}"
        yield Finding("jetstream_quorum", DEGRADED, text, "two of nats1..nats3 have to run: see the findings above")
    for name, server in sorted(view.log_servers.items()):
        if server["error"]:
            step = f"`ansible-playbook playbooks/logs.yml -e node={name}`"
            yield Finding("unhealthy", DEGRADED, f"{name} does not answer: {short(server['error'])}", step)
        elif log_leader(server) and server["healthz"].get("status") != "ok":
            text = f"{name} has not caught up: {short(server['healthz'].get('error', ''))}"
            yield Finding("behind", DEGRADED, text, "wait; it catches up by itself")


def nodes_hear_each_other(view: View) -> Iterator[Finding]:
    # One that starts or drains is silent by itself.
    talking = {
        name: node["ready"]
        for name, node in view.nodes.items()
        if node["ready"].get("ready") or "cut off" in (node["ready"].get("reason") or "")
    }
    for name, answer in sorted(talking.items()):
        # Of several replicas, node1 and node1-2, one is enough.
        heard = {peer.partition("-")[0] for peer in answer.get("peers", [])}
        deaf = sorted(talking.keys() - {name} - heard)
        if deaf:
            text = f"{name} does not hear {', '.join(deaf)}, which run"
            yield Finding("network", DEGRADED, text, "`ansible-playbook playbooks/network.yml`")
    running = {name for name, server in view.log_servers.items() if not server["error"]}
    for name, server in sorted(view.log_servers.items()):
        replicas = server["jsz"].get("meta_cluster", {}).get("replicas") or []
        lost = sorted({replica["name"] for replica in replicas if replica.get("offline")} & running)
        if lost:
            text = f"{name} does not hear {', '.join(lost)}, which run: the overlay does not carry packets"
            yield Finding("network", DEGRADED, text, "`ansible-playbook playbooks/network.yml`")


def nodes_are_ready(view: View) -> Iterator[Finding]:
    for name, node in sorted(view.nodes.items()):
        answer = node["ready"]
        step = f"`ansible-playbook playbooks/logs.yml -e node={name}`"
        if not answer:
            yield Finding("not_ready", DEGRADED, f"{name} does not answer: {short(node['error'])}", step)
        elif lag(answer) > view.limits["lag_entries"] or "behind" in (answer.get("reason") or ""):
            yield Finding("behind", DEGRADED, f"{name} is {lag(answer)} entries behind the log", "wait; it catches up")
        elif not answer["ready"]:
            yield Finding("not_ready", DEGRADED, f"{name} is not ready: {answer['reason']}", step)


def probes_come_through(view: View) -> Iterator[Finding]:
    for host, probe in sorted(view.probes.items()):
        node = view.expected[host]["node"]
        if probe.get("ok"):
            continue
        text = f"no message came through {node} on {host} from outside: {short(probe.get('reason', ''))}"
        if view.nodes.get(node, {}).get("ready", {}).get("ready"):
            text += "; inside it is ready, so something on the way keeps clients out"
            yield Finding("firewall", DEGRADED, text, f"`ansible {host} -b -a 'nft list table inet host_firewall'`")
        else:
            yield Finding("probe", DEGRADED, text, f"`ansible-playbook playbooks/logs.yml -e node={node}`")


def clocks_agree(view: View) -> Iterator[Finding]:
    for host, facts in view.answered.items():
        apart_s = abs(facts["at"] - view.now)
        if apart_s > CLOCK_APART_S:
            text = f"the clock of {host} differs by {apart_s:.0f} s from this machine's"
            yield Finding("clock", DEGRADED, text, f"`ansible {host} -b -a 'chronyc tracking'`")


def nothing_drifted(view: View) -> Iterator[Finding]:
    for difference in view.managing.get("drift", []):
        text = f"differs from the last release: {difference}"
        yield Finding("drift", DEGRADED, text, "`ansible-playbook playbooks/deploy.yml --check --diff`")


def nothing_expires(view: View) -> Iterator[Finding]:
    soon = view.now + view.limits["expiry_days"] * DAY_S
    for host, facts in view.answered.items():
        expires = facts.get("certificate", {}).get("expires")
        if expires is not None and expires < soon:
            text = f"the Swarm's certificate of {host} expires {when(expires)}; the Swarm should have renewed it by now"
            yield Finding("certificate", DEGRADED, text, "`docker swarm ca --rotate` on a manager")
    for name, token in sorted(view.tokens.items()):
        expires = token_expiry(token)
        if expires is not None and expires < soon:
            yield Finding(
                "token", DEGRADED, f"the token {name} expires {when(expires)}", "make a new one: `chat-node token`"
            )


def something_is_going_on(view: View) -> Iterator[Finding]:
    lock, window = view.managing.get("lock"), view.managing.get("window")
    if lock:
        late = " and should be over" if moment(lock["expires"]) < view.now else ""
        text = f"{lock['owner']} holds the lock since {lock['since']} for {lock['verb']}{late}"
        yield Finding("lock", NOTE, text, "`ansible-playbook playbooks/lock.yml`")
    if window and moment(window["until"]) > view.now:
        text = f"a maintenance window is open until {window['until']}, by {window.get('owner', '?')}"
        yield Finding("window", NOTE, text)


def hourly_check_runs(view: View) -> Iterator[Finding]:
    reports = [f["timer"] for f in view.answered.values() if f.get("timer", {}).get("acted")]
    if not reports:
        return
    newest = max(reports, key=lambda report: str(report["checked_at"]))
    age_s = view.now - moment(newest["checked_at"])
    text = f"the hourly check on {newest['by']} said {newest['level']} {age_s / 60:.0f} minutes ago"
    step = "`ansible all -b -a 'systemctl status chat-health.timer'`" if age_s > TIMER_LATE_S else ""
    yield Finding("timer", DEGRADED if age_s > TIMER_LATE_S else NOTE, text, step)


RULES = (
    machines_answer, disks_have_room, swarm_has_quorum, services_run, containers_are_healthy, log_has_quorum,
    nodes_hear_each_other, nodes_are_ready, probes_come_through, clocks_agree, nothing_drifted, nothing_expires,
    something_is_going_on, hourly_check_runs,
)  # fmt: skip
