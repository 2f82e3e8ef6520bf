"""Do things to the lab while people chat on it, and judge what they saw.

``run`` writes three files: ``history.jsonl``, what everybody saw and did; ``report.json``, the figures;
``availability.png``, the same as a picture. ``judge`` makes the report of a history that is there already;
``together`` makes one table of the reports of several runs.
Exit code 1: an invariant is broken, a fault could not be done, or the cluster did not come back by itself.
Exit code 2: wrong use.
"""

from __future__ import annotations

import argparse
import logging
import math
import secrets
import sys
from pathlib import Path

import httpx
import structlog
import trio

from tests.faults.check_liveness import Limits
from tests.faults.checker import check_index
from tests.faults.history import Recorder, read
from tests.faults.index import Index
from tests.faults.lab import LabTarget
from tests.faults.nemesis import ChoiceError, chosen, each_once, for_ever
from tests.faults.plot import draw
from tests.faults.report import as_json, as_text, report
from tests.faults.run import run
from tests.faults.together import ReportError, together
from tests.faults.workload import Shape
from tests.scenarios.lab import Lab

_STORM_S = 20.0


def main(arguments: list[str]) -> int:
    """Run the command. Returns the exit code."""
    asked = _parser().parse_args(arguments)
    if asked.command == "judge":
        return judge(asked.history, asked.report, asked.plot, asked.patience)
    if asked.command == "together":
        return _together(asked.directories)
    directory: Path = asked.directory / f"seed-{asked.seed}"
    lab = Lab()
    if not (lab.inventory / "hosts.yml").exists():
        sys.stderr.write("There is no lab: `make up` makes one.\n")
        return 2
    directory.mkdir(parents=True, exist_ok=True)
    history = directory / "history.jsonl"
    # That connections break is what clients are there for.
    logging.getLogger("websockets").setLevel(logging.CRITICAL + 1)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        trio.run(_run, lab, history, asked.seed, asked.seconds, asked.only)
    except ChoiceError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return judge(history, directory / "report.json", directory / "availability.png", asked.patience)


def judge(history: Path, report_file: Path | None, plot_file: Path | None, patience: float) -> int:
    """Print the report of a history, and write it and its picture if wanted. Returns the exit code."""
    if not history.is_file():
        sys.stderr.write(f"{history}: there is no such history\n")
        return 2
    index = Index(read(history))
    found = check_index(index, Limits(patience=patience))
    made = report(index, found)
    sys.stdout.write(as_text(made, found) + "\n")
    if report_file is not None:
        report_file.write_bytes(as_json(made))
    if plot_file is not None:
        draw(index, plot_file)
    return 1 if found or index.stopped else 0


def _together(directories: list[Path]) -> int:
    try:
        sys.stdout.write(together(directories) + "\n")
    except ReportError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


async def _run(lab: Lab, history: Path, seed: int, seconds: float, only: list[str]) -> None:
    async with httpx.AsyncClient() as http:
        target = LabTarget(lab, http)
        once = not math.isfinite(seconds)
        faults = chosen(target.faults, only, once=once)
        blows = each_once(faults, seed) if once else for_ever(faults, seed)
        with history.open("wb") as out:
            shape = Shape(seed=seed, storm_s=_STORM_S, run=f"-{secrets.token_hex(3)}")
            await run(target, Recorder(out), shape, blows, seconds, _tell)


def _tell(line: str) -> None:
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.faults", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser("run", help="on the lab that is up")
    new.add_argument("--seed", type=int, default=1, help="of all chance (1)")
    new.add_argument("--seconds", type=float, default=math.inf, help="go on for so long; without: each fault once")
    new.add_argument("--only", action="append", default=[], help="a kind of fault; may be repeated")
    new.add_argument("--directory", type=Path, default=Path(".make/faults"), help="for what it writes (.make/faults)")
    again = commands.add_parser("judge", help="a history that is there")
    again.add_argument("history", type=Path)
    again.add_argument("report", type=Path, nargs="?", help="file for the figures")
    again.add_argument("plot", type=Path, nargs="?", help="file for the picture")
    table = commands.add_parser("together", help="what several runs came to, in Markdown")
    table.add_argument("directories", type=Path, nargs="+", metavar="DIR", help="what a run left, with its report.json")
    for command in (new, again):
        command.add_argument("--patience", type=float, default=1.0, help="multiplies all limits of time (1)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
