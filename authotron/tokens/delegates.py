"""The configuration C{tokens.delegates}: which roles allow to act for the users of which realms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from authotron.model.identity import Identity


def may_act_in(realm: str, actor: Identity, delegates: Mapping[str, Sequence[str]]) -> bool:
    """
    Return whether an identity has a role with which it may act in the name of users of a realm.

    @param delegates: the realms for whose users an identity may act, by the role that it needs.
    """
    return any(realm in delegates.get(role, ()) for role in actor.roles)
