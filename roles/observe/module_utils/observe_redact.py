"""Secrets out of a text, before people or files get it: those that are known, and what looks like one."""

from __future__ import annotations

import re
from collections.abc import Iterable

MARK = "[secret]"
SHORTEST = 8

# What a pattern keeps, to say what was there, is its first group.
PATTERNS = (
    re.compile(r"()\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*"),  # a JSON Web Token
    re.compile(r"(SWM(?:TKN|KEY)-)[\w-]+"),  # a Swarm's join token, its unlock key
    re.compile(r"(://[^:/@\s\"']*:)[^@/\s\"']+(?=@)"),  # the password in an address
    re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?=-----END|\Z)", re.DOTALL),
    re.compile(r"(?i)(\bbearer\s+)[\w.~+/-]{8,}=*"),
    re.compile(
        r"(?i)([\w-]*(?:password|passwd|secret|token|api_?key|jwt_key|private_key)[\w-]*[\"']?\s*[:=]\s*[\"']?)"
        r"(?!/run/secrets/|/|true\b|false\b|null\b|none\b|\[secret\])[^\s\"',;}\]]{6,}"
    ),
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text with a mark in place of each secret.

    Args:
        secrets: values that are known to be secret; of several lines, each is. Shorter ones than eight characters are
            left, for they would occur by chance.
    """
    lines = {line.strip() for secret in secrets for line in str(secret).splitlines()}
    for secret in sorted(lines, key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, MARK)
    for pattern in PATTERNS:
        text = pattern.sub(rf"\g<1>{MARK}", text)
    return text
