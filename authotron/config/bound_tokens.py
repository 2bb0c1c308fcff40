"""The section `tokens.bound`: tokens that count only with a proof of a key or of a certificate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from authotron.config.section import Seconds, Section

ProofAlgorithm = Literal[
    "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "PS256", "PS384", "PS512",
    "RS256", "RS384", "RS512",
]  # fmt: skip


class BoundTokensConfig(Section):
    """
    Tokens that are bound to a key (DPoP, RFC 9449) or to a certificate of the client (RFC 8705);
    without this section no such tokens are issued, and a token that is bound to a key is refused.
    """

    algorithms: Annotated[tuple[ProofAlgorithm, ...], Field(strict=False, min_length=1)] = Field(
        default=("ES256", "ES384", "EdDSA", "Ed25519", "PS256", "RS256"),
        description="the signature algorithms of proofs that are accepted",
    )
    window: Seconds = Field(
        default=60,
        ge=1,
        le=600,
        description="seconds by which the time in a proof may differ from the clock of the gateway",
    )
    nonces: bool = Field(
        default=False,
        description="whether a proof must contain a nonce of the gateway, which a client gets with "
        "its first refusal",
    )
