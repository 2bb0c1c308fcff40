"""The document in which a token store keeps policies."""

from __future__ import annotations

from attrs import field, frozen


@frozen
class PolicyDocument:
    """
    All policies that a token store keeps, as one document, which is replaced as a whole.

    @ivar state: the name of this state of the document: its version number and a hash of its
        content, so that two different contents never have the same name.
    @ivar content: the document itself, which only L{authotron.config.stored_policies} can read.
    """

    state: str
    content: bytes = field(repr=False)
