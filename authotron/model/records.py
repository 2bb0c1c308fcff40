"""Records: small texts that all gateways with the same token store share through the store."""

from __future__ import annotations

from attrs import field, frozen

SIGNING_KEY = "signing-key"
"""The kind of the record that contains the signing keys of the gateways."""

FOLLOWED_KINDS = frozenset({"revocation", SIGNING_KEY, "event"})
"""The kinds of records whose changes every gateway follows, see L{Changes}."""


@frozen
class Record:
    """
    A small text, such as a revocation in JSON, that gateways share through the token store.

    @ivar kind: the kind of the record, such as C{revocation}; ids are unique only within a kind.
    @ivar content: the text of the record; the token store never reads it.
    @ivar until: when the token store deletes the record, in seconds since the epoch, or C{None} if
        only a caller deletes it.
    """

    kind: str
    id: str
    content: str = field(repr=False)
    until: float | None = None


@frozen
class Changes:
    """
    What has changed in the records of the kinds L{FOLLOWED_KINDS}.

    @ivar cursor: the point up to which the changes reach, to be passed on to the next call.
    @ivar records: the records that were added or replaced, each in its newest form.
    @ivar removed: the kinds and ids of the records that were removed.
    @ivar is_complete: whether C{records} are all records that the store has, and not only changes;
        records that are not among them have been removed, or the store has lost them.
    """

    cursor: str
    records: tuple[Record, ...] = ()
    removed: tuple[tuple[str, str], ...] = ()
    is_complete: bool = False
