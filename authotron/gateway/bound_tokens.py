"""
Accept a bound token only from a client that proves to have the key or certificate of the token.

The binding becomes conditions of the authentication, so each repetition of a cached decision must
check the binding. The condition that binds a token to a key is never fulfilled: only after the
gateway has verified the proof of a request, L{proven} removes the condition for this request.
"""

from __future__ import annotations

from binascii import a2b_base64

from attrs import field, frozen

from authotron.jose import dpop
from authotron.model.authentication import Authentication
from authotron.model.binding import Binding, ProofNeeded, Unproven
from authotron.model.errors import Rejected
from authotron.model.identity import Credential
from authotron.model.request import Facts

SCHEME = "dpop"
"""The scheme, in lower case, under which a client presents a token that is bound to a key."""


@frozen
class KeyCondition:
    """
    The condition that a request comes with a proof, signed with the key to which a token is bound.

    @ivar jkt: the thumbprint of the key.
    @ivar token_hash: the hash of the token, which each proof must contain.
    """

    jkt: str
    token_hash: str = field(repr=False)

    def __str__(self) -> str:
        """Describe, in words for people, the requests for which the token is valid."""
        return f"only with a DPoP proof of the key {self.jkt}"

    def holds(self, _facts: Facts) -> bool:
        """
        Refuse every request, because a proof can be verified only once.

        @raise ProofNeeded: always.
        """
        raise ProofNeeded("the proof of the request was not verified")


@frozen
class CertificateCondition:
    """
    The condition that a client uses the certificate to which its token is bound.

    @ivar fingerprint: the SHA-256 hash of the certificate, in hexadecimal digits.
    """

    fingerprint: str

    def __str__(self) -> str:
        """Describe, in words for people, the requests for which the token is valid."""
        return f"only with the certificate {self.fingerprint}"

    def holds(self, facts: Facts) -> bool:
        """
        Return whether the client of a request uses the certificate.

        @raise Unproven: the client uses another certificate, or none.
        @raise UnusableFact: no trusted proxy states clearly which certificate the client uses.
        """
        certificate = facts.certificate
        if certificate is None or certificate.fingerprint != self.fingerprint:
            raise Unproven("the client does not use the certificate of its token")
        return True


_BINDING = (KeyCondition, CertificateCondition)


def as_presented(credential: Credential) -> Credential:
    """
    Return a token that a client presents under the scheme C{DPoP} as the bearer token that
    providers verify; any other credential is returned unchanged.
    """
    if credential.scheme != SCHEME:
        return credential
    return Credential("bearer", credential.value, credential.client, credential.carrier)


def bound(found: Authentication, credential: Credential) -> Authentication:
    """
    Return an authentication with the conditions under which the client may use its token.

    @param credential: the credential as the client has presented it.

    @raise Rejected: the client presents a token that is bound to a key under another scheme than
        C{DPoP}, or any other token under this scheme.
    """
    binding = None if found.token is None else found.token.binding
    is_of_key = binding is not None and binding.jkt is not None
    if is_of_key != (credential.scheme == SCHEME):
        if is_of_key:
            raise Rejected("the token is bound to a key, so it counts only under the scheme DPoP")
        raise Rejected("the token is not bound to a key, so it does not count under DPoP")
    if binding is None:
        return found
    conditions = (*_conditions(binding, credential), *found.conditions)
    return found._replace(conditions=conditions)


def _conditions(
    binding: Binding, credential: Credential
) -> list[KeyCondition | CertificateCondition]:
    conditions: list[KeyCondition | CertificateCondition] = []
    if binding.jkt is not None:
        conditions.append(KeyCondition(binding.jkt, dpop.hash_of(credential.value)))
    if binding.x5t is not None:
        digest = a2b_base64(binding.x5t.replace("-", "+").replace("_", "/") + "=")
        conditions.append(CertificateCondition(digest.hex()))
    return conditions


def key_of(found: Authentication | None) -> KeyCondition | None:
    """
    Return the condition of a token that is bound to a key, or C{None} if the proof of the request
    was verified already, or none is needed.
    """
    for condition in () if found is None else found.conditions:
        if isinstance(condition, KeyCondition):
            return condition
    return None


def unbound(found: Authentication) -> Authentication:
    """Return the authentication without the conditions by which its token is bound."""
    left = [each for each in found.conditions if not isinstance(each, _BINDING)]
    return found._replace(conditions=tuple(left))


def proven(found: Authentication) -> Authentication:
    """Return the authentication of a client for one request, whose proof was verified."""
    left = tuple(each for each in found.conditions if not isinstance(each, KeyCondition))
    return found._replace(conditions=left)
