"""Keys as operators write them down: what is read, and what is refused with which words."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from node.keys import parse_keys, read_jwk_set, signing_key
from tests.issuer import Signer, jwk_set

ONE, TWO = "first-key-that-is-long-enough-4-hs256", "second-key-that-is-long-enough-for-hs256"
ED, RSA = Signer.ed25519("ed"), Signer.rsa("rsa")
OCT = {"kty": "oct", "k": base64.urlsafe_b64encode(ONE.encode()).decode().rstrip("="), "kid": "shared"}
CURVE = ec.generate_private_key(ec.SECP256R1())
CURVE_PEM = CURVE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
CURVE_PRIVATE = CURVE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
EC_JWK = {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}


def names(text: str) -> list[str]:
    return [key.name for key in parse_keys(text)]


def fault(text: str) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_keys(text)
    return str(caught.value)


def bare(pem: str) -> str:
    return "".join(pem.splitlines()[1:-1])


def test_each_way_to_write_keys_down() -> None:
    assert names(ONE) == ["HS256"]
    assert [key.material for key in parse_keys(f"{ONE}\r\n\n{TWO}\n")] == [ONE.encode(), TWO.encode()]
    assert names(ED.public_pem) == ["EdDSA"]
    assert names(f"\n{RSA.public_pem}\n{ED.public_pem}") == ["RS256", "EdDSA"]
    assert names(json.dumps(ED.jwk)) == ["EdDSA ed"]
    assert names(" " + json.dumps({"keys": [RSA.jwk, OCT]})) == ["RS256 rsa", "HS256 shared"]
    assert parse_keys(json.dumps(OCT))[0].material == ONE.encode()


def test_a_key_shows_its_name_and_nothing_else() -> None:
    assert ONE not in repr(parse_keys(ONE))
    assert repr(parse_keys(json.dumps(ED.jwk))) == "(Key(algorithm='EdDSA', kid='ed'),)"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no key"),
        ("\n\n", "no key"),
        ("x" * 31, "key 1 has 31 bytes"),
        (f"{ONE}\nshort", "key 2 has 5 bytes"),
        (f" {ONE}", "key 1 begins or ends with a space"),
        (f"{ONE}\n{ONE}", "a key twice"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLEEXAMPLEEXAMPLE", "a format that is not taken"),
        (bare(ED.public_pem), "without its BEGIN and END lines"),
        ("\n".join(RSA.public_pem.splitlines()[1:-1]), "without its BEGIN and END lines"),
        (f"{ONE}\n{bare(ED.public_pem)}", "without its BEGIN and END lines"),
        (f"{ONE}\n{ED.public_pem}", "besides its PEM blocks"),
        (ED.public_pem.replace("-----END PUBLIC KEY-----", ""), "besides its PEM blocks"),
        (ED.public_pem * 2, "a key twice"),
        (ED.private_pem, "is a private key"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "is a certificate"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "no readable public key"),
        (Signer.rsa(bits=1024).public_pem, "key 1 has 1024 bits"),
        (CURVE_PEM, "neither an Ed25519 nor an RSA key"),
        ("{", "no proper JSON"),
        ("{}", "neither a JWK"),
        ('{"keys":[]}', "no key"),
        ('{"keys":[5]}', "key 1 is no JWK"),
        (json.dumps(OCT | {"k": "c2hvcnQ"}), "key 1 has 5 bytes"),
        (json.dumps(OCT | {"k": 5}), "key 1 is no readable oct key"),
        (json.dumps(OCT | {"kid": 5}), "key 1 is no JWK"),
        (json.dumps(OCT | {"alg": "HS512"}), "another algorithm"),
        (json.dumps(RSA.jwk | {"alg": "PS256"}), "another algorithm"),
        (json.dumps(RSA.jwk | {"use": "enc"}), "no key"),
        (json.dumps(RSA.jwk | {"key_ops": ["encrypt"]}), "no key"),
        (json.dumps(ED.jwk | {"d": "AAAA"}), "is a private key"),
        (json.dumps(ED.jwk | {"crv": "X25519"}), "no readable OKP key"),
        (json.dumps(Signer.rsa(bits=1024).jwk), "key 1 has 1024 bits"),
        (json.dumps(EC_JWK), "another algorithm"),
        (jwk_set(ED, Signer.ed25519("ed")), "two keys with the kid ed"),
    ],
    ids=map(str, itertools.count()),  # the texts hold fresh keys, and a test's name must be the same in every process
)
def test_what_is_weak_private_ambiguous_or_unreadable_is_refused(text: str, words: str) -> None:
    assert words in fault(text)


def test_a_refusal_does_not_tell_the_key() -> None:
    for text in ("canary-short", " canary" + ONE, json.dumps(OCT | {"k": "!canary!"}), f"canary\n{ED.public_pem}"):
        assert "canary" not in fault(text)


def test_of_a_set_the_good_keys_are_read_and_the_others_named() -> None:
    keys, faults = read_jwk_set(json.dumps({"keys": [EC_JWK, ED.jwk, RSA.jwk | {"use": "enc"}, None]}))
    assert [key.name for key in keys] == ["EdDSA ed"]
    assert [fault.split(" is")[0] for fault in faults] == ["key 1", "key 4"]


def test_the_key_that_signs() -> None:
    assert signing_key(f"{ONE}\n{TWO}").material == ONE.encode()
    assert (signing_key(ED.private_pem).algorithm, signing_key(RSA.private_pem).algorithm) == ("EdDSA", "RS256")
    assert signing_key(json.dumps({"keys": [ED.jwk, OCT]})).kid == "shared"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ED.public_pem, "public keys only"),
        (jwk_set(RSA), "public keys only"),
        (CURVE_PRIVATE, "neither an Ed25519 nor an RSA key"),
        (Signer.rsa(bits=1024).private_pem, "1024 bits"),
        (
            ED.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")).decode(),
            "is encrypted",
        ),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "no readable private key"),
    ],
    ids=map(str, itertools.count()),
)
def test_what_cannot_sign(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        signing_key(text)


members: Any = st.dictionaries(
    st.sampled_from(["kty", "kid", "use", "alg", "key_ops", "crv", "n", "e", "x", "y", "d", "k", "p", "oth"]),
    st.sampled_from(["RSA", "OKP", "oct", "Ed25519", "AQAB", "é", "", "=", RSA.jwk["n"], ED.jwk["x"]])
    | st.none() | st.integers() | st.lists(st.sampled_from(["verify", "é", 5]), max_size=2),
)  # fmt: skip


@given(st.lists(members, min_size=1, max_size=3))
def test_no_set_however_odd_is_more_than_keys_and_faults(jwks: list[dict[str, Any]]) -> None:
    keys, faults = read_jwk_set(json.dumps({"keys": jwks}))
    assert len(keys) + len(faults) <= len(jwks)


@given(st.binary(max_size=200))
def test_a_document_that_is_none_is_a_value_error(document: bytes) -> None:
    with pytest.raises(ValueError, match="is"):
        read_jwk_set(document)


def test_json_too_deep_is_no_proper_json() -> None:
    with pytest.raises(ValueError, match="no proper JSON"):
        read_jwk_set('{"keys":' + "[" * 100_000)
