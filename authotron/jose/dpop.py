"""
Verify DPoP proofs: small JWTs by which a client proves, with each request, that it has a private
key (RFC 9449).

This module verifies what a proof itself says. The module C{authotron.gateway.proofs} checks whether
a token is bound to the key of the proof, and whether the proof was used before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import jwt
from attrs import frozen

from authotron.jose import jwk, unverified
from authotron.jose.keys import base64url
from authotron.model.errors import Rejected
from authotron.model.hosts import split_host
from authotron.model.paths import canonical, split_target

TYPE = "dpop+jwt"
"""The type of a DPoP proof: the member C{typ} of its header."""

LONGEST = 8_192
"""Maximum characters of a DPoP proof; a proof with an RSA key of 8192 bits has about 3,000."""

_LONGEST_ID = 256
"""Maximum number of characters of the claim C{jti} of a DPoP proof."""

_MEMBERS: Mapping[str, Sequence[str]] = {
    "RSA": ("e", "kty", "n"),
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
}
"""
For each type of key the members from which the thumbprint of the key is computed, sorted by name
(RFC 7638 section 3.2, RFC 8037 appendix A.3).
"""

_UNSUPPORTED = frozenset({"crit", "b64", "zip"})
"""
Members of the header of a JWT that demand an extension; the gateway supports none of these
extensions.
"""

_PORTS = {"http": 80, "https": 443}
_URI = re.compile(r"(?i:(https?))://([^/?#@]+)([^#]*)(?:#.*)?")
"""An absolute URI: its scheme, its host with or without a port, and its path and query."""


class BadProof(Exception):
    """
    A DPoP proof is missing or malformed, or does not fit the request or the token.

    The message of the exception is written to the log, and contains nothing that the client sent.
    """


class NonceNeeded(BadProof):
    """A DPoP proof is valid, but lacks a nonce of the gateway, or has an expired nonce."""


@frozen
class Target:
    """
    The method and the URI of a request, without query and fragment, in canonical spelling.

    @ivar port: the port of the server, which is never C{None}: without a port in the URI it is the
        usual port of the scheme.
    """

    method: str
    scheme: str
    host: str
    port: int
    path: str


@frozen
class Proof:
    """
    A verified DPoP proof.

    @ivar jkt: the thumbprint of the public key (RFC 7638) whose private key has signed the proof.
    @ivar id: the claim C{jti}, which differs in each proof of a client.
    @ivar issued: when the client made the proof by its own clock, in seconds since the epoch.
    """

    jkt: str
    id: str
    issued: float


def target(method: str, scheme: str, host: str, port: int | None, path: str) -> Target:
    """
    Return the method and the URI of a request as L{Target}.

    @param port: the port that the client named, or C{None} for the usual port of the scheme.
    @param path: the path in canonical spelling (L{authotron.model.paths}).
    """
    return Target(method, scheme, host, port or _PORTS[scheme], path)


def hash_of(token: str) -> str:
    """Return the hash of a token that its proofs contain as claim C{ath} (section 4.2)."""
    return base64url(sha256(token.encode("ascii")).digest()).decode()


def verify(
    text: str,
    targets: Sequence[Target],
    now: float,
    *,
    window: float,
    algorithms: Sequence[str],
    token_hash: str | None = None,
    nonces: Sequence[str] | None = None,
) -> Proof:
    """
    Verify a DPoP proof (RFC 9449 section 4.3), apart from the check whether it was used before.

    @param targets: the method and the URI of the request with which the client has sent the proof;
        several targets if parts of the URI are not known, of which the proof must name one.
    @param now: the current time, in seconds since the epoch.
    @param window: seconds by which the time of the proof may differ from C{now}.
    @param algorithms: the accepted signature algorithms.
    @param token_hash: the L{hash_of} the token that the client presents, or C{None} if the client
        presents no token, because it requests a token.
    @param nonces: the values of which the claim C{nonce} must have one, or C{None} if a proof needs
        no nonce.

    @raise BadProof: the proof is malformed, not signed with its own key, or made for another
        request or another token, or at another time.
    @raise NonceNeeded: only the nonce of the proof is missing or has expired.
    """
    parts = text.split(".", 3)
    if len(parts) != 3 or len(text) > LONGEST:  # noqa: PLR2004 - the compact form of RFC 7515 section 7.1: three parts
        raise BadProof("the proof is not a signed JWT, or too long")
    try:
        header, claims = unverified.parse_header(parts[0]), unverified.parse_part(parts[1])
    except Rejected as malformed:
        raise BadProof(str(malformed)) from None
    algorithm, key = _key(header, algorithms)
    _check_claims(claims, targets, now, window, token_hash)
    jkt = thumbprint(header["jwk"])
    if not _is_signed(text, key, algorithm):
        raise BadProof("the signature of the proof is wrong")
    if nonces is not None and claims.get("nonce") not in nonces:
        raise NonceNeeded("the nonce of the proof is missing, or has expired")
    return Proof(jkt, claims["jti"], float(claims["iat"]))


def thumbprint(key: Mapping[str, Any]) -> str:
    """
    Return the thumbprint of a public key (RFC 7638).

    @param key: a JSON Web Key of type RSA, EC or OKP, whose members are canonical base64url.
    """
    members = ",".join([f'"{name}":"{key[name]}"' for name in _MEMBERS[key["kty"]]])
    return base64url(sha256(b"{%b}" % members.encode("ascii")).digest()).decode()


def _key(header: Mapping[str, Any], algorithms: Sequence[str]) -> tuple[str, jwk.Key]:
    """
    Return the algorithm of a proof, and the public key that the header of the proof contains.

    @raise BadProof: the header is not that of a DPoP proof, the algorithm is not accepted, or the
        key cannot be used.
    """
    if not _UNSUPPORTED.isdisjoint(header):
        raise BadProof("the header of the proof demands an unsupported extension")
    kind, algorithm = header.get("typ"), header.get("alg")
    if kind != TYPE:
        raise BadProof(f"typ of the proof is not {TYPE}")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise BadProof("the algorithm of the proof is not accepted")
    public = header.get("jwk")
    if not isinstance(public, dict):
        raise BadProof("the header of the proof has no public key")
    try:
        key = jwk.single(public)
    except ValueError as unusable:
        raise BadProof(f"the key of the proof cannot be used: it {unusable}") from None
    if algorithm not in key.algorithms:
        raise BadProof("the key of the proof does not fit its algorithm")
    if not _is_canonical(public):
        raise BadProof("a member of the key of the proof is not canonical base64url")
    return algorithm, key


def _is_canonical(key: Mapping[str, Any]) -> bool:
    """
    Return whether a key has only one spelling, so that equal keys have equal thumbprints.

    A number of an RSA key must not begin with a zero byte (RFC 7518 section 2).
    """
    for name in _MEMBERS[key["kty"]]:
        if name in ("kty", "crv"):
            continue
        try:
            raw = unverified.decode_base64url(key[name])
        except ValueError:
            return False
        if name in ("n", "e") and raw[:1] == b"\0":
            return False
    return True


def _check_claims(
    claims: Mapping[str, Any],
    targets: Sequence[Target],
    now: float,
    window: float,
    token_hash: str | None,
) -> None:
    """
    Check that a client has made a proof for a request and a token, at about the current time.

    @raise BadProof: a claim is missing or malformed, or the proof was made for something else.
    """
    id_, issued = claims.get("jti"), claims.get("iat")
    if not (isinstance(id_, str) and 0 < len(id_) <= _LONGEST_ID):
        raise BadProof(f"jti of the proof is missing, or longer than {_LONGEST_ID} characters")
    if isinstance(issued, bool) or not isinstance(issued, int | float):
        raise BadProof("iat of the proof is missing, or not a number")
    if not abs(now - issued) <= window:
        raise BadProof(f"the proof was not made within {window:g} s of the current time")
    method, uri = claims.get("htm"), claims.get("htu")
    if method != targets[0].method:
        raise BadProof("htm of the proof is not the method of the request")
    if not isinstance(uri, str) or _target(method, uri) not in targets:
        raise BadProof("htu of the proof is not the URI of the request")
    if token_hash is not None and claims.get("ath") != token_hash:
        raise BadProof("ath of the proof is not the hash of the token")


def _target(method: str, uri: str) -> Target | None:
    """
    Return a URI in canonical spelling (RFC 3986 section 6.2), or C{None} if it is malformed.

    Query and fragment are ignored, although a proof should not have them (RFC 9449 section 4.3).
    """
    found = _URI.fullmatch(uri)
    if found is None:
        return None
    scheme, authority, rest = found[1].lower(), found[2], found[3]
    try:
        path, _ = split_target(rest.encode("ascii"))
        host, port = split_host(authority)
        return target(method, scheme, host, port, canonical(path or b"/"))
    except ValueError:
        return None


def _is_signed(text: str, key: jwk.Key, algorithm: str) -> bool:
    signed, _, signature = text.rpartition(".")
    kind = jwt.get_algorithm_by_name("EdDSA" if algorithm == "Ed25519" else algorithm)
    try:
        raw = unverified.decode_base64url(signature)
        return bool(kind.verify(signed.encode("ascii"), kind.prepare_key(key.public), raw))
    except (jwt.PyJWTError, ValueError):
        return False
