"""The public keys that an identity provider publishes under an address (JWKS), fetched in the background.

What the provider does wrong costs nobody the connection: the keys of the last good answer stay until the next one.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import structlog
import trio

from node.keys import HS256, Key, read_jwk_set

MAX_ANSWER_BYTES = 256 * 1024
FETCH_TIMEOUT_S = 4.0
MIN_INTERVAL_S = 5.0
"""Between two fetches that clients cause, or that the answer itself asks for."""
RETRY_S = 15.0
"""After a fetch that failed, at most."""

_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})(?!\d)", re.IGNORECASE)

logger = structlog.get_logger()


class _Round:
    """A fetch to come, and those who wait for its end."""

    def __init__(self) -> None:
        self.over = trio.Event()
        self.worked = False


class JwksFetcher:
    """Keeps the keys of an address fresh. :meth:`run` does the work.

    Args:
        url: ``https`` or ``http``.
        max_age_s: seconds after which the keys are fetched again; the answer's ``Cache-Control`` may only shorten it.
        take: called with the keys of every good answer.
        min_interval_s: seconds between two fetches that clients cause.
        fetch_timeout_s: seconds for one fetch, from the name's look-up to the last byte.
    """

    def __init__(
        self,
        url: str,
        max_age_s: float,
        take: Callable[[tuple[Key, ...]], None],
        *,
        min_interval_s: float = MIN_INTERVAL_S,
        fetch_timeout_s: float = FETCH_TIMEOUT_S,
    ) -> None:
        self._url = url
        self._max_age_s = max_age_s
        self._take = take
        self._min_interval_s = min_interval_s
        self._fetch_timeout_s = fetch_timeout_s
        self._keys: tuple[Key, ...] = ()
        self._fetched_at: float | None = None
        self._wanted = trio.Event()
        self._next = _Round()
        self._failing = False

    @property
    def age_s(self) -> float | None:
        """Seconds since the last good answer; None before the first."""
        return None if self._fetched_at is None else trio.current_time() - self._fetched_at

    async def refresh(self) -> bool:
        """Wait for a fetch that begins after this call; callers share one. Whether it brought keys."""
        coming = self._next
        self._wanted.set()
        await coming.over.wait()
        return coming.worked

    async def run(self) -> None:
        """Fetch now and then, and when somebody wants it; never ends by itself."""
        headers = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}
        async with httpx.AsyncClient(headers=headers, timeout=self._fetch_timeout_s) as client:
            while True:
                this, self._next, self._wanted = self._next, _Round(), trio.Event()
                interval_s = await self._round(client, this)
                this.over.set()
                in_any_case_s = min(interval_s, self._min_interval_s)
                await trio.sleep(in_any_case_s)
                with trio.move_on_after(interval_s - in_any_case_s):
                    await self._wanted.wait()

    async def _round(self, client: httpx.AsyncClient, this: _Round) -> float:
        """Fetch once; returns the seconds until the next time."""
        try:
            with trio.fail_after(self._fetch_timeout_s):
                document, interval_s = await self._fetch(client)
            keys = self._read(document)
        # Any: no answer that the outside can give, and no fault of a library in dealing with it, may end the node.
        except Exception as error:
            self._failed(error)
            return min(self._max_age_s, RETRY_S)
        self._fetched(keys)
        this.worked = True
        return interval_s

    async def _fetch(self, client: httpx.AsyncClient) -> tuple[bytes, float]:
        """The document, and for how many seconds it is good."""
        async with client.stream("GET", self._url) as answer:
            if answer.status_code != httpx.codes.OK:
                raise ValueError(f"it answered with status {answer.status_code}")
            document = b""
            async for chunk in answer.aiter_raw():  # not unpacked: a few bytes could become gigabytes
                document += chunk
                if len(document) > MAX_ANSWER_BYTES:
                    raise ValueError(f"its answer is longer than {MAX_ANSWER_BYTES} bytes")
        told = _MAX_AGE.search(answer.headers.get("Cache-Control", ""))
        good_for_s = max(int(told[1]), self._min_interval_s) if told else self._max_age_s
        return document, min(self._max_age_s, good_for_s)

    def _read(self, document: bytes) -> tuple[Key, ...]:
        try:
            keys, faults = read_jwk_set(document)
        except ValueError as error:
            raise ValueError(f"its answer {error}") from None
        usable = tuple(key for key in keys if key.algorithm != HS256)  # what is published is no secret
        faults += [f"{len(keys) - len(usable)} shared keys, which are not secret any more"] * (len(usable) < len(keys))
        if not usable:
            raise ValueError("; ".join(["its answer has no key that can be used", *faults]))
        if faults and usable != self._keys:
            logger.warning("keys of JWKS_URL passed over", faults=faults)
        return usable

    def _fetched(self, keys: tuple[Key, ...]) -> None:
        self._fetched_at = trio.current_time()
        if self._failing:
            logger.info("JWKS_URL answers again")
            self._failing = False
        if keys != self._keys:
            gone = [key.name for key in self._keys if key not in keys]
            logger.info("keys of JWKS_URL changed", keys=[key.name for key in keys], gone=gone)
            self._keys = keys
            self._take(keys)

    def _failed(self, error: Exception) -> None:
        """Told once an outage, not once a try."""
        if not self._failing:
            slow = isinstance(error, trio.TooSlowError)
            reason = f"no answer in {self._fetch_timeout_s:g} s" if slow else str(error) or type(error).__name__
            logger.warning("JWKS_URL gives no keys, those it gave stay", reason=reason, keys=len(self._keys))
            self._failing = True
