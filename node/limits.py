"""Token buckets. Pure: the clock is passed in."""

from __future__ import annotations


class TokenBucket:
    """Allows ``rate`` events a second on average and ``burst`` at once (a token bucket as in RFC 2697, one colour).

    Args:
        rate: tokens that flow in, per second; 0 switches the limit off.
        burst: the most tokens that can be saved up.
        now: current time in seconds, of any clock that does not go back.
    """

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._updated = now

    def take(self, now: float) -> float:
        """Take one token. Returns 0.0, or the seconds after which there will be one (then nothing was taken)."""
        if not self._rate:
            return 0.0
        self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._rate)
        self._updated = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self._rate
