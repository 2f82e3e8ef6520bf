"""What is in an image, by the lists that it carries, as a CycloneDX 1.5 document.

Debian packages come from dpkg's status (deb-control(5)), Python's from the METADATA of their `*.dist-info` directories
(PEP 376, PEP 566), npm's from the `package.json` of theirs, Go modules from the build information that the linker
leaves in a program (Go's `debug/buildinfo`).
Pure functions, but for `exported`, which reads an image through Docker and runs nothing of it.
"""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import HeaderParser
from typing import IO, Any, cast
from urllib.parse import quote

DPKG_STATUS = re.compile(r"^var/lib/dpkg/(status|status\.d/[^/]+)$")
PYTHON_METADATA = re.compile(r"\.dist-info/METADATA$")
NPM_METADATA = re.compile(r"(^|/)node_modules/(@[^/]+/)?[^/@]+/package\.json$")
OS_RELEASE = ("etc/os-release", "usr/lib/os-release")
ELF, GO_BUILD = b"\x7fELF", b"\xff Go buildinf:"
GO_HEADER_BYTES, GO_SENTINEL_BYTES = 32, 16
GO_STRINGS_INLINE = 2
PROGRAM_BYTES_MAX = 256 * 1024 * 1024
# Trivy looks vulnerabilities of Debian up by source package, and reads it from properties of these names.
TRIVY = "aquasecurity:trivy:"

Json = dict[str, Any]
Run = Callable[[list[str]], tuple[int, str, str]]


@dataclass(frozen=True, order=True)
class Package:
    """A package. ``kind`` is the type of its package URL: deb, pypi, npm or golang."""

    kind: str
    name: str
    version: str
    architecture: str = ""
    source: str = ""
    source_version: str = ""


@dataclass
class Contents:
    """What was found in an image."""

    os: dict[str, str] = field(default_factory=dict)
    packages: set[Package] = field(default_factory=set)


def debian_packages(status: str) -> set[Package]:
    """The packages that a dpkg status file calls installed; one of ``status.d`` (distroless images) has no Status."""
    stanzas = [HeaderParser().parsestr(text) for text in re.split(r"\n{2,}", status.strip())]
    installed = [s for s in stanzas if s["Package"] and (s["Status"] or "installed").split()[-1] == "installed"]
    return {_debian_package(stanza) for stanza in installed}


def _debian_package(stanza: Any) -> Package:
    # Source is left out when it is the package itself, and has a version when that differs: `gcc-12 (12.2.0-14)`.
    source, _, version = (stanza["Source"] or stanza["Package"]).partition(" ")
    return Package(
        "deb",
        stanza["Package"],
        stanza["Version"],
        stanza["Architecture"] or "",
        source,
        version.strip("()") or stanza["Version"],
    )


def python_packages(metadata: str) -> set[Package]:
    """The package of a METADATA file, its name as PEP 503 writes it; none if the file names none."""
    headers = HeaderParser().parsestr(metadata)
    if not (headers["Name"] and headers["Version"]):
        return set()
    return {Package("pypi", re.sub(r"[-_.]+", "-", headers["Name"]).lower(), headers["Version"])}


def npm_packages(metadata: str) -> set[Package]:
    """The package of a package.json; none if the file names none."""
    told = json.loads(metadata)
    return {Package("npm", told["name"], told["version"])} if told.get("name") and told.get("version") else set()


def go_packages(program: bytes) -> set[Package]:
    """The modules, and Go's own library, of which a program of Go 1.18 or later is linked; none for any other."""
    at = program.find(GO_BUILD)
    if at < 0 or not program[at + len(GO_BUILD) + 1] & GO_STRINGS_INLINE:
        return set()
    version, at = _go_string(program, at + GO_HEADER_BYTES)
    modules, _ = _go_string(program, at)
    found = {Package("golang", "stdlib", version.decode().removeprefix("go").split()[0])}
    lines = modules[GO_SENTINEL_BYTES:-GO_SENTINEL_BYTES].decode().splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        word, name, version_of, *_ = [*line.split("\t"), "", "", ""]
        # A module that was replaced is not in the program: the line after it says what is.
        if word in ("mod", "dep", "=>") and not following.startswith("=>"):
            found.add(Package("golang", name, version_of))
    return found


def _go_string(data: bytes, at: int) -> tuple[bytes, int]:
    """A string with its length as a varint before it, and where it ends."""
    length = shift = 0
    while True:
        byte = data[at]
        at += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return data[at : at + length], at + length


def os_release(text: str) -> dict[str, str]:
    """Name and version of the system, from os-release(5)."""
    values = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', text, re.MULTILINE))
    return {"id": values.get("ID", ""), "version": values.get("VERSION_ID", "")}


