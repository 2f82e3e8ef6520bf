"""``chat-node export``, ``import`` and ``verify``: the log as a file and back."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec
import trio

from node import logs
from node.app import open_loader, open_source
from node.cli.common import run_trio
from node.config import Settings, load
from node.errors import ChatError
from node.export import Progress, save
from node.export import export as export_log
from node.restore import Report, restore
from node.restore import verify as verify_file

_PROGRESS_INTERVAL_S = 0.5

progress_option = click.option(
    "--progress/--no-progress", default=None, help="Tell on standard error how far it is; default: on a terminal."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@progress_option
def export(file: Path, progress: bool | None) -> None:
    """Write the log to FILE (gzip if its name ends in .gz), or to standard output for -.

    The log is found by the settings of the node: NATS_URL and what belongs to it, else DATA_DIR. The node may run and
    be used; what it takes after the export began is not in it. FILE appears when it is whole.
    """
    settings = _settings()

    async def run() -> None:
        async with open_source(settings) as source:
            if str(file) != "-":
                await save(source, file, tell)
                return
            async with aclosing(export_log(source)) as pieces:
                async for piece in pieces:
                    await trio.to_thread.run_sync(_write_out, piece.data)
                    tell(piece.done, piece.total)

    with _progress("exported", progress) as tell, _named_errors():
        run_trio(run)


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True))
@progress_option
@json_option
def import_(file: Path, progress: bool | None, as_json: bool) -> None:
    """Put the export FILE, or standard input for -, into an empty log, which gets a new epoch.

    The log is found as by export. FILE is verified first. No node serves the log before all of FILE is in it; an
    import that was broken off is simply repeated. On SQLite the node must be stopped; on NATS nodes may run, and
    start again by themselves.
    """
    settings = _settings()

    async def run() -> tuple[Report, str]:
        async with open_loader(settings) as loader:
            with _seekable(file, settings.data_dir) as path:
                return await restore(path, loader, settings.data_dir, tell)

    with _progress("verified and imported", progress) as tell, _named_errors():
        report, epoch = run_trio(run)
    _show(report, as_json, new_epoch=epoch)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@progress_option
@json_option
def verify(file: Path, progress: bool | None, as_json: bool) -> None:
    """Check that the export FILE is whole and unchanged, and tell what is in it; exits with 1 if it is not.

    All of it is applied, as a node does, to a state in TMPDIR. Its digest is the one that /readyz of every node told
    when the last entry was the one of the export.
    """
    with _progress("verified", progress) as tell, _named_errors():
        report = verify_file(file, None, tell)
    _show(report, as_json)


def _settings() -> Settings:
    logs.configure_client()
    return load(os.environ)


def _show(report: Report, as_json: bool, **more: str) -> None:
    values: dict[str, Any] = msgspec.to_builtins(report) | more
    if as_json:
        click.echo(msgspec.json.encode(values))
        return
    for name, value in values.items():
        click.echo(f"{name.replace('_', ' '):<13} {value}")


@contextmanager
def _seekable(file: Path, directory: Path) -> Iterator[Path]:
    """A file that can be read twice, as standard input cannot."""
    if str(file) != "-":
        yield file
        return
    with tempfile.NamedTemporaryFile(dir=directory, prefix="import-") as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.flush()
        yield Path(copy.name)


def _write_out(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


@contextmanager
def _progress(what: str, wanted: bool | None) -> Iterator[Progress]:
    """Tells how many of how many are done, now and then, and at the end."""
    if not (sys.stderr.isatty() if wanted is None else wanted):
        yield lambda done, total: None
        return
    last_told_s, last_done = -_PROGRESS_INTERVAL_S, -1
    started_s = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last_told_s, last_done
        now_s = time.monotonic()
        if done == last_done or (now_s - last_told_s < _PROGRESS_INTERVAL_S and done < total):
            return
        last_told_s, last_done = now_s, done
        share = 100 * done // total if total else 100
        click.echo(f"{what}: {done} of {total} entries, {share} %, {now_s - started_s:.1f} s", err=True)

    yield tell


@contextmanager
def _named_errors() -> Iterator[None]:
    """A full disk, say, is told in a line."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ChatError(str(error)) from None
