"""Who may use the admin API, and how often."""

from __future__ import annotations

import time

from node.admin_key import AdminKey
from node.api import problems
from node.api.operations import Host, not_ready
from node.api.problems import Refused, refused, unauthorized
from node.auth import ADMIN_ROLE, Identity
from node.config import Settings
from node.errors import ErrorCode, RequestError
from node.limits import TokenBucket

_SCHEME = "bearer"


class Gate:
    """Lets admins through.

    Args:
        key: the node's own, whose tokens are taken beside those of the chat.
    """

    def __init__(self, settings: Settings, key: AdminKey) -> None:
        self._settings = settings
        self._key = key
        self._admins: dict[str, TokenBucket] = {}
        self._strangers = self._bucket()

    async def let_in(self, authorization: str | None, host: Host) -> Identity:
        """Who asks.

        Args:
            authorization: the header of that name.

        Raises:
            Refused: 401, 403, 429, or 503 while the node cannot tell.
        """
        try:
            identity = await self._identify(_token(authorization), host)
        except Refused:
            _take(self._strangers)
            raise
        _take(self._admins.setdefault(identity.user, self._bucket()))
        return identity

    async def _identify(self, token: str, host: Host) -> Identity:
        now = time.time()
        try:
            return self._key.identify(token, now)
        except RequestError as error:
            if error.code is ErrorCode.TOKEN_EXPIRED or "token" not in self._settings.auth_mode:
                raise refused(error) from None
        return await self._from_chat(token, host)

    async def _from_chat(self, token: str, host: Host) -> Identity:
        """An admin whom the chat knows by the same token."""
        node = host.node
        if node is None:
            raise not_ready("the node starts, and knows its own key's tokens only")
        try:
            identity = await node.identify(token=token, user=None)
        except RequestError as error:
            raise refused(error) from None
        if ADMIN_ROLE not in identity.roles:
            raise Refused(problems.FORBIDDEN, f"{identity.user} is no server admin")
        account = node.replica.account(identity.user)
        if account is not None and account.disabled and "accounts" in self._settings.auth_mode:
            raise Refused(problems.FORBIDDEN, f"the account {identity.user} is disabled")
        return identity

    def _bucket(self) -> TokenBucket:
        return TokenBucket(self._settings.api_rate, self._settings.api_burst, time.monotonic())


def _token(authorization: str | None) -> str:
    if authorization is None:
        raise unauthorized(problems.UNAUTHORIZED, "send the header 'Authorization: Bearer TOKEN'", shown=False)
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != _SCHEME or not token.strip():
        raise unauthorized(problems.UNAUTHORIZED, "the header is 'Authorization: Bearer TOKEN'", shown=False)
    return token.strip()


def _take(bucket: TokenBucket) -> None:
    wait_s = bucket.take(time.monotonic())
    if wait_s:
        raise Refused(problems.RATE_LIMITED, "ask more slowly", {"Retry-After": str(int(wait_s) + 1)})
