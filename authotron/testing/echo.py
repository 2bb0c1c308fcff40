"""
An HTTP backend to try a gateway with, which verifies the JWT in a request, and answers with the
request.

C{python -m authotron.testing.echo --port 8000 --secret-file var/jwt-secret}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import jwt
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import react
from twisted.web.http import HTTPChannel, Request
from twisted.web.resource import Resource
from twisted.web.server import Site


@define(eq=False)
class Keys:
    """
    The keys that verify JWTs of the gateway.

    @ivar secret: the secret shared with the gateway, for JWTs signed with HS256.
    @ivar published: the key set that the gateway serves at C{/.well-known/jwks.json}, for JWTs
        signed with other algorithms.
    """

    secret: str | None = field(default=None, repr=False)
    published: jwt.PyJWKSet | None = None

    def verify(self, token: str) -> dict[str, Any]:
        """
        Verify a JWT, and return its claims.

        @raise jwt.InvalidTokenError: the JWT is not valid.
        """
        claims: dict[str, Any] = jwt.decode(
            token, *self._key_of(token), options={"verify_aud": False, "require": ["exp", "sub"]}
        )
        return claims

    def _key_of(self, token: str) -> tuple[Any, list[str]]:
        if self.published is None:
            return self.secret or "", ["HS256"]
        try:
            key = self.published[jwt.get_unverified_header(token).get("kid", "")]
        except KeyError:
            raise jwt.InvalidTokenError("signed by an unknown key") from None
        return key.key, [key.algorithm_name]


class Echo(Resource):
    """
    Answers every request with its method, path, headers and verified claims, or with 401 if it has
    no valid JWT.
    """

    isLeaf = True

    def __init__(self, keys: Keys) -> None:
        super().__init__()
        self._keys = keys

    def render(self, request: Request) -> bytes:
        headers = {
            name.decode("latin-1").lower(): [value.decode("latin-1") for value in values]
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        content = {
            "method": request.method.decode("latin-1"),
            "path": request.uri.decode("latin-1"),
            "headers": headers,
        }
        try:
            content["claims"] = self._keys.verify(_bearer(headers.get("authorization", [])))
        except jwt.InvalidTokenError as error:
            request.setResponseCode(401)
            content["error"] = str(error)
        request.setHeader(b"Content-Type", b"application/json")
        return json.dumps(content).encode() + b"\n"


class _Channel(HTTPChannel):
    """
    An HTTP connection that accepts headers of more than 16 KiB, which Twisted alone rejects,
    because JWTs may be large.
    """

    MAX_LENGTH = totalHeadersSize = 131_072


def _bearer(authorization: Sequence[str]) -> str:
    """Return the JWT in the header C{Authorization}, which must occur only once."""
    if len(authorization) != 1 or not authorization[0].startswith("Bearer "):
        raise jwt.InvalidTokenError("no bearer token")
    return authorization[0].removeprefix("Bearer ")


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=int, default=8000, show_default=True, help="Port to listen on.")
@click.option("--secret-file", type=_FILE, help="File with the secret that the gateway signs with.")
@click.option("--jwks-file", type=_FILE, help="Saved copy of the gateway's /.well-known/jwks.json.")
def main(host: str, port: int, secret_file: Path | None, jwks_file: Path | None) -> None:
    """Answer every HTTP request with its method, path, headers, and verified claims."""
    if (secret_file is None) == (jwks_file is None):
        raise click.UsageError("give one of --secret-file and --jwks-file")
    secret = secret_file.read_text().rstrip("\r\n") if secret_file else None
    published = jwt.PyJWKSet.from_json(jwks_file.read_text()) if jwks_file else None
    site = Site(Echo(Keys(secret, published)))
    site.protocol = _Channel  # type: ignore[assignment] # the class of channel that speaks HTTP/1 only

    async def serve(reactor: Any) -> None:
        await TCP4ServerEndpoint(reactor, port, interface=host).listen(site)
        click.echo(f"http://{host}:{port}")
        await Deferred()

    react(serve)


if __name__ == "__main__":
    main()
