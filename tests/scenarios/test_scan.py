"""The scan of what is deployed, with a database of vulnerabilities on this machine."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.lab import Lab, Play, playbook

Json = dict[str, Any]


class Osv(ThreadingHTTPServer):
    """Speaks OSV's query API (google.github.io/osv.dev/post-v1-query). ``planted``: package -> its vulnerability."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.planted: dict[str, Json] = {}
        self.asked: set[tuple[str, str]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/query"


class _Answers(BaseHTTPRequestHandler):
    server: Osv

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = query["package"]["name"]
        self.server.asked.add((name, query["version"]))
        planted = self.server.planted.get(name)
        body = json.dumps({"vulns": [planted]} if planted else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """What was asked is in ``asked``."""


@pytest.fixture
def osv() -> Iterator[Osv]:
    with Osv() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


# Stands for the real program, whose database this machine may not reach: it says what the file beside it says.
TRIVY = """#!/bin/sh
for sbom; do :; done
grep -q '"pkg:deb/debian/libc6@' "$sbom" && cat "$0.json"
"""


@pytest.fixture
def trivy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stand-in for Trivy has its findings; there are none yet."""
    program = tmp_path / "bin" / "trivy"
    program.parent.mkdir()
    program.write_text(TRIVY)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    findings = program.with_suffix(".json")
    findings.write_text('{"SchemaVersion": 2}')
    return findings


def plant(osv: Osv) -> None:
    """A vulnerability of Trio, which every release has."""
    fixed = [{"introduced": "0"}, {"fixed": "99.1"}]
    affected = {"package": {"name": "trio", "ecosystem": "PyPI"}, "ranges": [{"type": "ECOSYSTEM", "events": fixed}]}
    osv.planted["trio"] = {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "affected": [affected]}


def variables(url: str, **allowed: str) -> list[str]:
    """What is said on the command line: the database, and ids (with _ for -) that are allowed through a day."""
    entries = [
        {"id": name.replace("_", "-"), "reason": "never reached", "expires": day} for name, day in allowed.items()
    ]
    return ["-e", json.dumps({"chat_scan_osv_url": url, "chat_scan_allowed": entries})]


def scan(report: Path, *arguments: str) -> Play:
    """Run the playbook; what it prints comes back in one line."""
    play = playbook("scan", "-e", f"report={report}", *arguments, timeout_s=240)
    assert play.changed == 0, play.output[-3000:]
    return Play(play.code, " ".join(play.output.split()), play.hosts)


def objects(lab: Lab, *kinds: str) -> list[str]:
    return [lab.ssh("host1", f"docker {kind}") for kind in ("ps --all --quiet", "volume ls --quiet", *kinds)]


@pytest.mark.timeout(600)
def test_what_is_deployed_is_listed_looked_up_and_judged(lab: Lab, osv: Osv, trivy: Path, tmp_path: Path) -> None:
    report, again = tmp_path / "sbom.json", tmp_path / "again.json"
    kinds = ("config ls --quiet", "image ls --all --quiet")
    before = objects(lab, *kinds)
    play = scan(report, *variables(osv.url))
    assert play.code == 0, play.output[-3000:]
    assert "no finding" in play.output
    purls = [part["purl"] for part in json.loads(report.read_text())["components"] if "purl" in part]
    trio = dict(osv.asked)["trio"]
    assert f"pkg:pypi/trio@{trio}" in purls
    assert [purl for purl in purls if purl.startswith("pkg:deb/debian/libc6@")]
    assert [purl for purl in purls if purl.startswith("pkg:golang/github.com/nats-io/nats-server/")]
    assert len(osv.asked) == len([purl for purl in purls if purl.startswith("pkg:pypi/")])

    plant(osv)
    found = {"VulnerabilityID": "CVE-2026-2", "PkgName": "libc6", "InstalledVersion": "2", "Severity": "HIGH"}
    trivy.write_text(json.dumps({"SchemaVersion": 2, "Results": [{"Vulnerabilities": [found]}]}))
    play = scan(again, *variables(osv.url, CVE_2026_1="2020-12-31"))
    assert play.code != 0
    assert f"PYSEC-2026-1 in trio {trio} (fixed in 99.1)" in play.output
    assert "The allowance of CVE-2026-1 ended on 2020-12-31" in play.output
    assert "CVE-2026-2 in libc6" in play.output
    assert report.read_text() == again.read_text()
    play = scan(report, *variables(osv.url, CVE_2026_1="2099-12-31", CVE_2026_2="2099-12-31"))
    assert play.code == 0, play.output[-3000:]
    assert "allowed until 2099-12-31: never reached" in play.output
    assert objects(lab, *kinds) == before


@pytest.mark.timeout(300)
def test_a_scan_that_could_not_be_made_is_no_pass(lab: Lab, osv: Osv, trivy: Path, tmp_path: Path) -> None:
    del lab
    nobody = "http://127.0.0.1:1/v1/query"
    play = scan(tmp_path / "sbom.json", *variables(nobody))
    assert play.code != 0
    assert f"pip-audit got no answer out of {nobody}" in play.output
    trivy.unlink()
    play = scan(tmp_path / "sbom.json", *variables(osv.url))
    assert play.code != 0
    assert "Trivy could not check the images, exit code 1" in play.output
    play = scan(tmp_path / "offline.json", *variables(nobody), "-e", "offline=true")
    assert play.code == 0, play.output[-3000:]
    assert "NOTHING WAS CHECKED" in play.output
    assert (tmp_path / "offline.json").exists()


@pytest.mark.timeout(300)
def test_a_deployment_stops_at_a_finding_before_it_touches_anything(lab: Lab, osv: Osv, tmp_path: Path) -> None:
    plant(osv)
    before = objects(lab)
    play = playbook("deploy", "-e", "chat_scan=true", "-e", f"report={tmp_path / 'sbom.json'}", *variables(osv.url))
    assert play.code != 0
    assert "PYSEC-2026-1 in trio" in play.output
    assert shutil.which("trivy") or "NOT CHECKED" in play.output
    assert "Compare with what runs" not in play.output
    assert objects(lab) == before
