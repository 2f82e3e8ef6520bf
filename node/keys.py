"""The keys of the clients' tokens, read from text. Pure.

``JWT_KEY`` is one of:

* shared keys, one a line, for HS256; two of them are both valid, as a rotation needs it;
* public keys as PEM blocks, for EdDSA (Ed25519) or RS256;
* a JWK or a JWK Set (RFC 7517) in JSON, of either kind.

What a key is decides its algorithm (RFC 8725, 3.1); what a token says never does.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

HS256, EDDSA, RS256 = ALGORITHMS = ("HS256", "EdDSA", "RS256")
MIN_SHARED_BYTES = 32
"""RFC 7518, 3.2: an HS256 key is at least as long as the hash."""
MIN_RSA_BITS = 2048
"""RFC 7518, 3.3."""

_BY_KTY = {"oct": HS256, "OKP": EDDSA, "RSA": RS256}
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_PRIVATE = "is a private key, which only the issuer of tokens needs; a node takes the public one: openssl pkey -pubout"


@dataclass(frozen=True, slots=True)
class Key:
    """A key and the one algorithm it is for.

    Attributes:
        algorithm: of :data:`ALGORITHMS`.
        material: the key itself; never shown.
        kid: the name that tokens give it, or None.
    """

    algorithm: str
    material: Any = field(repr=False)
    kid: str | None = None

    @property
    def name(self) -> str:
        """What a log line may say of it."""
        return f"{self.algorithm} {self.kid}" if self.kid is not None else self.algorithm


class _Jwk(msgspec.Struct):
    """What is looked at before the library reads the rest."""

    kty: str
    kid: str | None = None
    use: str | None = None
    key_ops: list[str] | None = None
    alg: str | None = None
    d: str | None = None

    @property
    def is_for_signatures(self) -> bool:
        return self.use in (None, "sig") and (self.key_ops is None or not {"verify", "sign"}.isdisjoint(self.key_ops))


def parse_keys(text: str) -> tuple[Key, ...]:
    """Read ``JWT_KEY``.

    Raises:
        ValueError: there is no key, or one is weak, private, ambiguous or unreadable; says which, never what it is.
    """
    if text.lstrip().startswith("{"):
        keys, faults = read_jwk_set(text)
        if faults:
            raise ValueError("; ".join(faults))
    else:
        materials = _public_keys(text) if "-----BEGIN" in text else _shared_keys(text)
        keys = tuple(_numbered(number, material) for number, material in enumerate(materials, 1))
    if not keys:
        raise ValueError("holds no key")
    _refuse_twins(keys)
    return keys


def signing_key(text: str) -> Key:
    """The key to sign tokens with: a private key in PEM, or the first shared key.

    Raises:
        ValueError: there is none, or what is there cannot be used.
    """
    match = _PEM.search(text)
    if match and match[1].endswith("PRIVATE KEY"):
        return _from_private_pem(text)
    for key in parse_keys(text):
        if key.algorithm == HS256:
            return key
    raise ValueError("holds public keys only, and those cannot sign")


def read_jwk_set(document: str | bytes) -> tuple[tuple[Key, ...], list[str]]:
    """Read a JWK or a JWK Set. Keys that are not for signatures are passed over (RFC 7517, 5).

    Returns:
        The keys that can be used, and what is wrong with each of the others.

    Raises:
        ValueError: it is neither.
    """
    try:
        parsed = msgspec.json.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("is no proper JSON") from None
    match parsed:
        case {"kty": _}:
            jwks = [parsed]
        case {"keys": [*jwks]}:
            pass
        case _:
            raise ValueError("is neither a JWK (with kty) nor a JWK Set (with keys)")
    keys, faults = [], []
    for number, jwk in enumerate(jwks, 1):
        try:
            keys += _from_jwk(jwk)
        except ValueError as error:
            faults.append(f"key {number} {error}")
    return tuple(keys), faults


def _from_jwk(raw: object) -> list[Key]:
    """One key, or none if it is not for signatures."""
    try:
        jwk = msgspec.convert(raw, _Jwk)
    except msgspec.ValidationError as error:
        raise ValueError(f"is no JWK: {error}") from None
    if not jwk.is_for_signatures:
        return []
    algorithm = _BY_KTY.get(jwk.kty)
    if algorithm is None or jwk.alg not in (None, algorithm):
        raise ValueError(f"is for another algorithm than {', '.join(ALGORITHMS)}")
    if jwk.d is not None:
        raise ValueError(_PRIVATE)
    try:
        material = jwt.PyJWK(msgspec.convert(raw, dict[str, Any]), algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        # The library's own words may contain the key.
        raise ValueError(f"is no readable {jwk.kty} key") from None
    return [_key(material, jwk.kid)]


def _public_keys(text: str) -> Iterator[object]:
    if _PEM.sub("", text).strip():
        raise ValueError("has something besides its PEM blocks; give whole blocks, and nothing else")
    for match in _PEM.finditer(text):
        if match[1].endswith("PRIVATE KEY"):
            raise ValueError(_PRIVATE)
        if match[1] == "CERTIFICATE":
            raise ValueError("is a certificate; a node takes the key in it: openssl x509 -noout -pubkey")
        try:
            yield load_pem_public_key(match[0].encode())
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError("has a PEM block that is no readable public key") from None


def _shared_keys(text: str) -> Iterator[bytes]:
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line]
    if any(map(_is_bare_public_key, [text, *lines])):
        raise ValueError("is a public key without its BEGIN and END lines")  # as a shared key, everybody knew it
    for number, line in enumerate(lines, 1):
        if line != line.strip():
            raise ValueError(f"key {number} begins or ends with a space; shared keys are lines without")
        yield line.encode()


def _is_bare_public_key(text: str) -> bool:
    try:
        load_der_public_key(base64.b64decode("".join(text.split()), validate=True))
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True


def _from_private_pem(text: str) -> Key:
    try:
        private = load_pem_private_key(text.encode(), None)
    except TypeError:
        raise ValueError("is encrypted; write it without a password first: openssl pkey -in FILE -out PLAIN") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("is no readable private key") from None
    if not isinstance(private, (Ed25519PrivateKey, RSAPrivateKey)):
        raise ValueError("is neither an Ed25519 nor an RSA key")
    return Key(_key(private.public_key()).algorithm, private)


def _numbered(number: int, material: object) -> Key:
    try:
        return _key(material)
    except ValueError as error:
        raise ValueError(f"key {number} {error}") from None


def _key(material: object, kid: str | None = None) -> Key:
    """A key that is strong enough, with the algorithm that its type stands for."""
    match material:
        case bytes():
            _check_shared(material)
            return Key(HS256, material, kid)
        case Ed25519PublicKey():
            return Key(EDDSA, material, kid)
        case RSAPublicKey():
            if material.key_size < MIN_RSA_BITS:
                raise ValueError(f"has {material.key_size} bits; an RSA key has at least {MIN_RSA_BITS}")
            return Key(RS256, material, kid)
    raise ValueError("is neither an Ed25519 nor an RSA key")


def _check_shared(material: bytes) -> None:
    if len(material) < MIN_SHARED_BYTES:
        raise ValueError(f"has {len(material)} bytes; a shared key (HS256) has at least {MIN_SHARED_BYTES}")
    try:
        jwt.get_algorithm_by_name(HS256).prepare_key(material)
    except jwt.InvalidKeyError:
        raise ValueError("is a public key of a format that is not taken; give it as PEM or as a JWK") from None


def _refuse_twins(keys: tuple[Key, ...]) -> None:
    for one, other in combinations(keys, 2):
        if one.material == other.material:
            raise ValueError("holds a key twice")
        if one.kid is not None and one.kid == other.kid:
            raise ValueError(f"has two keys with the kid {one.kid}")
