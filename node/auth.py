"""Who a client is. Pure: the clock is passed in.

Tokens are JSON Web Tokens (RFC 7519) signed with HS256, EdDSA or RS256; ``sub`` is the user, ``roles`` a list, ``exp``
and ``nbf`` are honoured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jwt

from node.errors import CloseCode, CloseConnection, ErrorCode, RequestError
from node.keys import ALGORITHMS, HS256, Key, parse_keys, signing_key

USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
ADMIN_ROLE = "admin"
"""The server role that may do everything, everywhere."""

_NO_ROLES: frozenset[str] = frozenset()
"""One for nearly everybody."""
_ENDINGS = {
    ErrorCode.TOKEN_EXPIRED: CloseCode.TOKEN_EXPIRED,
    ErrorCode.UNAVAILABLE: CloseCode.TRY_AGAIN_LATER,  # not the client's fault, as far as anybody can tell
}
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


class UnknownKey(RequestError):
    """A token that none of the keys verifies, and that a key not seen yet may be for."""


class Authenticator:
    """Turns what a client says in ``hello`` into an :class:`Identity`.

    Args:
        modes: any of ``token``, ``accounts`` (whose passwords are checked elsewhere) and ``guest``.
        jwt_key: the keys that are always valid, as :func:`node.keys.parse_keys` reads them; used when ``token`` is on.
        issuer: the ``iss`` that tokens must have; empty for any.
        audience: the ``aud`` that tokens must have; empty: tokens for somebody are refused (RFC 7519, 4.1.3).

    Raises:
        ValueError: the keys cannot be used.
    """

    def __init__(self, modes: tuple[str, ...], jwt_key: str = "", issuer: str = "", audience: str = "") -> None:
        self._modes = modes
        self._own = parse_keys(jwt_key) if jwt_key and "token" in modes else ()
        self._fetched: tuple[Key, ...] = ()
        self._issuer = issuer or None
        self._audience = audience or None

    @property
    def keys(self) -> tuple[Key, ...]:
        """All keys that are valid now."""
        return self._own + self._fetched

    def replace_fetched(self, keys: tuple[Key, ...]) -> None:
        """Take these in place of the keys that were fetched before."""
        self._fetched = keys

    def identify(self, *, token: str | None, user: str | None, now: float) -> Identity:
        """Check a token, or take a guest's name.

        Args:
            now: Unix time in seconds.

        Raises:
            UnknownKey: ``unauthorized``, unless a fetch brings the key.
            RequestError: ``unauthorized``, or ``token_expired``; the message says what is wanted.
        """
        if token is not None and "token" in self._modes:
            return self._from_token(token, now)
        if user is not None and "guest" in self._modes:
            return Identity(_checked_name(user))
        wanted = " or ".join(_WANTED[mode] for mode in self._modes)
        raise RequestError(ErrorCode.UNAUTHORIZED, f"this node wants {wanted}")

    def _from_token(self, token: str, now: float) -> Identity:
        claims = self._verified(token)
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
        return Identity(_checked_name(claims["sub"]), frozenset(map(str, roles)) if roles else _NO_ROLES, expires_at)

    def _verified(self, token: str) -> dict[str, Any]:
        """The claims, once a key has verified them. A key verifies its own algorithm's tokens and no others."""
        try:
            algorithm, kid = _signed_with(token.partition(".")[0])
            if algorithm not in ALGORITHMS:
                raise jwt.InvalidAlgorithmError(f"it is signed with none of {', '.join(ALGORITHMS)}")
            for key in self.keys:
                if key.algorithm == algorithm and (kid is None or key.kid in (None, kid)):
                    try:
                        return self._claims(token, key)
                    except jwt.InvalidSignatureError:
                        continue
        except jwt.InvalidTokenError as error:
            raise RequestError(ErrorCode.UNAUTHORIZED, f"token refused: {error}") from None
        known = kid is not None and any(key.kid == kid for key in self.keys)
        refusal = RequestError if known or algorithm == HS256 else UnknownKey  # shared keys are never fetched
        raise refusal(ErrorCode.UNAUTHORIZED, "token refused: no key of this node verifies it")

    def _claims(self, token: str, key: Key) -> dict[str, Any]:
        # PyJWT reads the machine's clock; times are compared elsewhere instead, so that a test can pass its own.
        return jwt.decode(
            token,
            key.material,
            algorithms=[key.algorithm],
            issuer=self._issuer,
            audience=self._audience,
            options={"require": ["sub"], "verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )


def sign_token(
    key: str,
    user: str,
    now: float,
    ttl_s: float,
    roles: tuple[str, ...] = (),
    *,
    kid: str | None = None,
    issuer: str = "",
    audience: str = "",
) -> str:
    """Make a token for a user.

    Args:
        key: as :func:`node.keys.signing_key` reads it.
        now: Unix time in seconds.
        ttl_s: seconds until the token expires.
        kid: name of the key; None for the name that the key itself has, if any.

    Raises:
        ValueError: the key cannot sign.
        RequestError: nobody can have this name.
    """
    signing = signing_key(key)
    kid = signing.kid if kid is None else kid
    claims: dict[str, Any] = {"sub": _checked_name(user), "iat": int(now), "exp": int(now + ttl_s)}
    claims |= {name: value for name, value in {"iss": issuer, "aud": audience}.items() if value}
    if roles:
        claims["roles"] = list(roles)
    return jwt.encode(claims, signing.material, signing.algorithm, headers=None if kid is None else {"kid": kid})


def refuse_credentials(error: RequestError) -> CloseConnection:
    """How the connection ends after a refused hello."""
    code = _ENDINGS.get(error.code, CloseCode.BAD_CREDENTIALS)
    return CloseConnection(code, error.msg)


@lru_cache(maxsize=64)
def _signed_with(header: str) -> tuple[object, object]:
    """What a token's first part says of algorithm and key: the same for all tokens of an issuer, so it is read once.

    Raises:
        jwt.InvalidTokenError: it is no such part.
    """
    fields = jwt.get_unverified_header(f"{header}..")
    return fields.get("alg"), fields.get("kid")


def _checked_name(user: str) -> str:
    if not USER_NAME.fullmatch(user):
        raise RequestError(
            ErrorCode.UNAUTHORIZED, "a user name is 1-64 letters, digits or . _ @ + -, first a letter or digit"
        )
    return user
