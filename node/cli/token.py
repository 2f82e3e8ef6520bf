"""``chat-node token``, and the signing that the probe needs too."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from node.auth import sign_token
from node.config import load
from node.errors import ConfigError


@click.command()
@click.option("--user", required=True, help="Whom the token names.")
@click.option("--ttl", default=86400.0, show_default=True, help="Seconds until it expires.")
@click.option("--role", "roles", multiple=True, help="A server role; may be repeated.")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, exists=True),
    help="File with the key: a private one in PEM (Ed25519 or RSA), or shared ones as in JWT_KEY_FILE, which is the "
    "default.",
)
@click.option("--kid", help="Name of the key, as the nodes' JWK Set has it.")
def token(user: str, ttl: float, roles: tuple[str, ...], key_file: Path | None, kid: str | None) -> None:
    """Make a token for a user, signed with a key that the nodes know.

    The kind of the key decides the algorithm: HS256, EdDSA or RS256. Of several shared keys the first signs.
    JWT_ISSUER and JWT_AUDIENCE are put in where they are set.
    """
    remedy = "give a private key, or a shared one: --key-file"
    click.echo(sign_as_configured(user, ttl, roles, key_file=key_file, kid=kid, remedy=remedy))


def sign_as_configured(
    user: str,
    ttl_s: float,
    roles: tuple[str, ...] = (),
    *,
    key_file: Path | None = None,
    kid: str | None = None,
    remedy: str,
) -> str:
    """A token as the nodes of this environment want it, signed with a key from a file or from where a node has it.

    Args:
        ttl_s: seconds until it expires.
        remedy: what to do if there is no key that signs.

    Raises:
        ConfigError: there is none.
        RequestError: nobody can have this name.
    """
    environment = {name: value for name, value in os.environ.items() if name.startswith("JWT_")}
    if key_file is not None:
        environment["JWT_KEY_FILE"] = str(key_file)
    # Not as for tokens: a node refuses the private key that is needed here.
    settings = load(environment, {"auth_mode": "guest"})
    place = "JWT_KEY" if key_file is None else str(key_file)
    if not settings.jwt_key:
        raise ConfigError([f"{place}: there is no key to sign with; {remedy}"])
    audience, issuer = settings.jwt_audience, settings.jwt_issuer
    try:
        return sign_token(settings.jwt_key, user, time.time(), ttl_s, roles, kid=kid, issuer=issuer, audience=audience)
    except ValueError as error:
        raise ConfigError([f"{place}: {error}; {remedy}"]) from None
