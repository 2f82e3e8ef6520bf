"""The structure of the program, read from its source: who may import whom, and what stays pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 400

# An import may only go up this list.
ORDER = [
    "errors", "files", "keys", "config", "metrics", "limits", "auth", "accounts", "jwks",
    "protocol.frames", "protocol.requests", "protocol.pushes", "protocol.answers",
    "state.records", "state.model", "state.outcome", "state.room_rules", "state.message_rules", "state.server_rules",
    "state.rules", "state.schema", "state.store", "state.reader", "protocol.translate", "protocol.session",
    "log.base", "log.end", "log.crossing", "log.nats_thread", "log.nats_consumer", "log.sqlite", "log.sqlite_copy",
    "log.stream", "log.jetstream", "log.jetstream_copy", "export", "restore",
    "tracing", "room", "outbox", "flusher", "hub", "pace", "submitter", "replica", "vitals", "cluster", "presence",
    "conversation", "transport.inbound", "transport.stream", "transport.handshake", "transport.websocket", "connection",
    "server",
    "admin_key", "api.problems", "api.bodies", "api.operations", "api.gate", "api.openapi", "api.routes", "web.pages",
    "http",
    "client_feed", "client_link", "client",
    "terminal.words", "terminal.transcript", "terminal.commands", "terminal.screen", "terminal.conversation",
    "terminal.chat",
    "logs", "app",
    "cli.common", "cli.chat", "cli.health", "cli.token", "cli.probe", "cli.talk", "cli.serve", "cli.backup",
    "cli.admin", "cli.user", "cli.notice", "cli.program", "__main__",
]  # fmt: skip

PURE = [
    "errors", "keys", "limits", "auth", "protocol.frames", "protocol.requests", "protocol.pushes", "protocol.answers",
    "protocol.translate", "protocol.session", "state.records", "state.model", "state.outcome", "state.room_rules",
    "state.message_rules", "state.server_rules", "state.rules", "transport.inbound", "terminal.transcript",
    "terminal.commands",
]  # fmt: skip
IMPURE = {
    "asyncio", "datetime", "os", "random", "secrets", "socket", "sqlite3", "subprocess", "threading", "time", "trio",
    "uuid",
}  # fmt: skip

# A library's only importers; a package stands for its modules.
CONFINED = {
    "trio_websocket": {"transport.websocket"},
    "wsproto": {"transport.websocket"},
    "h11": {"transport.handshake"},
    "nats": {
        "log.crossing",
        "log.nats_thread",
        "log.nats_consumer",
        "log.stream",
        "log.jetstream",
        "log.jetstream_copy",
    },
    "sqlite3": {"log.sqlite", "log.sqlite_copy", "state.schema", "state.store", "state.reader", "replica"},
    "jwt": {"keys", "auth"},
    "cryptography": {"keys"},
    "httpx": {"jwks", "cli"},
    "argon2": {"accounts"},
    "prometheus_client": {"metrics", "http", "app"},
    "hypercorn": {"http"},
    "starlette": {"api.routes", "web.pages", "http"},
    "click": {"cli"},
    "urwid": {"terminal.screen"},
}
CONCRETE_LOGS = {"node.log.sqlite", "node.log.sqlite_copy", "node.log.jetstream", "node.log.jetstream_copy"}


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT / "node").with_suffix("").parts)


SOURCES = {
    _module_name(path): path.read_text() for path in sorted((ROOT / "node").rglob("*.py")) if path.name != "__init__.py"
}


def _run_time_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from _run_time_nodes(child)


def imports(source: str) -> set[str]:
    """Full names of the modules that a source imports at run time, wherever in it."""
    found: set[str] = set()
    for node in _run_time_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            inside = {f"{base}.{alias.name}" for alias in node.names}
            submodules = {name for name in inside if name.removeprefix("node.") in ORDER}
            found |= submodules or {base}
    return found


def imports_down(module: str, source: str) -> set[str]:
    """The imports of a module that go the wrong way."""
    inner = {name.removeprefix("node.") for name in imports(source) if name.startswith("node.")}
    return {name for name in inner if ORDER.index(name) >= ORDER.index(module)}


def impurities(source: str) -> set[str]:
    """Libraries with a clock, chance, or input and output that a source imports."""
    return {name for name in imports(source) if name.split(".")[0] in IMPURE}


def outward_calls(source: str) -> set[str]:
    """What in a source prints, or ends the process."""
    names = {ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)}
    return names & {"print", "input", "exit", "quit", "sys.exit", "os._exit", "click.echo", "sys.stdout.write"}


def test_order_lists_every_module() -> None:
    assert sorted(SOURCES) == sorted(ORDER)


@pytest.mark.parametrize("module", SOURCES)
def test_imports_only_go_up(module: str) -> None:
    assert not imports_down(module, SOURCES[module])


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_have_no_clock_no_chance_and_no_io(module: str) -> None:
    assert not impurities(SOURCES[module])


@pytest.mark.parametrize("library", CONFINED)
def test_library_has_only_its_importers(library: str) -> None:
    importers = {
        module for module, source in SOURCES.items() if library in {name.split(".")[0] for name in imports(source)}
    }
    assert {module for module in importers if not CONFINED[library] & {module, module.split(".")[0]}} == set()


def test_only_the_composition_root_knows_concrete_logs() -> None:
    assert [
        module
        for module, source in SOURCES.items()
        if imports(source) & CONCRETE_LOGS and not module.startswith("log.")
    ] == ["app"]


@pytest.mark.parametrize("module", [module for module in SOURCES if not module.startswith("cli.")])
def test_only_the_command_line_prints_or_exits(module: str) -> None:
    assert not outward_calls(SOURCES[module])


@pytest.mark.parametrize("module", ["load", "talk", "wire", "dialects", "table"])
def test_the_load_of_the_benchmark_shares_no_code_with_the_node(module: str) -> None:
    inner = {name for name in imports((ROOT / "bench" / f"{module}.py").read_text()) if name.startswith("node")}
    assert not inner


def test_files_are_short() -> None:
    sources = [path for folder in ("node", "tests", "bench") for path in (ROOT / folder).rglob("*.py")]
    assert not {str(path): lines for path in sources if (lines := len(path.read_text().splitlines())) > MAX_LINES}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("hub", "from node.server import Server"),
        ("hub", "import node.server"),
        ("hub", "from node import server"),
        ("limits", "def f():\n    from node.config import Settings\n    import node.auth"),
        ("state.rules", "from node.state.store import Store"),
        ("state.rules", "from node.state import store"),
    ],
)
def test_a_planted_import_down_is_seen(module: str, source: str) -> None:
    assert imports_down(module, source)


def test_type_only_and_upward_imports_are_fine() -> None:
    assert not imports_down("room", "if TYPE_CHECKING:\n    from node.outbox import Outbox\nfrom node.errors import X")


@pytest.mark.parametrize("source", ["import time", "from time import time", "import trio.lowlevel", "import os.path"])
def test_a_planted_impurity_is_seen(source: str) -> None:
    assert impurities(source)


@pytest.mark.parametrize("source", ["print(1)", "def f():\n    sys.exit(1)", "click.echo('x')"])
def test_a_planted_print_is_seen(source: str) -> None:
    assert outward_calls(source)
