"""Augmenters: who adds roles and attributes to the identities of a realm."""

from __future__ import annotations

from pydantic import Field
from zope.interface import Attribute, Interface

from authotron.concurrency.racing import Answer
from authotron.config.plugins import PartConfig
from authotron.config.section import Seconds
from authotron.model.identity import Addition, Identity


class AugmenterConfig(PartConfig):
    """The keys that every augmenter has."""

    required: bool = Field(
        default=False,
        description="refuse service (503) when it fails, instead of going on without it",
    )
    timeout: Seconds | None = Field(
        default=None, description="seconds it may take; `auth.timeout_in_ms` if not set"
    )


class IAugmenter(Interface):
    """Knows more about the identities of one realm. It adds and never takes away."""

    name: str = Attribute("unique among the configured augmenters")
    type: str = Attribute("the documented type, as in the configuration")
    realm: str = Attribute("the realm whose identities it is asked about, case-sensitive")
    runs_last: bool = Attribute("whether it must see what the others added")
    required: bool = Attribute("whether nobody may pass while it fails")
    timeout: float = Attribute("seconds it may take; None for the common limit")

    def augment(identity: Identity) -> Answer[Addition]:
        """
        Say what is known about C{identity}; a coroutine where that must be waited for.

        @raise Unavailable: it cannot be said now.
        """
