"""Parse the request body of C{POST /token/exchange}, and convert exchanged tokens to JSON."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from authotron.config.policy_rules import Method, Namespace, Permissions
from authotron.config.section import Section, WholeSeconds
from authotron.config.server import Network
from authotron.jose.minter import identity_as_json
from authotron.model.binding import from_confirmation
from authotron.model.naming import normalize
from authotron.policy import permissions
from authotron.tokens.exchange import MOST_RESTRICTIONS, ExchangeRequest
from authotron.tokens.exchanged_tokens import Exchanged
from authotron.tokens.restriction_sets import RestrictionSet
from authotron.web.token_bodies import Confirmation, Host, Scopes, Word, Words

_MOST = 100
"""Maximum number of entries in one list of a restriction set."""

_LONGEST_REFRESH = 256
"""Maximum number of characters of a refresh token in a request body; a valid token has 97."""


_MOST_IN_ALL = 200
"""Maximum number of entries in the lists of all restriction sets of a request body together."""

_LONGEST = 262
"""Maximum number of characters of an entry in a restriction set: those of the longest host."""


def _bounded(stated: object) -> object:
    """
    Check the number of entries of all restriction sets, before each entry is checked, which takes
    longer.

    @raise ValueError: there are too many sets or entries, or an entry is too long.
    """
    if not isinstance(stated, list):
        return stated
    if len(stated) > MOST_RESTRICTIONS:
        raise ValueError(f"has more than {MOST_RESTRICTIONS} sets")
    lists = [each for one in stated if isinstance(one, dict) for each in one.values()]
    entries = [entry for each in lists if isinstance(each, list) for entry in each]
    if len(entries) > _MOST_IN_ALL:
        raise ValueError(f"has more than {_MOST_IN_ALL} entries in all sets together")
    if any(isinstance(each, str) and len(each) > _LONGEST for each in entries):
        raise ValueError(f"has an entry of more than {_LONGEST} characters")
    return stated


class RestrictionBody(Section):
    """One restriction set in a request body: the requests for which the token shall be valid."""

    namespace: Namespace | None = Field(default=None, max_length=1024)
    permissions: Annotated[Permissions, Field(max_length=_MOST)] = ()
    hosts: tuple[Host, ...] = Field(default=(), strict=False, max_length=_MOST)
    networks: tuple[Network, ...] = Field(default=(), strict=False, max_length=_MOST)
    methods: tuple[Method, ...] = Field(default=(), strict=False, max_length=_MOST)

    def as_set(self) -> RestrictionSet:
        """Return the restriction set that the body states."""
        return RestrictionSet(
            self.namespace or "",
            tuple(map(permissions.parse, self.permissions)),
            self.hosts,
            self.networks,
            self.methods,
        )


class ActingBody(Section):
    """An identity that may act in the name of the user."""

    realm: Word
    username: Word

    def as_pair(self) -> tuple[str, str]:
        """Return realm and user name in Unicode Normalization Form C, as identities have them."""
        return normalize(self.realm), normalize(self.username)


class ExchangeBody(Section):
    """The request body of C{POST /token/exchange}."""

    validity: WholeSeconds | None = None
    audience: Words | None = None
    roles: Words | None = None
    scopes: Scopes | None = None
    cloak: Annotated[tuple[Word, ...], Field(strict=False, max_length=_MOST)] = ()
    restrictions: Annotated[
        tuple[RestrictionBody, ...], Field(strict=False), BeforeValidator(_bounded)
    ] = ()
    cnf: Confirmation | None = None
    refresh: bool = False
    may_act: Annotated[tuple[ActingBody, ...] | None, Field(strict=False, max_length=_MOST)] = None

    def as_request(self) -> ExchangeRequest:
        """Return the properties that the client requests for the token."""
        return ExchangeRequest(
            self.validity,
            self.audience,
            self.roles,
            self.scopes,
            self.cloak,
            tuple(each.as_set() for each in self.restrictions),
            None if self.cnf is None else from_confirmation(self.cnf),
            self.refresh,
            None if self.may_act is None else tuple(each.as_pair() for each in self.may_act),
        )


class RefreshBody(Section):
    """The request body of C{POST /token/refresh}."""

    refresh_token: Annotated[str, Field(min_length=1, max_length=_LONGEST_REFRESH, repr=False)]


def exchanged_as_json(exchanged: Exchanged) -> dict[str, Any]:
    """Convert a token that was issued in exchange, and what it grants, to JSON."""
    token, binding = exchanged.token, exchanged.token.binding
    return {
        "token": exchanged.text,
        "token_type": "DPoP" if binding and binding.jkt else "Bearer",
        "id": token.id,
        "parent": token.ancestors[-1] if token.ancestors else None,
        "expires": token.expires,
        "audience": None if token.audience is None else [*token.audience],
        "cloak": [*token.cloaked],
        "restrictions": [each.as_json() for each in token.restrictions],
        "identity": identity_as_json(exchanged.identity),
        **({"cnf": binding.confirmation} if binding else {}),
        **({} if exchanged.refresh is None else {"refresh_token": exchanged.refresh}),
    }
