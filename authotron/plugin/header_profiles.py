"""
Header profiles: the sets of headers in which a 200 names the user to a backend, in addition to
C{Authorization}.

A header profile always sends the complete set of its headers, one line each; a header for which the
gateway knows no value is empty. Therefore no header that a client sends under one of these names
can pass for the gateway's, and no proxy writes a placeholder in its place.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from authotron.model.header_templates import PROFILES, Encoding, Filled, compiled
from authotron.model.identity import Identity


@frozen
class Profile:
    """
    A header profile: the headers of a 200 in which backends read an identity.

    @ivar headers: the name of each header, with the function that returns its value.
    @ivar missing: the names of the identity headers that other profiles send, which a proxy must
        not pass on from a client.
    """

    name: str
    headers: tuple[tuple[bytes, Filled], ...] = ()
    missing: tuple[bytes, ...] = ()

    def fields(self, identity: Identity, token: str) -> list[tuple[bytes, bytes]]:
        """Return the names and values of the headers for an identity and its JWT."""
        return [(name, filled(identity, token)) for name, filled in self.headers]


def make(name: str, custom: Mapping[str, str], encoding: Encoding) -> Profile:
    """
    Build a profile.

    @param name: one of C{legacy}, C{remote-user}, C{auth-request}, C{jwt} and C{custom}.
    @param custom: the templates of the profile C{custom}, by the names of its headers.
    @param encoding: how all header profiles but C{legacy} write characters beyond ASCII; the
        profile C{legacy} is always in UTF-8, as in auth-o-tron.
    """
    every = {**PROFILES, "custom": custom}
    used: Encoding = "utf-8" if name == "legacy" else encoding
    headers = tuple(
        (header.encode(), compiled(template, used)) for header, template in every[name].items()
    )
    own = {header.lower() for header in every[name]}
    others = dict.fromkeys(header for templates in every.values() for header in templates)
    missing = tuple(header.encode() for header in others if header.lower() not in own)
    return Profile(name, headers, missing)


JWT = make("jwt", {}, "percent")
"""The header profile that has no header in addition to C{Authorization}."""
