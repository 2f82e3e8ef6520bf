"""For every alert: what is seen when it should fire, and whether a maintenance window excuses it.

Time is in steps of 15 s, as Prometheus looks. The fault is there from step 20 to step 80, and looked at in step 70.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

STEP_S, FAULT, LOOK, MENDED, END = 15, 20, 70, 80, 160
DAY_S = 86_400
HOSTS = (1, 2, 3)

Series = dict[str, str]


def steady(value: float) -> str:
    """The same value all the time, as promtool writes it."""
    return f"{value:g}x{END}"


def clock(offset_s: float = 0) -> str:
    """The time of the look itself, so much later."""
    return f"{offset_s:g}+{STEP_S}x{END}"


def while_faulty(bad: float, good: float = 0.0) -> str:
    """One value during the fault, another before and after it."""
    return f"{good:g}x{FAULT - 1} {bad:g}x{MENDED - FAULT - 1} {good:g}x{END - MENDED}"


def missing() -> str:
    """Nobody tells during the fault."""
    return f"1x{FAULT - 1} _x{MENDED - FAULT} 1x{END - MENDED}"


def counting(during: float) -> str:
    """A counter that grows by so much a step during the fault."""
    return f"0x{FAULT - 1} {during:g}+{during:g}x{MENDED - FAULT - 1} {during * (MENDED - FAULT):g}x{END - MENDED}"


def stopped_clock() -> str:
    """A moment that was always the present one, stays what it is during the fault, and is the present again."""
    later = MENDED * STEP_S
    return f"0+{STEP_S}x{FAULT - 1} {FAULT * STEP_S}x{MENDED - FAULT - 1} {later}+{STEP_S}x{END - MENDED}"


def late(metric: str, service: str, host: str, seconds: float) -> Series:
    """A histogram in which everything takes more than 2.5 s, or less than 1 ms, counted during the fault."""
    labels = f'host="{host}",service="{service}"'
    fast = 0 if seconds > 1 else 10
    return {
        f'{metric}_bucket{{{labels},le="0.001"}}': counting(fast),
        f'{metric}_bucket{{{labels},le="1"}}': counting(fast),
        f'{metric}_bucket{{{labels},le="3"}}': counting(10),
        f'{metric}_bucket{{{labels},le="+Inf"}}': counting(10),
    }


def healthy() -> Series:
    """What is seen of a cluster in which nothing is wrong."""
    seen: Series = {}
    for n in HOSTS:
        on = f'host="host{n}"'
        node = f'{on},service="node{n}"'
        seen |= {
            f'up{{job="host",{on}}}': steady(1),
            f'up{{job="node",{node}}}': steady(1),
            f'up{{job="alertmanager",{on}}}': steady(1),
            f"chat_ready{{{node}}}": steady(1),
            f"chat_log_lag_entries{{{node}}}": steady(3),
            f'chat_drops_total{{{node},reason="full"}}': steady(0),
            f"chat_look_timestamp_seconds{{{on}}}": clock(),
            f"chat_probe_success{{{on}}}": steady(1),
            f"chat_probe_success_timestamp_seconds{{{on}}}": clock(-100),
            f'chat_disk_used_ratio{{{on},path="/",of="bytes"}}': steady(0.5),
            f'chat_disk_used_ratio{{{on},path="/",of="inodes"}}': steady(0.1),
            f'chat_certificate_expiry_timestamp_seconds{{{on},certificate="swarm"}}': steady(60 * DAY_S),
            f'chat_certificate_lifetime_seconds{{{on},certificate="swarm"}}': steady(90 * DAY_S),
            f'chat_certificate_expiry_timestamp_seconds{{{on},certificate="edge"}}': clock(4 * 3600),
            f'chat_certificate_lifetime_seconds{{{on},certificate="edge"}}': steady(12 * 3600),
            f"chat_swarm_quorum{{{on}}}": steady(1),
            f"chat_swarm_spare_managers{{{on}}}": steady(1),
            f'chat_service_failed_tasks{{{on},service="node2"}}': steady(1),
            f'chat_service_rolled_back{{{on},service="node2"}}': steady(0),
            f"chat_release_run_failed{{{on}}}": steady(0),
            f"chat_lock_expiry_timestamp_seconds{{{on}}}": clock(3600),
            f"chat_maintenance_until_timestamp_seconds{{{on}}}": steady(0),
            f'chat_nats_leader_known{{{on},server="nats{n}"}}': steady(1),
            f'chat_nats_stored_bytes{{{on},server="nats{n}"}}': steady(1e9),
            f'chat_nats_storage_limit_bytes{{{on},server="nats{n}"}}': steady(1e10),
            f"chat_backup_max_age_seconds{{{on}}}": steady(300),
            f'chat_backup_success_timestamp_seconds{{{on},kind="data"}}': clock(-60),
            f'chat_backup_success_timestamp_seconds{{{on},kind="config"}}': steady(0),
        }
    seen['chat_nats_spare_servers{host="host2"}'] = steady(1)
    seen['chat_nats_replica_lag_entries{host="host2",server="nats1"}'] = steady(5)
    return seen


def everywhere(name: str, values: str, more: str = "") -> Series:
    """A metric of every host."""
    return {f'{name}{{host="host{n}"{more.format(n=n)}}}': values for n in HOSTS}


@dataclass(frozen=True)
class Case:
    """One alert.

    Attributes:
        seen: what differs from the healthy cluster; it must be seen there too, or be new.
        labels: of the alert, besides its name.
        silent: whether it says nothing in a maintenance window.
    """

    alert: str
    seen: Series
    labels: dict[str, str] = field(default_factory=dict)
    severity: str = "warning"
    silent: bool = True


NODE2: dict[str, Any] = {"host": "host2", "service": "node2"}
CASES = [
    Case(
        "ChatDown",
        everywhere("chat_ready", while_faulty(0, 1), ',service="node{n}"'),
        severity="critical",
        silent=False,
    ),
    Case("ChatDown", everywhere("chat_ready", missing(), ',service="node{n}"'), severity="critical", silent=False),
    Case(
        "ChatNoProbe",
        everywhere("chat_probe_success_timestamp_seconds", f"0x{MENDED - 1} {MENDED * STEP_S}+{STEP_S}x{END - MENDED}"),
        severity="critical",
        silent=False,
    ),
    Case("ChatEdgeDown", {'chat_edge_up{host="host2"}': while_faulty(0, 1)}, {"host": "host2"}),
    Case("ChatProbeFails", {'chat_probe_success{host="host2"}': while_faulty(0, 1)}, {"host": "host2"}),
    Case("ChatCommitSlow", late("chat_commit_seconds", "node2", "host2", 2), NODE2),
    Case("ChatDeliverySlow", late("chat_delivery_seconds", "node2", "host2", 2), NODE2),
    Case("ChatEventLoopBusy", late("chat_event_loop_delay_seconds", "node2", "host2", 2), NODE2),
    Case(
        "ChatNodeFull",
        {'chat_drops_total{host="host2",service="node2",reason="full"}': counting(1)},
        NODE2 | {"reason": "full"},
        silent=False,
    ),
    Case("ChatHostDown", {'up{job="host",host="host2"}': while_faulty(0, 1)}, {"host": "host2", "job": "host"}),
    Case(
        "ChatNodeDown",
        {'up{job="node",host="host2",service="node2"}': while_faulty(0, 1)},
        NODE2 | {"job": "node"},
    ),
    Case("ChatNodeNotReady", {'chat_ready{host="host2",service="node2"}': while_faulty(0, 1)}, NODE2),
    Case(
        "ChatRestarts",
        everywhere("chat_service_failed_tasks", while_faulty(3), ',service="node2"'),
        {"service": "node2"},
    ),
    Case(
        "ChatDiskFills",
        {'chat_disk_used_ratio{host="host2",path="/",of="inodes"}': while_faulty(0.9)},
        {"host": "host2", "path": "/", "of": "inodes"},
        silent=False,
    ),
    Case(
        "ChatLogFills",
        {'chat_nats_stored_bytes{host="host2",server="nats2"}': while_faulty(9e9)},
        {"host": "host2", "server": "nats2"},
        silent=False,
    ),
    Case(
        "ChatLogQuorumLost",
        everywhere("chat_nats_leader_known", while_faulty(0, 1), ',server="nats{n}"'),
        severity="critical",
        silent=False,
    ),
    Case(
        "ChatSwarmQuorumLost",
        everywhere("chat_swarm_quorum", while_faulty(0, 1)),
        severity="critical",
        silent=False,
    ),
    Case("ChatQuorumAtRisk", everywhere("chat_swarm_spare_managers", while_faulty(0, 1))),
    Case("ChatQuorumAtRisk", {'chat_nats_spare_servers{host="host2"}': while_faulty(0, 1)}),
    Case("ChatReplicaBehind", {'chat_log_lag_entries{host="host2",service="node2"}': while_faulty(5000)}, NODE2),
    Case(
        "ChatLogCopyBehind",
        {'chat_nats_replica_lag_entries{host="host2",server="nats1"}': while_faulty(5000)},
        {"server": "nats1"},
    ),
    Case(
        "ChatReleaseRolledBack",
        everywhere("chat_service_rolled_back", while_faulty(1), ',service="node2"'),
        {"service": "node2"},
    ),
    Case("ChatReleaseRolledBack", everywhere("chat_release_run_failed", while_faulty(1))),
    Case(
        "ChatCertificateExpires",
        {
            'chat_certificate_expiry_timestamp_seconds{host="host2",certificate="swarm"}': while_faulty(
                DAY_S, 60 * DAY_S
            )
        },
        {"host": "host2", "certificate": "swarm"},
        silent=False,
    ),
    Case(
        "ChatCertificateExpires",
        {
            'chat_certificate_expiry_timestamp_seconds{host="host2",certificate="edge"}': while_faulty(
                4000, 60 * DAY_S
            ),
        },
        {"host": "host2", "certificate": "edge"},
        silent=False,
    ),
    Case(
        "ChatBackupStale",
        everywhere("chat_backup_success_timestamp_seconds", stopped_clock(), ',kind="data"'),
        silent=False,
    ),
    Case("ChatLockForgotten", everywhere("chat_lock_expiry_timestamp_seconds", while_faulty(1)), silent=False),
    Case("ChatMonitoringBlind", {'chat_look_timestamp_seconds{host="host2"}': stopped_clock()}, {"host": "host2"}),
    Case(
        "ChatMonitoringBlind",
        {'up{job="alertmanager",host="host2"}': while_faulty(0, 1)},
        {"host": "host2", "job": "alertmanager"},
    ),
]
