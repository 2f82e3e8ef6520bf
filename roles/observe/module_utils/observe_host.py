"""What the kernel tells of a host and of its containers: /proc and the control groups of either version.

Sources: proc(5), and Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/*.rst of Linux.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

CGROUPS = Path("/sys/fs/cgroup")
PROC = Path("/proc")
UNLIMITED_BYTES = 1 << 60  # version 1 says "no limit" with a number near 2**63
VIRTUAL_LINKS = ("lo", "veth", "docker", "br-", "vx-", "ov-")


def memory() -> dict[str, int]:
    """Bytes of the host's memory by the names of /proc/meminfo."""
    lines = (line.split() for line in (PROC / "meminfo").read_text().splitlines())
    return {parts[0].rstrip(":"): int(parts[1]) * 1024 for parts in lines}


def disk(path: str) -> dict[str, Any]:
    """Bytes and percent of the file system that a path is on, as a user without privileges has them."""
    found = os.statvfs(path)
    used, free = (found.f_blocks - found.f_bfree) * found.f_frsize, found.f_bavail * found.f_frsize
    inodes = 100 * (found.f_files - found.f_ffree) / found.f_files if found.f_files else 0.0
    return {
        "path": path,
        "free_bytes": free,
        "used_percent": round(100 * used / ((used + free) or 1), 1),
        "inodes_percent": round(inodes, 1),
    }


def links(pid: int | str = "self", *, real_only: bool = True) -> dict[str, int]:
    """Bytes in and out over a process's network links since they are up."""
    totals = {"in_bytes": 0, "out_bytes": 0}
    for line in (PROC / str(pid) / "net/dev").read_text().splitlines()[2:]:
        name, _, numbers = line.strip().partition(":")
        if name == "lo" or (real_only and name.startswith(VIRTUAL_LINKS)):
            continue
        fields = numbers.split()
        totals["in_bytes"] += int(fields[0])
        totals["out_bytes"] += int(fields[8])
    return totals


def host_sample() -> dict[str, float]:
    """Counters of the host that only ever grow: seconds of processor time, bytes of network and disk."""
    busy = [int(number) for number in (PROC / "stat").read_text().split("\n", 1)[0].split()[1:]]
    idle_s = (busy[3] + busy[4]) / os.sysconf("SC_CLK_TCK")
    sectors = [line.split() for line in (PROC / "diskstats").read_text().splitlines()]
    whole = [fields for fields in sectors if (Path("/sys/block") / fields[2]).exists()]
    return {
        "cpu_s": sum(busy[:8]) / os.sysconf("SC_CLK_TCK") - idle_s,
        "disk_bytes": float(sum(int(fields[5]) + int(fields[9]) for fields in whole) * 512),
        **{name: float(value) for name, value in links().items()},
    }


def container_sample(pid: int) -> dict[str, float]:
    """Counters of a container that only ever grow, by the control groups of its first process."""
    groups = groups_of((PROC / str(pid) / "cgroup").read_text())
    return {**cpu_and_disk(CGROUPS, groups), **{k: float(v) for k, v in links(pid, real_only=False).items()}}


def container_levels(pid: int) -> dict[str, int]:
    """What a container holds now: bytes of memory without the page cache it could give back, its limit, processes."""
    return levels(CGROUPS, groups_of((PROC / str(pid) / "cgroup").read_text()))


def groups_of(text: str) -> dict[str, str]:
    """Controller -> path, of /proc/PID/cgroup; version 2 is the controller ""."""
    found = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def cpu_and_disk(root: Path, groups: dict[str, str]) -> dict[str, float]:
    """Seconds of processor time and bytes read and written."""
    if "cpuacct" in groups:
        used_s = number(root / "cpuacct" / groups["cpuacct"][1:] / "cpuacct.usage") / 1e9
        transfers = read(root / "blkio" / groups["blkio"][1:] / "blkio.throttle.io_service_bytes")
        totals = [int(line.split()[1]) for line in transfers.splitlines() if line.startswith("Total")]
        return {"cpu_s": used_s, "disk_bytes": float(sum(totals))}
    group = root / groups[""][1:]
    pairs = (part.split("=") for part in read(group / "io.stat").split() if "=" in part)
    used_us = fields(read(group / "cpu.stat")).get("usage_usec", 0)
    return {
        "cpu_s": used_us / 1e6,
        "disk_bytes": float(sum(int(value) for name, value in pairs if name in ("rbytes", "wbytes"))),
    }


def levels(root: Path, groups: dict[str, str]) -> dict[str, int]:
    """Memory, its limit (0: none) and processes."""
    if "memory" in groups:
        group = root / "memory" / groups["memory"][1:]
        used, limit = number(group / "memory.usage_in_bytes"), number(group / "memory.limit_in_bytes")
        cache = fields(read(group / "memory.stat")).get("total_inactive_file", 0)
        pids = number(root / "pids" / groups["pids"][1:] / "pids.current")
    else:
        group = root / groups[""][1:]
        used, limit = number(group / "memory.current"), number(group / "memory.max")
        cache = fields(read(group / "memory.stat")).get("inactive_file", 0)
        pids = number(group / "pids.current")
    return {
        "memory_bytes": max(used - cache, 0),
        "limit_bytes": limit if limit < UNLIMITED_BYTES else 0,
        "processes": pids,
    }


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""  # a controller that this kernel or this container does not have


def number(path: Path) -> int:
    text = read(path).strip()
    return int(text) if text.isdigit() else 0


def fields(text: str) -> dict[str, int]:
    """Lines of a name and a number."""
    return {line.split()[0]: int(line.split()[1]) for line in text.splitlines() if len(line.split()) == 2}


def rates(before: dict[str, float], after: dict[str, float], took_s: float) -> dict[str, float]:
    """Growth a second of each counter; processor time as percent of one processor."""
    grown = {name: max(after[name] - before[name], 0) / took_s for name in after.keys() & before.keys()}
    if "cpu_s" in grown:
        grown["cpu_percent"] = 100 * grown.pop("cpu_s")
    return {name.replace("_bytes", "_bytes_s"): round(value, 2) for name, value in grown.items()}
