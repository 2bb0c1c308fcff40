"""Check the name of a realm that is given on the command line."""

from __future__ import annotations

from authotron.config.spelling import did_you_mean
from authotron.gateway.gateway import Gateway
from authotron.model.errors import Rejected
from authotron.web.replies import Reply


def check_realm(gateway: Gateway[Reply], realm: str) -> None:
    """
    Check that a provider of a realm is configured.

    @raise Rejected: no provider of the realm is configured.
    """
    known = sorted({each.realm for each in gateway.authenticator.providers})
    if realm not in known:
        hint = did_you_mean(realm, known) or f" (there is: {', '.join(known) or 'none'})"
        raise Rejected(f"there is no realm {realm!r}{hint}")
