"""What the scan reads out of images and of scanners' answers, and what the allow-list lets through on which day."""

from __future__ import annotations

import io
import json
import tarfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.unit.test_roles import load

sbom = load("chat/module_utils/chat_sbom.py")
scan = load("chat/module_utils/chat_scan.py")

TODAY = date(2026, 6, 15)
STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Source: glibc
Version: 2.36-9+deb12u1
Description: GNU C Library
 Package: not-this-one

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0

Package: libstdc++6
Status: install ok installed
Architecture: amd64
Source: gcc-12 (1:12.2.0-14)
Version: 12.2.0-14+b1
"""
METADATA = "Metadata-Version: 2.1\nName: Trio_WebSocket\nVersion: 0.12.2\n\nName: in-the-text\n"
OS_RELEASE = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n'
IMAGE = "registry.example.com/chat-node@sha256:" + "0" * 64
OTHER = "registry.example.com/chat-nats@sha256:" + "1" * 64


def go_program(modules: str, flags: int = 2) -> bytes:
    """A program as Go's linker leaves it, as far as `debug/buildinfo` reads it."""

    def text(value: bytes) -> bytes:
        return bytes([len(value) & 0x7F | 0x80, len(value) >> 7]) + value

    head = b"\xff Go buildinf:" + bytes([8, flags])
    return (
        b"\x7fELF code "
        + head.ljust(32, b"\0")
        + text(b"go1.26.1 X:none")
        + text(b"s" * 16 + modules.encode() + b"e" * 16)
    )


MODULES = (
    "path\tx/cmd\nmod\tx\tv2.0.0\th1:a=\ndep\ty\tv1.1.0\th1:b=\n"
    "dep\tz\tv1.0.0\n=>\tfork/z\tv1.0.1\th1:c=\nbuild\tGOOS=linux\n"
)


