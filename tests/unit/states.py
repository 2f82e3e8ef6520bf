"""A state in memory, for tests of the rules."""

from __future__ import annotations

import json
from typing import Any

from node.errors import ErrorCode
from node.state.model import State
from node.state.outcome import Accepted, Outcome, Rejected
from node.state.records import AnyRecord
from node.state.rules import apply_record

from .fakes import NoDisk


def state_after(*records: AnyRecord) -> State:
    """All changes are kept in memory here, so nothing is looked up on disk. Every record must be accepted."""
    state = State(NoDisk())
    for record in records:
        done(state, record)
    return state


def done(state: State, record: AnyRecord) -> Accepted:
    """Apply what must be accepted."""
    outcome = apply_record(state, record)
    assert isinstance(outcome, Accepted), (record, outcome)
    return outcome


def code(outcome: Outcome) -> ErrorCode:
    """Why a record was refused."""
    assert isinstance(outcome, Rejected)
    return outcome.code


def refusal(state: State, record: AnyRecord) -> ErrorCode:
    """Apply what must be refused, and why it was."""
    return code(apply_record(state, record))


def events(state: State) -> list[dict[str, Any]]:
    """What clients are told."""
    return [json.loads(event.payload) for event in state.changes.events]


def pushes(state: State) -> list[tuple[str | None, dict[str, Any]]]:
    """What users are told, and which."""
    return [(push.user, json.loads(push.payload)) for push in state.changes.pushes]
