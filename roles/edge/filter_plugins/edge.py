"""What the edge role knows of certificates before it hands them to anybody."""

from __future__ import annotations

import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

DAYS_LEFT_MIN = 1


def certificate_faults(certificate: str, key: str, names: list[str], now: datetime.datetime | None = None) -> list[str]:
    """Why a certificate cannot be served under these names, nothing secret in it.

    `certificate`: PEM, its own first. `now`: aware; the current time if not given.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    try:
        own = x509.load_pem_x509_certificates(certificate.encode())[0]
    except ValueError:
        return ["edge_certificate is no certificate in PEM"]
    try:
        private = load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError):
        return ["edge_certificate_key is no private key in PEM without a password"]
    faults = []
    if _public(private.public_key()) != _public(own.public_key()):
        faults.append("edge_certificate_key is not the key of edge_certificate")
    if own.not_valid_after_utc - now < datetime.timedelta(days=DAYS_LEFT_MIN):
        faults.append(f"edge_certificate is good until {own.not_valid_after_utc:%Y-%m-%d %H:%M} UTC only")
    faults += [f"edge_certificate is not for {name}" for name in names if not _covers(own, name)]
    return faults


def _public(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _covers(certificate: x509.Certificate, name: str) -> bool:
    """Whether a name is one of the certificate's, or below its wildcard (RFC 9525, 6.3)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    known = {entry.lower() for entry in names.get_values_for_type(x509.DNSName)}
    return name.lower() in known or f"*.{name.lower().partition('.')[2]}" in known


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"edge_certificate_faults": certificate_faults}