def archive(files: dict[str, bytes], link: str = "") -> io.BytesIO:
    """A file system as `docker export` gives it out; what has no dot in its name is a program."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755 if "." not in name else 0o644
            tar.addfile(member, io.BytesIO(content))
        if link:
            member = tarfile.TarInfo(link)
            member.type, member.linkname = tarfile.LNKTYPE, next(iter(files))
            tar.addfile(member)
    made.seek(0)
    return made


FILES = {
    "usr/lib/os-release": OS_RELEASE.encode(),
    "var/lib/dpkg/status": STATUS.encode(),
    "opt/chat/lib/python3.11/site-packages/trio_websocket-0.12.2.dist-info/METADATA": METADATA.encode(),
    "opt/chat/web/node_modules/marked/package.json": b'{"name": "marked", "version": "18.2.1"}',
    "opt/chat/web/node_modules/@x/y/package.json": b'{"name": "@x/y", "version": "1.0.0"}',
    "opt/chat/web/node_modules/marked/lib/package.json": b'{"type": "module"}',
    "bin/server": go_program(MODULES),
    "bin/sh": b"\x7fELF no Go",
}


def read(files: dict[str, bytes], link: str = "") -> Any:
    return sbom._stream(archive(files, link))


def test_what_is_installed_is_listed_and_nothing_else() -> None:
    found = read(FILES)
    assert found.os == {"id": "debian", "version": "12"}
    assert sorted((p.kind, p.name, p.version) for p in found.packages) == [
        ("deb", "libc6", "2.36-9+deb12u1"),
        ("deb", "libstdc++6", "12.2.0-14+b1"),
        ("golang", "fork/z", "v1.0.1"),
        ("golang", "stdlib", "1.26.1"),
        ("golang", "x", "v2.0.0"),
        ("golang", "y", "v1.1.0"),
        ("npm", "@x/y", "1.0.0"),
        ("npm", "marked", "18.2.1"),
        ("pypi", "trio-websocket", "0.12.2"),
    ]


def test_a_package_s_source_is_known_for_debian_s_advisories() -> None:
    sources = {p.name: (p.source, p.source_version) for p in sbom.debian_packages(STATUS)}
    assert sources == {"libc6": ("glibc", "2.36-9+deb12u1"), "libstdc++6": ("gcc-12", "1:12.2.0-14")}
    distroless = "Package: tzdata\nArchitecture: all\nVersion: 1\n"
    assert [p.source for p in sbom.debian_packages(distroless)] == ["tzdata"]


def test_what_cannot_be_read_is_no_empty_list() -> None:
    with pytest.raises(RuntimeError, match="is a link"):
        read(FILES, link="a.dist-info/METADATA")
    with pytest.raises(RuntimeError, match="is a link"):
        read(FILES, link="node_modules/a/package.json")
    cut = archive(FILES).getvalue()[:1800]
    assert sbom._stream(io.BytesIO(cut)) is None
    assert sbom.python_packages("Version: 1\n\n") == set()
    assert sbom.go_packages(go_program(MODULES, flags=0)) == set()


@pytest.mark.parametrize(
    ("export", "error"),
    [
        ("cat {}", "tells its parts"),
        ("cat {}; exit 1", "ended early, with 1"),
        ("head -c 100 {}", "ended early, with 0"),
    ],
)
def test_an_image_without_a_list_is_refused_and_its_container_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, export: str, error: str
) -> None:
    (tmp_path / "tar").write_bytes(archive({"bin/sh": b"\x7fELF no Go"}).getvalue())
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\n{export.format(tmp_path / 'tar')}\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    ran: list[list[str]] = []

    def run(command: list[str]) -> tuple[int, str, str]:
        ran.append(command)
        return 0, "container-1\n", ""

    with pytest.raises(RuntimeError, match=error):
        sbom.exported(run, IMAGE)
    assert [command[1] for command in ran] == ["create", "rm"]
    assert ran[1][-1] == "container-1"


def test_the_document_is_cyclonedx_1_5_and_the_same_each_time() -> None:
    images = {IMAGE: read(FILES), OTHER: read({"bin/server": go_program(MODULES)})}
    made = sbom.document("chat-system", "v1", images)
    assert made == sbom.document("chat-system", "v1", dict(reversed(images.items())))
    assert made["serialNumber"] != sbom.document("chat-system", "v2", images)["serialNumber"]
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(json.dumps(made)) is None
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(json.dumps({**made, "components": 1})) is not None
    purls = [component["purl"] for component in made["components"] if "purl" in component]
    assert len(purls) == len(set(purls))
    assert "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bb1?arch=amd64&distro=debian-12" in purls
    assert "pkg:pypi/trio-websocket@0.12.2" in purls
    assert "pkg:golang/fork/z@v1.0.1" in purls
    assert "pkg:npm/%40x/y@1.0.0" in purls
    parts = {dependency["ref"]: dependency["dependsOn"] for dependency in made["dependencies"]}
    assert parts["chat-system"] == [OTHER, IMAGE]
    assert "pkg:golang/x@v2.0.0" in parts[OTHER]
    assert not [part for part in parts[OTHER] if part.startswith("pkg:pypi")]


def test_trivy_is_told_the_source_and_its_version_in_parts() -> None:
    made = sbom.document("chat-system", "v1", {IMAGE: read(FILES)})
    component = next(component for component in made["components"] if component["name"] == "libstdc++6")
    assert {item["name"].rpartition(":")[2]: item["value"] for item in component["properties"]} == {
        "SrcName": "gcc-12",
        "SrcVersion": "12.2.0",
        "SrcRelease": "14",
        "SrcEpoch": "1",
    }
    assert [(c["name"], c["version"]) for c in made["components"] if c["type"] == "operating-system"] == [
        ("debian", "12")
    ]


def test_two_versions_of_a_package_are_asked_in_two_files() -> None:
    made = sbom.document("chat-system", "v1", {IMAGE: read(FILES)})
    assert scan.packages(made, "pypi") == [("trio-websocket", "0.12.2")]
    assert scan.requirements([("a", "1"), ("b", "1"), ("a", "2")]) == ["a==1\nb==1\n", "a==2\n"]


PIP_AUDIT = {
    "dependencies": [
        {"name": "trio", "version": "0.1", "vulns": [
            {"id": "PYSEC-1", "fix_versions": ["0.2", "1.0"], "aliases": ["GHSA-1", "CVE-1"], "description": "d"},
        ]},
        {"name": "h11", "version": "1", "vulns": []},
        {"name": "odd", "skip_reason": "no version"},
    ],
    "fixes": [],
}  # fmt: skip
TRIVY = {
    "SchemaVersion": 2,
    "Results": [
        {"Target": "s", "Class": "lang-pkgs", "Vulnerabilities": [
            {"VulnerabilityID": "CVE-1", "PkgName": "trio", "InstalledVersion": "0.1", "Severity": "CRITICAL"},
        ]},
        {"Target": "s", "Class": "os-pkgs", "Vulnerabilities": [
            {"VulnerabilityID": "CVE-2", "PkgName": "libc6", "InstalledVersion": "2", "FixedVersion": "3",
             "Severity": "LOW"},
            {"VulnerabilityID": "CVE-3", "VendorIDs": ["DSA-3"], "PkgName": "libc6", "InstalledVersion": "2"},
        ]},
        {"Target": "empty", "Class": "os-pkgs"},
    ],
}  # fmt: skip


def found() -> list[Any]:
    python, _ = scan.from_pip_audit(json.dumps(PIP_AUDIT))
    findings: list[Any] = scan.merged(python + scan.from_trivy(json.dumps(TRIVY)))
    return findings


def test_what_two_scanners_found_is_one_finding() -> None:
    assert [(f.ids, f.package, f.fixed, f.severity) for f in found()] == [
        (("PYSEC-1", "CVE-1", "GHSA-1"), "trio", "0.2, 1.0", "CRITICAL"),
        (("CVE-2",), "libc6", "3", "LOW"),
        (("CVE-3", "DSA-3"), "libc6", "", "UNKNOWN"),
    ]
    assert scan.from_pip_audit(json.dumps(PIP_AUDIT))[1] == ["odd"]
    assert scan.from_trivy('{"SchemaVersion": 2}') == []


@pytest.mark.parametrize("output", ["", "Traceback", "[]", "{"])
def test_no_answer_is_not_taken_for_no_finding(output: str) -> None:
    with pytest.raises(ValueError, match=r"no JSON object|Expecting"):
        scan.from_pip_audit(output)
    with pytest.raises(ValueError, match=r"no JSON object|Expecting"):
        scan.from_trivy(output)


def verdicts(threshold: str = "HIGH", **entries: str) -> dict[str, tuple[bool, str]]:
    """Of each finding whether it is refused, and the verdict; `entries`: id with _ for -, and its last day."""
    allowed, faults = scan.read_allowed(
        [{"id": name.replace("_", "-"), "reason": "not reached", "expires": day} for name, day in entries.items()]
    )
    assert faults == []
    return {row["id"]: (row["refused"], row["verdict"]) for row in scan.judge(found(), allowed, threshold, TODAY)}


def test_what_is_grave_or_not_rated_is_refused() -> None:
    assert verdicts() == {
        "CVE-3": (True, "refused"),
        "PYSEC-1": (True, "refused"),
        "CVE-2": (False, "below HIGH"),
    }
    assert verdicts("LOW")["CVE-2"] == (True, "refused")
    assert verdicts("CRITICAL")["CVE-3"] == (True, "refused")


def test_an_allowance_holds_under_any_name_and_through_its_last_day() -> None:
    for name in ("PYSEC_1", "CVE_1", "GHSA_1"):
        assert verdicts(**{name: "2026-06-15"})["PYSEC-1"] == (False, "allowed until 2026-06-15: not reached")
        assert verdicts(**{name: "2026-06-14"})["PYSEC-1"] == (True, "refused: allowed until 2026-06-14 only")
    assert verdicts(CVE_3="2027-01-01")["PYSEC-1"] == (True, "refused")


def test_an_allowance_that_ended_or_matches_nothing_is_named() -> None:
    entries = [("CVE-1", "2026-06-14"), ("CVE-9", "2026-06-15"), ("CVE-3", "2026-06-15")]
    allowed, _ = scan.read_allowed([{"id": name, "reason": "r", "expires": day} for name, day in entries])
    assert scan.remarks(found(), allowed, TODAY) == [
        "The allowance of CVE-1 ended on 2026-06-14 (r).",
        "The allowance of CVE-9 matched nothing; it can go.",
    ]


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ({"id": "CVE-1", "expires": "2026-12-31"}, "has no reason"),
        ({"id": "CVE-1", "reason": " ", "expires": "2026-12-31"}, "has no reason"),
        ({"reason": "r", "expires": "2026-12-31"}, "has no id"),
        ({"id": "CVE-1", "reason": "r"}, "expires on no day"),
        ({"id": "CVE-1", "reason": "r", "expires": "soon"}, "expires on soon"),
        ({"id": "CVE-1", "reason": "r", "expires": "2026-02-30"}, "expires on 2026-02-30"),
        ({"id": "CVE-1", "reason": "r", "expires": "20261231"}, "expires on 20261231"),
    ],
)
def test_a_careless_allowance_is_refused(entry: dict[str, str], fault: str) -> None:
    allowed, faults = scan.read_allowed([{"id": "CVE-0", "reason": "r", "expires": "2026-12-31"}, entry])
    assert [item.id for item in allowed] == ["CVE-0"]
    assert len(faults) == 1
    assert faults[0].startswith("entry 2 of chat_scan_allowed")
    assert fault in faults[0]


def test_the_table_shows_what_matters_first_and_counts_the_rest() -> None:
    lines = scan.table(scan.judge(found(), [], "HIGH", TODAY))
    assert [line.split()[0] for line in lines] == ["ID", "CVE-3", "PYSEC-1", "and"]
    assert lines[2].split("  ")[-2:] == ["CRITICAL", "refused"]
    assert lines[3] == "and 1 less severe"
    assert scan.table([]) == ["no finding"]
