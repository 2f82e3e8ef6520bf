"""Token buckets, against what they promise on average and at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node.limits import TokenBucket


def test_burst_then_rate() -> None:
    bucket = TokenBucket(rate=10.0, burst=3, now=0.0)
    assert [bucket.take(0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bucket.take(0.0) == 0.1
    assert bucket.take(0.1) == 0.0
    assert bucket.take(0.1) > 0


def test_a_refusal_costs_nothing() -> None:
    bucket = TokenBucket(rate=1.0, burst=1, now=0.0)
    bucket.take(0.0)
    for _ in range(100):
        assert bucket.take(0.5) == 0.5
    assert bucket.take(1.0) == 0.0


def test_no_more_than_the_burst_is_saved_up() -> None:
    bucket = TokenBucket(rate=1.0, burst=2, now=0.0)
    assert [bucket.take(1e9) == 0.0 for _ in range(3)] == [True, True, False]


def test_rate_zero_means_no_limit() -> None:
    bucket = TokenBucket(rate=0.0, burst=1, now=0.0)
    assert all(bucket.take(0.0) == 0.0 for _ in range(1000))


@given(
    rate=st.floats(0.1, 1000),
    burst=st.integers(1, 50),
    steps=st.lists(st.floats(0, 2), min_size=1, max_size=200),
)
def test_never_more_than_burst_plus_rate_times_time(rate: float, burst: int, steps: list[float]) -> None:
    bucket = TokenBucket(rate, burst, now=0.0)
    now, taken = 0.0, 0
    for step in steps:
        now += step
        wait_s = bucket.take(now)
        taken += not wait_s
        assert taken <= burst + rate * now + 1e-6
        assert 0.0 <= wait_s <= 1.0 / rate + 1e-9


@given(rate=st.floats(0.1, 1000), burst=st.integers(1, 20))
def test_who_waits_as_told_gets_a_token(rate: float, burst: int) -> None:
    bucket = TokenBucket(rate, burst, now=0.0)
    while not (wait_s := bucket.take(0.0)):
        pass
    assert bucket.take(wait_s + 1e-9) == 0.0
