"""The document in which a token store keeps policies."""

from __future__ import annotations

from attrs import field, frozen


@frozen
class PolicyDocument:
    """
    All policies that a token store keeps, as one document; a change always replaces the whole
    document.

    @ivar state: the name of this state of the stored policies. The name of a state consists of a
        version number and a hash of the content, so that two different contents never have the same
        name.
    @ivar content: the bytes of the document with the policies; only
        L{authotron.config.stored_policies} parses them.
    """

    state: str
    content: bytes = field(repr=False)
