"""The id by which a token without an id of its own can be revoked: a hash of the token."""

from __future__ import annotations

from hashlib import sha256

from authotron.model.authentication import Authentication, PresentedToken
from authotron.model.identity import Credential

HASHED = "sha256:"
"""The prefix of the id of a token that has no id of its own."""

_NO_TOKENS = frozenset({"basic", "certificate"})
"""The schemes whose credentials are not tokens, but passwords and certificates."""

_NOTHING_KNOWN = PresentedToken()


def with_token_id(found: Authentication, credential: Credential) -> Authentication:
    """
    Return an authentication whose token has an id, if the credential is a token.

    A JWT without the claim C{jti}, and an opaque token of another service, get a hash as their id.
    """
    if credential.scheme in _NO_TOKENS:
        return found
    token = found.token or _NOTHING_KNOWN
    if token.id is not None:
        return found
    return found._replace(token=token._replace(id=hashed(credential.value)))


def hashed(token: str) -> str:
    """
    Return the hash of a token.

    The hash of a JWT does not depend on the signature, because some signatures can be spelled in
    several ways: the same JWT in another spelling has the same hash.
    """
    parts = token.split(".")
    text = ".".join(parts[:2]) if len(parts) == 3 else token  # noqa: PLR2004 - header, claims, signature (RFC 7515 section 7.1)
    return HASHED + sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
