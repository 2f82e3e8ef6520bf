"""Who a client is. Pure: the clock is passed in.

Tokens are JSON Web Tokens (RFC 7519) signed with HS256; ``sub`` is the user, ``roles`` a list, ``exp`` honoured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import jwt

from node.errors import CloseCode, CloseConnection, ErrorCode, RequestError

USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
ADMIN_ROLE = "admin"
"""The server role that may do everything, everywhere."""

_ALGORITHM = "HS256"
_WANTED = {"token": "a token", "accounts": "a user and a password", "guest": "a user name"}


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated user.

    Attributes:
        user: the name, unique in the cluster.
        roles: server-wide roles.
        expires_at: Unix time in seconds at which the identity ends, or None.
    """

    user: str
    roles: frozenset[str] = frozenset()
    expires_at: float | None = None


class Authenticator:
    """Turns what a client says in ``hello`` into an :class:`Identity`.

    Args:
        modes: any of ``token``, ``accounts`` (whose passwords are checked elsewhere) and ``guest``.
        jwt_key: HS256 key; used when ``token`` is on.
    """

    def __init__(self, modes: tuple[str, ...], jwt_key: str = "") -> None:
        self._modes = modes
        self._jwt_key = jwt_key

    def identify(self, *, token: str | None, user: str | None, now: float) -> Identity:
        """Check a token, or take a guest's name.

        Args:
            now: Unix time in seconds.

        Raises:
            RequestError: ``unauthorized``, or ``token_expired``; the message says what is wanted.
        """
        if token is not None and "token" in self._modes:
            return self._from_token(token, now)
        if user is not None and "guest" in self._modes:
            return Identity(_checked_name(user))
        wanted = " or ".join(_WANTED[mode] for mode in self._modes)
        raise RequestError(ErrorCode.UNAUTHORIZED, f"this node wants {wanted}")

    def _from_token(self, token: str, now: float) -> Identity:
        try:
            # PyJWT reads the machine's clock; times are compared below instead, so that a test can pass its own.
            claims = jwt.decode(
                token,
                self._jwt_key,
                algorithms=[_ALGORITHM],
                options={"require": ["sub"], "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError as error:
            raise RequestError(ErrorCode.UNAUTHORIZED, f"token refused: {error}") from None
        expires_at, not_before = claims.get("exp"), claims.get("nbf")
        if any(when is not None and not isinstance(when, (int, float)) for when in (expires_at, not_before)):
            raise RequestError(ErrorCode.UNAUTHORIZED, "token refused: exp and nbf are numbers of seconds")
        if expires_at is not None and expires_at <= now:
            raise RequestError(ErrorCode.TOKEN_EXPIRED, "token refused: it has expired")
        if not_before is not None and not_before > now:
            raise RequestError(ErrorCode.UNAUTHORIZED, "token refused: it is not valid yet")
        roles = claims.get("roles", [])
        if not isinstance(roles, list):
            raise RequestError(ErrorCode.UNAUTHORIZED, "token refused: roles is a list of names")
        return Identity(_checked_name(claims["sub"]), frozenset(map(str, roles)), expires_at)


def sign_token(key: str, user: str, now: float, ttl_s: float, roles: tuple[str, ...] = ()) -> str:
    """Make a token for a user.

    Args:
        key: the HS256 key that the nodes know.
        now: Unix time in seconds.
        ttl_s: seconds until the token expires.
    """
    claims = {"sub": _checked_name(user), "iat": int(now), "exp": int(now + ttl_s)}
    if roles:
        claims["roles"] = list(roles)
    return jwt.encode(claims, key, algorithm=_ALGORITHM)


def refuse_credentials(error: RequestError) -> CloseConnection:
    """How the connection ends after a refused hello."""
    code = CloseCode.TOKEN_EXPIRED if error.code is ErrorCode.TOKEN_EXPIRED else CloseCode.BAD_CREDENTIALS
    return CloseConnection(code, error.msg)


def _checked_name(user: str) -> str:
    if not USER_NAME.fullmatch(user):
        raise RequestError(
            ErrorCode.UNAUTHORIZED, "a user name is 1-64 letters, digits or . _ @ + -, first a letter or digit"
        )
    return user
