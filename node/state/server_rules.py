"""Rules about the server as a whole: local accounts, and the operators' notices. Admins only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from node.errors import ErrorCode
from node.protocol.pushes import NoticePush
from node.state.model import Account, Notice, State
from node.state.outcome import Accepted, Refusal
from node.state.records import PutAccount, PutNotice, Record


def _put_notice(state: State, record: PutNotice) -> Accepted:
    _require_admin(record)
    notice = Notice(record.level, record.text, record.until)
    if notice in state.notices:
        return Accepted(0, record.ts, dup=True)
    # A new list, for the old one may be read meanwhile.
    kept = [old for old in state.notices if old.until > record.ts and old.text != record.text]
    state.notices = [*kept, notice] if record.until > record.ts else kept
    state.changes.notices = True
    state.push(None, NoticePush(record.level, record.text, record.until))
    return Accepted(0, record.ts)


def _put_account(state: State, record: PutAccount) -> Accepted:
    _require_admin(record)
    account = state.accounts.get(record.name)
    if record.new and account is not None:
        raise Refusal(ErrorCode.USER_EXISTS, f"there is an account {record.name}")
    if account is None:
        if not record.new or record.password_hash is None:
            raise Refusal(ErrorCode.NO_USER, f"there is no account {record.name}")
        account = Account(record.name, record.password_hash)
    state.accounts[record.name] = Account(
        name=record.name,
        password_hash=account.password_hash if record.password_hash is None else record.password_hash,
        roles=account.roles if record.roles is None else record.roles,
        disabled=account.disabled if record.disabled is None else record.disabled,
    )
    state.changes.accounts.add(record.name)
    return Accepted(0, record.ts)


def _require_admin(record: Record) -> None:
    if not record.admin:
        raise Refusal(ErrorCode.FORBIDDEN, "only a server admin may do that")


RULES: dict[type[Any], Callable[[State, Any], Accepted]] = {PutNotice: _put_notice, PutAccount: _put_account}
