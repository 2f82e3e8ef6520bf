"""What is wrong with a network, by what each host found of it. Pure."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def judge(hosts: dict[str, Json], targets: dict[str, str], silent: dict[str, str]) -> list[str]:
    """What is wrong, each with what to do.

    Args:
        hosts: inventory name -> what `examine` found.
        silent: inventory name -> why it did not answer.
    """
    faults = [f"{host} cannot be reached: {why}" for host, why in sorted(silent.items())]
    for host, found in sorted(hosts.items()):
        if found["error"]:
            faults.append(f"{host}: {found['error']}")
            continue
        faults += [f"{host}: {line}" for line in found["lost"]]
        faults += [f"{host}: {name} {said}" for name, said in found["connects"].items() if said.startswith("failed")]
        faults += [
            f"{host}: no way out to {place}: {said}" for place, said in found["way_out"].items() if "failed" in said
        ]
        for name, addresses in found["names"].items():
            if addresses != [targets[name]]:
                faults.append(
                    f"{host}: the name {name} is {', '.join(addresses) or 'unknown'} instead of {targets[name]}"
                )
        if found["mtu"]["overlay"] > found["mtu"]["host"]:
            faults.append(f"{host}: the overlay's MTU is larger than that of the link below it")
    lost = [fault for fault in faults if "no answer from" in fault]
    if lost and all("64 bytes" not in fault for fault in lost):
        faults.append(
            "only large packets are lost: the network between the hosts carries less than 1,500 bytes a packet"
        )
    elif lost:
        faults.append("packets are lost: open 4789/udp and 7946/tcp+udp between the hosts")
    return faults
