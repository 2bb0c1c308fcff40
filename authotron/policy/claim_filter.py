"""
Filters of claims: which claims the identities of one provider have, and under which keys.

A claim filter is applied to the complete identity, after all augmenters have answered. A claim
filter changes only claims, never the roles, scopes and attributes from which claims are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from attrs import Factory, field, frozen

from authotron.model.naming import normalize
from authotron.policy.claim_keys import is_reserved

ALWAYS = frozenset({"realm", "username"})
"""The keys of claims that no claim filter removes, because these claims name the identity."""

_KELVIN = "\u212a"
"""The Kelvin sign, the only other character whose lower case is a letter of ASCII, a C{k}."""


def _folded(prefixes: Iterable[str]) -> tuple[str, ...]:
    return tuple(each.casefold() for each in prefixes)


@frozen
class ClaimFilter:
    """
    Chooses the claims of identities by prefixes, then renames keys, then changes the case of
    values.

    @ivar include: prefixes of the claims C{key=value} that are kept; all are kept if there is no
        prefix. Prefixes are compared without regard to case.
    @ivar ignore: prefixes of the claims C{key=value} that are removed, even if they are included.
        Prefixes are compared without regard to case.
    @ivar rename: the new key for each key of a claim that is renamed.
    @ivar lowercase: the keys, after renaming, whose values are converted to lower case.
    """

    include: tuple[str, ...] = field(default=(), converter=_folded)
    ignore: tuple[str, ...] = field(default=(), converter=_folded)
    rename: Mapping[str, str] = Factory(dict)
    lowercase: frozenset[str] = frozenset()

    def apply(self, claims: Iterable[str]) -> Iterator[str]:
        """
        Yield the claims that remain after the filter, with their new keys and values.

        Claims whose key begins with C{@} and the claim C{realm=} are yielded unchanged. The claim
        C{username=} is never removed.
        """
        rename, lowercase = self.rename, self.lowercase
        for claim in claims:
            key, _, value = claim.partition("=")
            if key not in ALWAYS and not is_reserved(key) and not self._keeps(claim):
                continue
            new = rename.get(key, key)
            if new in lowercase:
                yield f"{new}={lowered(value)}"
            else:
                yield claim if new is key else f"{new}={value}"

    def may_yield(self, claim: str) -> bool:
        """Return whether any identity can have a given claim after the claim filter was applied."""
        key, _, value = claim.partition("=")
        if key in self.lowercase and lowered(value) != value:
            return False
        if key in ALWAYS or is_reserved(key):
            return True
        keys = [old for old, new in self.rename.items() if new == key]
        if key not in self.rename:
            keys.append(key)
        return any(self._keeps(f"{each}={value}") for each in keys)

    def _keeps(self, claim: str) -> bool:
        folded = claim.casefold()
        return not folded.startswith(self.ignore) and (
            not self.include or folded.startswith(self.include)
        )


def lowered(text: str) -> str:
    """
    Convert a string to lower case, in Unicode Normalization Form C, except for the Kelvin sign:
    otherwise a value that contains this character would become equal to a value with the letter
    C{k}.
    """
    return normalize(_KELVIN.join(each.lower() for each in text.split(_KELVIN)))
