"""Tokens that clients present as the user name or the password of a Basic credential."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from authotron.model.carriers import Carrier
from authotron.model.errors import Rejected
from authotron.model.identity import Credential
from authotron.plugin.interfaces import Affinity, IJudge

Judges = Callable[[Carrier], Sequence[IJudge]]
"""A function that returns the providers that look for tokens in one half of a Basic credential."""

_CERTAIN = frozenset({Affinity.OWN, Affinity.LIKELY})


def with_tokens(
    credentials: Sequence[Credential], halves: Sequence[Carrier], judges: Judges
) -> list[Credential]:
    """
    Return the given credentials, and in addition the tokens in halves of Basic credentials.

    If the shape of a half shows that it is a token of a provider, it is no user name or password,
    so the Basic credential itself is left out, and no provider gets the token as a password. A half
    that may be a token comes after the Basic credential.

    @raise Rejected: user name and password are two different tokens.
    """
    found: list[Credential] = []
    for credential in credentials:
        is_basic = credential.scheme == "basic" and credential.carrier is None
        tokens = [credential.half(each) for each in halves] if is_basic else []
        judged = [(each, _affinities(each, judges)) for each in tokens if each is not None]
        certain = [each for each, affinities in judged if affinities & _CERTAIN]
        if len({each.value for each in certain}) > 1:
            raise Rejected("user name and password of a Basic credential are different tokens")
        possible = [each for each, affinities in judged if Affinity.POSSIBLE in affinities]
        found += certain[:1] or [credential, *possible]
    return found


def _affinities(half: Credential, judges: Judges) -> AbstractSet[Affinity]:
    found: set[Affinity] = set()
    for judge in judges(half.carrier) if half.carrier else ():
        try:
            found.add(judge.affinity(half))
        except Exception:  # noqa: BLE001 - an exception in one provider must not affect the others
            # The exception is logged when the provider is asked about the credential.
            found.add(Affinity.POSSIBLE)
    return found
