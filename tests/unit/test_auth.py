"""Who is let in, and that nobody else is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest

from node.auth import Authenticator, Identity, UnknownKey, refuse_credentials, sign_token
from node.errors import CloseCode, ErrorCode, RequestError
from node.keys import parse_keys
from tests.issuer import Signer, jwk_set

ED, RSA = Signer.ed25519("ed"), Signer.rsa("rsa")
KEY = "a-key-that-is-long-enough-even-for-hs512" * 2
OTHER = "another-key-that-is-long-enough-too-for-hs512" * 2
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


def by_hand(header: dict[str, Any], hmac_key: bytes = b"") -> str:
    """A token that no library would make."""
    parts = [json.dumps(header).encode(), json.dumps({"sub": "ana", "exp": NOW + 60}).encode()]
    text = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    signature = hmac.digest(hmac_key, text.encode(), hashlib.sha256) if hmac_key else b""
    return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


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
        by_hand({"alg": "none", "typ": "JWT"}),
        by_hand({"alg": ["HS256"]}, KEY.encode()),
        by_hand({"alg": "HS256", "kid": 5}, KEY.encode()),
        by_hand({"alg": "HS256", "crit": ["x"], "x": 1}, KEY.encode()),
        by_hand({"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}}, b"\0\0\0"),
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


# --- keys and algorithms ---


@pytest.mark.parametrize("signer", [ED, RSA])
def test_public_keys_verify_their_algorithm(signer: Signer) -> None:
    for keys in (signer.public_pem, jwk_set(signer), jwk_set(ED, RSA)):
        token = sign_token(signer.private_pem, "ana", NOW, 60, kid=signer.kid)
        assert jwt.get_unverified_header(token) == {"alg": signer.algorithm, "typ": "JWT", "kid": signer.kid}
        assert Authenticator(("token",), keys).identify(token=token, user=None, now=NOW).user == "ana"
    with pytest.raises(RequestError):
        Authenticator(("token",), Signer.ed25519().public_pem).identify(token=token, user=None, now=NOW)


def test_both_keys_are_valid_during_a_rotation() -> None:
    both = Authenticator(("token",), f"{KEY}\n{OTHER}")
    assert both.identify(token=signed(OTHER), user=None, now=NOW) == both.identify(token=signed(), user=None, now=NOW)
    assert jwt.decode(sign_token(f"{OTHER}\n{KEY}", "ana", NOW, 60), OTHER, ["HS256"], {"verify_exp": False})
    with pytest.raises(RequestError):
        Authenticator(("token",), OTHER).identify(token=signed(), user=None, now=NOW)


@pytest.mark.parametrize("keys", [RSA.public_pem, jwk_set(RSA), jwk_set(RSA, ED)])
@pytest.mark.parametrize("algorithm", ["HS256", "none", "HS384", "RS512", "PS256", "EdDSA"])
def test_a_public_key_is_never_a_shared_one(keys: str, algorithm: str) -> None:
    """The algorithm is the key's: a token that calls itself HS256 gains nothing by what everybody knows."""
    known = [RSA.public_pem, RSA.public_pem.strip(), json.dumps(RSA.jwk), keys, RSA.jwk["n"]]
    for material in known:
        for kid in ({}, {"kid": "rsa"}, {"kid": "other"}):
            token = by_hand({"alg": algorithm, **kid}, material.encode())
            with pytest.raises(RequestError) as caught:
                Authenticator(("token",), keys).identify(token=token, user=None, now=NOW)
            assert caught.value.code is ErrorCode.UNAUTHORIZED


def test_a_name_of_a_key_narrows_it_down() -> None:
    two, three = Signer.ed25519("two"), Signer.ed25519("three")
    named = Authenticator(("token",), jwk_set(ED, two))
    assert named.identify(token=two.token(now=NOW), user=None, now=NOW).user == "ana"
    assert named.identify(token=two.token(now=NOW, header={"x": 1}), user=None, now=NOW).user == "ana"
    with pytest.raises(RequestError) as wrong:  # the right key under another's name
        named.identify(token=two.token(now=NOW, header={"kid": "ed"}), user=None, now=NOW)
    assert not isinstance(wrong.value, UnknownKey)
    with pytest.raises(UnknownKey):
        named.identify(token=three.token(now=NOW), user=None, now=NOW)
    nameless = Authenticator(("token",), two.public_pem)
    assert nameless.identify(token=two.token(now=NOW), user=None, now=NOW).user == "ana"


def test_fetched_keys_are_valid_until_others_take_their_place() -> None:
    door = Authenticator(("token",), KEY)
    for signer in (ED, RSA):
        with pytest.raises(UnknownKey):
            door.identify(token=signer.token(now=NOW), user=None, now=NOW)
        door.replace_fetched(parse_keys(jwk_set(signer)))
        assert door.identify(token=signer.token(now=NOW), user=None, now=NOW).user == "ana"
        assert door.identify(token=signed(), user=None, now=NOW).user == "ana"
    assert [key.name for key in door.keys] == ["HS256", "RS256 rsa"]


def test_a_bad_shared_signature_is_nothing_that_a_fetch_could_mend() -> None:
    assert not isinstance(refusal(signed(OTHER)), UnknownKey)
    assert isinstance(refusal(ED.token(now=NOW)), UnknownKey)


@pytest.mark.parametrize(
    ("claims", "good"),
    [
        ({"iss": "https://id", "aud": "chat"}, True),
        ({"iss": "https://id", "aud": ["mail", "chat"]}, True),
        ({"iss": "https://other", "aud": "chat"}, False),
        ({"aud": "chat"}, False),
        ({"iss": "https://id", "aud": "mail"}, False),
        ({"iss": "https://id"}, False),
        ({"iss": "https://id", "aud": 5}, False),
    ],
)
def test_issuer_and_audience_where_they_are_wanted(claims: dict[str, Any], good: bool) -> None:
    door = Authenticator(("token",), KEY, issuer="https://id", audience="chat")
    if good:
        assert door.identify(token=signed(**claims), user=None, now=NOW).user == "ana"
        return
    with pytest.raises(RequestError, match="token refused"):
        door.identify(token=signed(**claims), user=None, now=NOW)


def test_a_token_for_somebody_else_is_refused_where_no_audience_is_set() -> None:
    refusal(signed(aud="mail"))
    assert identify(signed(iss="anybody")).user == "ana"


def test_what_is_signed_here_has_what_is_wanted_here() -> None:
    door = Authenticator(("token",), KEY, issuer="i", audience="a")
    token = sign_token(KEY, "ana", NOW, 60, issuer="i", audience="a")
    assert door.identify(token=token, user=None, now=NOW).user == "ana"


def test_keys_are_looked_at_only_where_tokens_count() -> None:
    with pytest.raises(ValueError, match="bytes"):
        Authenticator(("token",), "short")
    assert Authenticator(("guest",), "short").keys == ()
