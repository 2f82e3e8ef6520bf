"""The node beside its peers, on the same work, in one run: ``make bench``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import plots, table
from bench.directory import DOCS, MAKE, scratch
from bench.measure import Measured, Spec
from bench.rows import ROWS, Row
from bench.servers import CHAT, CLUSTER, EJABBERD, PEERS

_SERVERS = (CHAT, CLUSTER, *PEERS, "nats-py", EJABBERD)
_QUICK_SERVERS = (CHAT, "nats", "websockets")
"""Those that come with the Python environment."""

Results = dict[str, dict[str, list[Measured]]]


def measure_row(name: str, row: Row, spec: Spec, servers: Sequence[str], rounds: int) -> dict[str, list[Measured]]:
    """All servers in turn, several times: what disturbs the machine disturbs all of them."""
    found: dict[str, list[Measured]] = {server: [] for server in servers}
    for number in range(min(rounds, row.rounds)):
        for server in servers:
            began = time.monotonic()
            try:
                with scratch() as directory:
                    measured = row.measure(server, directory, spec)
            except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
                print(f"{name} {number + 1}, {server}: FAILED: {error}", flush=True)
                continue
            found[server].append(measured)
            told = ", ".join(f"{figure.title}: {_shown(measured, figure)}" for figure in row.figures)
            print(f"{name} {number + 1}, {server}: {told} ({time.monotonic() - began:.0f} s)", flush=True)
    return found


def _shown(measured: Measured, figure: table.Figure) -> str:
    return f"{table.number(measured[figure.key] / figure.scale)} {figure.unit}"


def measure(names: Sequence[str], arguments: argparse.Namespace) -> Results:
    """The rows with these names, each kept when it is done; a server that fails a row has no figure there."""
    results: Results = {}
    wanted = _QUICK_SERVERS if arguments.quick else arguments.servers.split(",")
    for name in names:
        row, about = ROWS[name], machine()
        spec = row.spec | (row.quick or {} if arguments.quick else {})
        servers = [server for server in row.servers if server in wanted]
        results[name] = measure_row(name, row, spec, servers, 1 if arguments.quick else arguments.rounds)
        if not arguments.quick:
            keep({name: results[name]}, about, DOCS if arguments.docs else MAKE / "bench")
    return results


def machine() -> dict[str, object]:
    """What it was measured on."""
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": model.partition(":")[2].strip(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def keep(results: Results, about: dict[str, object], directory: Path) -> None:
    """Add to what was measured before, row by row; draw the plots and the table anew."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "results.json"
    kept = json.loads(path.read_text()) if path.exists() else {"rows": {}, "machine": {}}
    kept["rows"] |= results
    kept["machine"] |= dict.fromkeys(results, about)
    for part in kept:
        kept[part] = {name: kept[part][name] for name in ROWS if name in kept[part]}
    path.write_text(json.dumps(kept, indent=1) + "\n")
    (directory / "table.md").write_text(written(kept["rows"]))
    plots.draw(kept["rows"], directory)


def written(rows: Results) -> str:
    """The table of these rows."""
    used = [server for server in _SERVERS if any(server in found for found in rows.values())]
    return table.markdown({name: ROWS[name].figures for name in rows}, rows, used)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", default="", help=f"rows, by space: {' '.join(ROWS)}")
    parser.add_argument("--servers", default=",".join(_SERVERS), help="separated by commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="does it work at all? Under a minute; keeps nothing")
    parser.add_argument("--docs", action="store_true", help="keep the figures in docs/bench")
    return parser.parse_args()


def main() -> None:
    """Measure, print the table, keep the figures."""
    arguments = _arguments()
    names = arguments.only.split() or [name for name, row in ROWS.items() if not arguments.quick or row.quick]
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        print(f"No such row: {', '.join(unknown)}. There are: {' '.join(ROWS)}", file=sys.stderr)
        sys.exit(2)
    results = measure(names, arguments)
    print("\n" + written(results))
    if not all(found for row in results.values() for found in row.values()):
        print("Some work was not done: see FAILED above.", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
