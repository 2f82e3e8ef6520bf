"""Passwords of local accounts: argon2id (RFC 9106), in threads, a few at a time, because each costs memory and time."""

from __future__ import annotations

import trio
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MIN_PASSWORD_CHARACTERS = 8
_AT_ONCE = 2


class Passwords:
    """Makes and checks hashes with the library's defaults (RFC 9106, low memory profile)."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._limiter = trio.CapacityLimiter(_AT_ONCE)
        self._nobody = ""

    async def hash(self, password: str) -> str:
        """The hash that is kept instead of a password."""
        return await trio.to_thread.run_sync(self._hasher.hash, password, limiter=self._limiter)

    async def match(self, password_hash: str | None, password: str) -> bool:
        """Whether a password belongs to a hash. For None it takes as long, so that names cannot be told by time."""
        if password_hash is None:
            self._nobody = self._nobody or await self.hash("nobody's password")
        known = password_hash or self._nobody
        fits = await trio.to_thread.run_sync(self._verify, known, password, limiter=self._limiter)
        return fits and password_hash is not None

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False
