"""An identity provider: keys, the tokens they sign, and the address under which their public halves stand."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm


class Signer:
    """A private key, and everything that is made from it."""

    def __init__(self, private: Ed25519PrivateKey | RSAPrivateKey, kid: str | None = None) -> None:
        self.private = private
        self.kid = kid
        self.algorithm = "RS256" if isinstance(private, RSAPrivateKey) else "EdDSA"

    @classmethod
    def ed25519(cls, kid: str | None = None) -> Signer:
        return cls(Ed25519PrivateKey.generate(), kid)

    @classmethod
    def rsa(cls, kid: str | None = None, bits: int = 2048) -> Signer:
        return cls(generate_private_key(65537, bits), kid)

    @property
    def private_pem(self) -> str:
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    @property
    def public_pem(self) -> str:
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def jwk(self) -> dict[str, Any]:
        if isinstance(self.private, RSAPrivateKey):
            jwk = RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        else:
            jwk = OKPAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return jwk | ({"kid": self.kid} if self.kid else {})

    def token(self, user: str = "ana", *, now: float | None = None, header: Any = None, **claims: Any) -> str:
        """A token that is good for a minute."""
        ends = (time.time() if now is None else now) + 60
        header = header or ({"kid": self.kid} if self.kid else None)
        return jwt.encode({"sub": user, "exp": ends, **claims}, self.private, self.algorithm, headers=header)


def jwk_set(*signers: Signer) -> str:
    return json.dumps({"keys": [signer.jwk for signer in signers]})


class JwksAddress:
    """What stands under the address. Everything may be changed while it is served.

    Attributes:
        document: the answer's body.
        status: the answer's status.
        headers: further headers of the answer.
        pause_s: seconds between two of the answer's bytes; 0: all at once.
        asked: how often it was asked.
        port: of the address; stays the same over :meth:`stop` and :meth:`start`.
    """

    def __init__(self, document: str | bytes) -> None:
        self.document = document
        self.status = 200
        self.headers: dict[str, str] = {}
        self.pause_s = 0.0
        self.asked = 0
        self.port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/keys.json"

    def start(self) -> None:
        """Answer."""
        self._server = server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        server.daemon_threads = True
        self.port = server.server_port
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        address = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                address.asked += 1
                self.send_response(address.status)
                for name, value in address.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                document = address.document
                body = document.encode() if isinstance(document, str) else document
                step = 1 if address.pause_s else len(body)
                with contextlib.suppress(OSError):  # who asked may have gone
                    for start in range(0, len(body), step or 1):
                        self.wfile.write(body[start : start + step])
                        time.sleep(address.pause_s)

            def log_message(self, *_: Any) -> None:
                """Not into the tests' output."""

        return Handler


@contextlib.contextmanager
def serving(document: str | bytes) -> Iterator[JwksAddress]:
    """An address that answers with a document."""
    address = JwksAddress(document)
    address.start()
    try:
        yield address
    finally:
        address.stop()
