"""
The proof that a client sends when it asks the gateway for a new token: the token will be bound to
the key of the proof (RFC 9449 section 5).
"""

from __future__ import annotations

from twisted.logger import Logger

from authotron.gateway.proofs import HEADER, INVALID_PROOF, USE_NONCE, Proofs
from authotron.jose.dpop import BadProof, NonceNeeded
from authotron.model.authentication import Authentication
from authotron.model.binding import Binding
from authotron.model.errors import Problem, Unavailable, UnusableFact
from authotron.web import replies
from authotron.web.bound_answering import USED_BEFORE
from authotron.web.later_routes import Call
from authotron.web.replies import NO_STORE, Reply
from authotron.web.routing import EarlyReply

_log = Logger()

UNKNOWN = Problem("cnf", "unknown key")
"""The problem of a request for a bound token, if the configuration does not allow such tokens."""


async def binding_of(
    call: Call, requester: Authentication, stated: Binding | None
) -> Binding | None:
    """
    Return the key or certificate to which a client asks to bind a new token: the one that the body
    of its request states, or else the key of the proof that comes with the request.

    @raise EarlyReply: the proof is not valid, or the configuration does not allow bound tokens.
    """
    proofs = call.gateway.proofs
    if proofs is None:
        if stated is not None:
            raise EarlyReply(replies.malformed([UNKNOWN]))
        return None
    if stated is not None:
        return stated
    try:
        key = await key_of_proof(call, requester)
        return None if key is None else Binding(key)
    except BadProof as bad:
        raise EarlyReply(refusal(proofs, bad)) from None
    except UnusableFact:
        raise EarlyReply(replies.UNUSABLE_FACT) from None
    except Unavailable as error:
        _log.warn(
            "token store unavailable, request with a DPoP proof answered with 503: {reason}",
            reason=str(error),
            event="store.unavailable",
        )
        raise EarlyReply(replies.STORE_UNAVAILABLE) from None


def refusal(proofs: Proofs, bad: BadProof) -> Reply:
    """
    Return the 400 to a client that asks for a token with a proof that is not accepted (RFC 9449
    sections 5 and 8).

    @raise Unavailable: the proof lacks a nonce, and the nonces are not known.
    """
    if isinstance(bad, NonceNeeded):
        header = (b"DPoP-Nonce", proofs.nonce().encode("ascii"))
        return replies.json_reply(400, {"error": USE_NONCE}, header, NO_STORE)
    return replies.json_reply(400, {"error": INVALID_PROOF}, NO_STORE)


async def key_of_proof(call: Call, requester: Authentication | None = None) -> str | None:
    """
    Return the thumbprint of the key to which the client asks to bind a new token: the key of the
    proof in the header C{DPoP} of its request; or C{None} if the request has no proof, or if the
    configuration does not allow bound tokens.

    The proof of a client that presents a bound token was verified with this token, so its key is
    that of the token.

    @param requester: the client, or C{None} if the client presents no credential.

    @raise BadProof: the proof is not valid, or was used before; L{NonceNeeded
        <authotron.jose.dpop.NonceNeeded>} if only a nonce of the gateway is missing.
    @raise UnusableFact: the method or the URI of the request is malformed or stated twice.
    @raise Unavailable: the token store, in which used proofs are kept, cannot be reached.
    """
    proofs, contracts = call.gateway.proofs, call.gateway.contracts
    question = call.request.question(contracts)
    if proofs is None or not question.values(HEADER):
        return None
    token = None if requester is None else requester.token
    if token is not None and token.binding is not None and token.binding.jkt is not None:
        return token.binding.jkt
    proof = proofs.verify_new(contracts.direct.facts(question), question.values)
    if not await proofs.use(proof):
        raise BadProof(USED_BEFORE)
    return proof.jkt
