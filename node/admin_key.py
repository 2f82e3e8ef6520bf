"""A node's own key for its administrators: who can read its data directory may ask its admin API for anything.

With it the first account is made where there is no token, no account and no signing key yet. It is made at the first
start, never leaves the machine, and signs tokens that only this node's admin API takes (RFC 7519, ``aud``).
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from node.auth import ADMIN_ROLE, Authenticator, Identity, sign_token
from node.errors import ChatError, ErrorCode, RequestError
from node.files import put_in_place

NAME = "admin.key"
MAX_TTL_S = 3600.0
_KEY_BYTES = 32
_OTHERS = 0o077

logger = structlog.get_logger()


class AdminKey(Struct):
    """The content of the file.

    Attributes:
        node: whose it is; a copy does not open another node.
        key: HS256 key.
    """

    node: str
    key: str

    @property
    def audience(self) -> str:
        """Whom its tokens are for."""
        return f"chat-node-admin/{self.node}"

    def sign(self, user: str, now: float, ttl_s: float) -> str:
        """A token of an admin.

        Args:
            user: the name under which things are done.
            now: Unix time in seconds.
            ttl_s: seconds until it expires, at most :data:`MAX_TTL_S`.
        """
        return sign_token(self.key, user, now, ttl_s, (ADMIN_ROLE,), audience=self.audience)

    def identify(self, token: str, now: float) -> Identity:
        """Who shows this token.

        Raises:
            RequestError: ``unauthorized`` or ``token_expired``.
        """
        authenticator = Authenticator(("token",), self.key, audience=self.audience)
        identity = authenticator.identify(token=token, user=None, now=now)
        if identity.expires_at is None or identity.expires_at > now + MAX_TTL_S:
            raise RequestError(ErrorCode.UNAUTHORIZED, f"token refused: one of {NAME} lives at most {MAX_TTL_S:g} s")
        return identity


def provide(directory: Path, node: str) -> AdminKey:
    """The node's key; a new one where there is none, or another node's.

    Raises:
        ChatError: the file cannot be read or written.
    """
    path = directory / NAME
    try:
        found = _read(path)
        if found is not None and found.node == node:
            _keep_private(path)
            return found
        made = AdminKey(node, secrets.token_urlsafe(_KEY_BYTES))
        _write(path, msgspec.json.encode(made))
    except OSError as error:
        raise ChatError(f"{path}: {error.strerror}") from None
    return made


def read(directory: Path) -> AdminKey:
    """The key of the node whose data is here.

    Raises:
        ChatError: there is none, or it is not for this user; says what to do.
    """
    path = directory / NAME
    try:
        found = _read(path)
    except OSError as error:
        raise ChatError(f"{path}: {error.strerror}; be the user that runs the node, or give --token-file") from None
    if found is None:
        raise ChatError(f"{path}: no node has made it; set DATA_DIR as the node has it, or give --token-file")
    return found


def _read(path: Path) -> AdminKey | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=AdminKey)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeError):
        return None


def _keep_private(path: Path) -> None:
    if path.stat().st_mode & _OTHERS:
        logger.warning("others could read the admin key; now they cannot", path=str(path))
        path.chmod(0o600)


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    put_in_place(partial, path)
