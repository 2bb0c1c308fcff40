"""
Verifies the DPoP proofs that clients send with tokens which are bound to a key (RFC 9449).

A proof counts once: the token store keeps the id of the proof until no gateway would accept the
proof any more, so all gateways that share the store refuse a stolen proof.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from hashlib import sha256

from attrs import define
from twisted.internet.interfaces import IReactorTime

from authotron.config.bound_tokens import BoundTokensConfig
from authotron.gateway.bound_tokens import KeyCondition
from authotron.jose import dpop
from authotron.jose.dpop import BadProof, Proof, Target
from authotron.jose.keys import base64url
from authotron.model.errors import Flaw, UnusableFact
from authotron.model.hosts import split_host
from authotron.model.records import Record
from authotron.model.request import Facts
from authotron.tokens.bounded_store import StoreClient

HEADER = "DPoP"
"""The name of the header that contains a proof."""

REPLAY = "replay"
"""The kind of the records of used DPoP proofs."""

INVALID_PROOF, INVALID_TOKEN, USE_NONCE = "invalid_dpop_proof", "invalid_token", "use_dpop_nonce"
"""The errors that a challenge names (RFC 9449 sections 7.1 and 9)."""

_SCHEMES = ("https", "http")

Values = Callable[[str], Sequence[str]]
"""A function that returns all values of a header of the client's request."""


@define(eq=False)
class Proofs:
    """
    Verifies proofs, and remembers in the token store which proofs were used.

    @ivar algorithms: the accepted signature algorithms.
    """

    _store: StoreClient
    _config: BoundTokensConfig
    _clock: IReactorTime

    def challenge(self, error: str = "") -> str:
        """
        Return the challenge that asks for a proof, for the header C{WWW-Authenticate}.

        @param error: why the last request was refused; empty if it had no credential.
        """
        stated = f'error="{error}", ' if error else ""
        return f'DPoP {stated}algs="{" ".join(self._config.algorithms)}"'

    def verify_bound(
        self, key: KeyCondition, facts: Facts, values: Values, *, is_own: bool
    ) -> Proof:
        """
        Verify the proof of a request with a token that is bound to a key, apart from the check
        whether the proof was used before.

        @param values: a function that returns all values of a header of the client's request.
        @param is_own: whether the client makes the request to the gateway itself.

        @raise BadProof: the proof is missing, not valid, or made with another key.
        @raise UnusableFact: no trusted proxy states clearly the method or the URI of the request.
        @raise Unavailable: proofs need a nonce, and the token store has not been opened yet.
        """
        proof = self._verify(facts, values, key.token_hash, is_own=is_own)
        if not hmac.compare_digest(proof.jkt, key.jkt):
            raise OtherKey("the token is bound to another key than that of the proof")
        return proof

    def verify_new(self, facts: Facts, values: Values) -> Proof:
        """
        Verify the proof of a request to the gateway itself for a new token, which is to be bound to
        the key of the proof, apart from the check whether the proof was used before.

        @raise BadProof: the proof is missing or not valid.
        @raise UnusableFact: the method or the URI of the request is malformed or stated twice.
        @raise Unavailable: proofs need a nonce, and the token store has not been opened yet.
        """
        return self._verify(facts, values, None, is_own=True)

    def _verify(
        self, facts: Facts, values: Values, token_hash: str | None, *, is_own: bool
    ) -> Proof:
        found = values(HEADER)
        if len(found) != 1:
            raise BadProof(f"the request has {len(found) or 'no'} headers {HEADER}, wanted one")
        return dpop.verify(
            found[0],
            _targets(facts, values, is_own=is_own),
            self._clock.seconds(),
            window=self._config.window,
            algorithms=self._config.algorithms,
            token_hash=token_hash,
            nonces=self._nonces() if self._config.nonces else None,
        )

    async def use(self, proof: Proof) -> bool:
        """
        Remember that a proof was used; return whether it was used now for the first time.

        @raise Unavailable: the token store cannot be reached.
        """
        id_ = base64url(sha256(f"{proof.jkt} {proof.id}".encode()).digest()).decode()
        # The clock of another gateway, which deletes expired records, may be ahead of the clock of
        # this gateway.
        until = proof.issued + 2 * self._config.window
        return await self._store.add_record(Record(REPLAY, id_, "", until), self._clock.seconds())

    def nonce(self) -> str:
        """
        Return the nonce that the next proofs of clients must contain.

        @raise Unavailable: the token store has not been opened yet.
        """
        return self._nonces()[0]

    def _nonces(self) -> Sequence[str]:
        """
        Return the current nonce, and those before and after it, which are accepted as well.

        A nonce is a keyed hash of the time, so that all gateways that share a token store know all
        nonces without storing them.
        """
        period = int(self._clock.seconds() // self._config.window)
        key = self._store.peppers().derived(b"authotron: nonces of DPoP proofs")
        return [_nonce(key, each) for each in (period, period - 1, period + 1)]


class OtherKey(BadProof):
    """A proof is valid, but made with another key than the one to which the token is bound."""


def _nonce(key: bytes, period: int) -> str:
    return base64url(hmac.digest(key, b"%d" % period, "sha256")[:18]).decode()


def _targets(facts: Facts, values: Values, *, is_own: bool) -> Sequence[Target]:
    """
    Return the method and the URI of a request. For a request to the gateway itself, of which no
    proxy states host and scheme, these are the header C{Host} and both schemes.

    @raise UnusableFact: method or URI of the request are not stated clearly.
    """
    method, path = facts.method, facts.path
    try:
        return [dpop.target(method, facts.scheme, facts.host, facts.port, path)]
    except UnusableFact as unusable:
        if not is_own or unusable.flaw not in (Flaw.MISSING, Flaw.UNTRUSTED):
            raise
    try:
        [named] = values("Host")
        host, port = split_host(named)
    except ValueError:
        raise UnusableFact("host", Flaw.MALFORMED, "Host") from None
    return [dpop.target(method, scheme, host, port, path) for scheme in _SCHEMES]
