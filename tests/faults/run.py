"""A whole run: people chat, blows fall, and in the end everything is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.faults.history import Recorder, Stopped
from tests.faults.nemesis import Blow, strike_all
from tests.faults.target import FaultError, Target
from tests.faults.workload import Shape, workload


async def run(
    target: Target,
    recorder: Recorder,
    shape: Shape,
    blows: Iterator[Blow],
    seconds: float,
    tell: Callable[[str], None],
) -> None:
    """Let people chat while the blows fall, as :func:`strike_all` has it.

    A fault that fails, and a cluster that does not come back, end the blows and go into the history. What can be read
    is read all the same.
    """
    with _told(recorder, tell):
        await target.whole()
        async with workload(target, recorder, shape):
            with _told(recorder, tell):
                await strike_all(target, recorder, blows, seconds, tell)


@contextmanager
def _told(recorder: Recorder, tell: Callable[[str], None]) -> Iterator[None]:
    """Write down and tell why something could not go on, and go on behind it."""
    try:
        yield
    except* (FaultError, TimeoutError) as group:
        for error in _single(group):
            reason = str(error) or type(error).__name__
            recorder.note(Stopped(recorder.now(), reason))
            tell(f"cannot go on: {reason}")


def _single(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in nested groups."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _single(one)
    else:
        yield error