def contents(archive: Iterable[tarfile.TarInfo], read: Callable[[tarfile.TarInfo], bytes]) -> Contents:
    """What is in an image's file system, read once from front to end. Raises RuntimeError for a list it cannot read."""
    found = Contents()
    for member in archive:
        path = member.name.removeprefix("./")
        if (member.islnk() or member.issym()) and (PYTHON_METADATA.search(path) or NPM_METADATA.search(path)):
            raise RuntimeError(f"{path} is a link, which is not followed; so this image cannot be scanned.")
        if not member.isfile():
            continue
        if path in OS_RELEASE:
            found.os = os_release(read(member).decode())
        elif DPKG_STATUS.match(path) and not path.endswith(".md5sums"):
            found.packages |= debian_packages(read(member).decode(errors="replace"))
        elif PYTHON_METADATA.search(path):
            found.packages |= python_packages(read(member).decode(errors="replace"))
        elif NPM_METADATA.search(path):
            found.packages |= npm_packages(read(member).decode(errors="replace"))
        elif member.mode & 0o111 and member.size < PROGRAM_BYTES_MAX:
            program = read(member)
            found.packages |= go_packages(program) if program.startswith(ELF) else set()
    return found


def purl(package: Package, system: dict[str, str]) -> str:
    """The package URL (github.com/package-url/purl-spec)."""
    version = quote(package.version, safe="")
    if package.kind != "deb":
        return f"pkg:{package.kind}/{quote(package.name)}@{version}"
    distribution = f"{system.get('id') or 'debian'}-{system.get('version')}"
    return (
        f"pkg:deb/{system.get('id') or 'debian'}/{quote(package.name, safe='')}@{version}"
        f"?arch={package.architecture}&distro={distribution}"
    )


def document(name: str, version: str, images: dict[str, Contents]) -> Json:
    """A CycloneDX 1.5 document of all images; the same contents make the same document.

    Each component is told once; `dependencies` say which image has it.

    Args:
        name: What the images make together.
        version: Its version.
        images: Reference of an image, pinned by digest -> what is in it.
    """
    components: dict[str, Json] = {}
    dependencies = []
    for reference, found in sorted(images.items()):
        image = _container(reference)
        system = [_system(found.os)] if found.os.get("id") else []
        packages = [_component(package, found.os) for package in sorted(found.packages)]
        components.update({part["bom-ref"]: part for part in [image, *system, *packages]})
        parts = sorted({part["bom-ref"] for part in [*system, *packages]})
        dependencies.append({"ref": image["bom-ref"], "dependsOn": parts})
    root = {"type": "application", "bom-ref": name, "name": name, "version": version}
    dependencies.insert(0, {"ref": name, "dependsOn": [dependency["ref"] for dependency in dependencies]})
    body = {"metadata": {"component": root}, "components": list(components.values()), "dependencies": dependencies}
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(body, sort_keys=True))
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "serialNumber": f"urn:uuid:{serial}", "version": 1, **body}


def _container(reference: str) -> Json:
    name, _, digest = reference.partition("@")
    return {"type": "container", "bom-ref": reference, "name": name, "version": digest}


def _system(system: dict[str, str]) -> Json:
    return {
        "type": "operating-system",
        "bom-ref": f"{system['id']}-{system['version']}",
        "name": system["id"],
        "version": system["version"],
    }


def _component(package: Package, system: dict[str, str]) -> Json:
    address = purl(package, system)
    component: Json = {
        "type": "library",
        "bom-ref": address,
        "name": package.name,
        "version": package.version,
        "purl": address,
    }
    if package.kind == "deb":
        component["properties"] = _source_properties(package)
    return component


def _source_properties(package: Package) -> list[Json]:
    """Trivy wants the source's version in its three parts: `[epoch:]version[-release]`."""
    epoch, _, rest = package.source_version.rpartition(":")
    version, dash, release = rest.rpartition("-")
    parts = {
        "SrcName": package.source,
        "SrcVersion": version if dash else rest,
        "SrcRelease": release if dash else "",
        "SrcEpoch": epoch,
    }
    return [{"name": TRIVY + name, "value": value} for name, value in parts.items() if value]


def exported(run: Run, image: str) -> Contents:
    """What is in an image that this host has. A container is made of it, not started, and removed.

    Raises:
        RuntimeError: Docker could not, or nothing in the image tells what it is made of.
    """
    with _container_of(run, image) as container:
        # A file system of hundreds of MB, so it goes by in a stream.
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export:
            found = _stream(cast(IO[bytes], export.stdout))
        if export.returncode or found is None:
            raise RuntimeError(f"{image} could not be read: its export ended early, with {export.returncode}.")
    if not found.packages:
        raise RuntimeError(
            f"{image} cannot be scanned: neither dpkg, nor Python's metadata, nor a Go program in it tells its parts."
        )
    return found


def _stream(stream: IO[bytes]) -> Contents | None:
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            found = contents(archive, lambda member: _read(archive, member))
        while stream.read(tarfile.RECORDSIZE):
            pass  # What follows the archive's end: Docker would fail if nobody took it.
        return found
    except tarfile.TarError:
        return None


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    with archive.extractfile(member) as file:  # type: ignore[union-attr]
        return file.read()


@contextmanager
def _container_of(run: Run, image: str) -> Iterator[str]:
    # `true` is never run: an image without a command could not be made a container of.
    code, output, error = run(["docker", "create", "--pull", "never", "--network", "none", image, "true"])
    if code:
        raise RuntimeError(f"{image} could not be opened: {error.strip()}")
    container = output.strip()
    try:
        yield container
    finally:
        # With the volumes that Docker made for it.
        run(["docker", "rm", "--force", "--volumes", container])
