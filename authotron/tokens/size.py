"""
The size limit of a stored API token: attributes of the owner are left out
until the token fits.
"""

from __future__ import annotations

import json

from attrs import evolve

from authotron.model.errors import ExceedsGrant, Problem
from authotron.model.identity import Identity
from authotron.model.token import Token

MAX_BYTES = 4096
"""Maximum number of bytes that an API token created over HTTP may take up in the store."""


def shorten(token: Token, *, can_look_up: bool) -> Token:
    """
    Remove roles, scopes and attributes from the stored owner until an API token fits into
    L{MAX_BYTES}.

    If a provider can look up the owner, roles, scopes and attributes need not be stored, because
    the provider returns them whenever the API token is used. If no provider can look up the owner,
    the roles and scopes that the API token grants are stored, and as many attributes as fit.

    @raise ExceedsGrant: the API token is too large even without attributes.
    """
    if token.size <= MAX_BYTES:
        return token
    owner = token.owner
    if can_look_up:
        owner = Identity(owner.realm, owner.username)
    smaller = _with_fewer_attributes(evolve(token, owner=token.grant.restrict(owner)))
    if smaller.size > MAX_BYTES:
        needed = (
            f"the API token would have {smaller.size} bytes, more than the limit of {MAX_BYTES} "
            "bytes; name fewer roles, scopes or hosts"
        )
        raise ExceedsGrant([Problem("", needed)])
    return smaller


def check_growth(before: Token, after: Token) -> None:
    """
    Check that a change does not make an API token exceed L{MAX_BYTES}.

    @raise ExceedsGrant: the API token was small enough before the change, and is too large after
        the change.
    """
    if before.size <= MAX_BYTES < after.size:
        needed = (
            f"the API token would have {after.size} bytes, more than the limit of {MAX_BYTES} bytes"
        )
        raise ExceedsGrant([Problem("", needed)])


def _with_fewer_attributes(token: Token) -> Token:
    """
    Remove the largest attributes of the owner until an API token fits into L{MAX_BYTES}.

    The largest attributes are removed first, because they usually contain only the roles or groups
    again.
    """
    attributes = dict(token.owner.attributes)
    excess = token.size - MAX_BYTES
    sizes = {
        name: len(json.dumps({name: value}, ensure_ascii=False).encode()) - len("{}")
        for name, value in attributes.items()
    }
    for name in sorted(sizes, key=lambda name: sizes[name], reverse=True):
        if excess <= 0:
            break
        excess -= sizes[name]
        del attributes[name]
    return evolve(token, owner=token.owner._replace(attributes=attributes))
