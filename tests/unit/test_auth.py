"""Who is let in, and that nobody else is."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest

from node.auth import Authenticator, Identity, refuse_credentials, sign_token
from node.errors import CloseCode, ErrorCode, RequestError

KEY = "a-key-that-is-long-enough-even-for-hs512" * 2
NOW = 1_700_000_000.0


def signed(key: str = KEY, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode({"sub": "ana", "exp": NOW + 60, **claims}, key, algorithm=algorithm)


def identify(token: str | None = None, user: str | None = None, modes: tuple[str, ...] = ("token",)) -> Identity:
    return Authenticator(modes, KEY).identify(token=token, user=user, now=NOW)


def refusal(token: str | None = None, user: str | None = None, modes: tuple[str, ...] = ("token",)) -> RequestError:
    with pytest.raises(RequestError) as caught:
        identify(token, user, modes)
    assert KEY not in caught.value.msg
    return caught.value


def test_a_token_of_ours_names_its_user_until_it_expires() -> None:
    identity = identify(sign_token(KEY, "ana", NOW, 60, ("admin",)))
    assert identity == Identity("ana", frozenset({"admin"}), NOW + 60)


def test_a_token_without_an_end_has_none() -> None:
    assert identify(jwt.encode({"sub": "ana"}, KEY)).expires_at is None


def test_expired_is_told_apart_because_a_new_token_helps() -> None:
    error = refusal(signed(exp=NOW))
    assert error.code is ErrorCode.TOKEN_EXPIRED
    assert refuse_credentials(error).code is CloseCode.TOKEN_EXPIRED
    assert identify(signed(exp=NOW + 0.001)).user == "ana"


def test_not_yet_valid() -> None:
    assert refusal(signed(nbf=NOW + 1)).code is ErrorCode.UNAUTHORIZED
    assert identify(signed(nbf=NOW)).user == "ana"


def none_token() -> str:
    parts = [{"alg": "none", "typ": "JWT"}, {"sub": "ana", "exp": NOW + 60}]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def tampered() -> str:
    header, body, signature = signed().split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["sub"] = "root"
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"{header}.{body}.{signature}"


@pytest.mark.parametrize(
    "token",
    [
        signed(key="another-key-that-is-long-enough-too"),
        signed(algorithm="HS512"),
        none_token(),
        tampered(),
        "",
        "nonsense",
        "a.b.c",
        "é.é.é",
        jwt.encode({"exp": NOW + 60}, KEY),
        signed(exp="tomorrow"),
        signed(nbf=[1]),
        signed(roles="admin"),
        jwt.encode({"sub": 17, "exp": NOW + 60}, KEY),
        jwt.encode({"sub": None, "exp": NOW + 60}, KEY),
        *(signed(sub=sub) for sub in ("", " ", "a b", "ana\n", "-ana", "x" * 65, "anä", "a/b")),
    ],
)
def test_any_other_token_is_refused(token: str) -> None:
    error = refusal(token)
    assert error.code is ErrorCode.UNAUTHORIZED
    assert refuse_credentials(error).code is CloseCode.BAD_CREDENTIALS


@pytest.mark.parametrize("user", ["ana", "Ana.B_c@example.org", "a+b-c", "7", "x" * 64])
def test_guests_name_themselves_where_guests_are_allowed(user: str) -> None:
    assert identify(user=user, modes=("guest",)) == Identity(user)


@pytest.mark.parametrize("user", ["", "a b", "ana\n", ".ana", "x" * 65])
def test_a_guest_needs_a_proper_name(user: str) -> None:
    refusal(user=user, modes=("guest",))


def test_what_is_not_switched_on_does_not_count() -> None:
    assert "token" in refusal(user="ana").msg
    assert "user name" in refusal(token=signed(), modes=("guest",)).msg
    assert "password" in refusal(token=signed(), user="ana", modes=("accounts",)).msg
    refusal()


def test_with_both_a_bad_token_is_not_saved_by_a_name() -> None:
    refusal(token="nonsense", user="ana", modes=("token", "guest"))  # noqa: S106
    assert identify(user="bo", modes=("token", "guest")).user == "bo"


def test_no_token_is_made_for_an_impossible_user() -> None:
    with pytest.raises(RequestError):
        sign_token(KEY, "a b", NOW, 60)
