"""Find out for C{authotron explain} whether a credential is revoked."""

from __future__ import annotations

from authotron.gateway.gateway import Gateway
from authotron.gateway.records import WITHDRAWN, KindChanges
from authotron.model import revocation
from authotron.model.authentication import Authentication
from authotron.web.replies import Reply


async def check_revoked(gateway: Gateway[Reply], found: Authentication, now: float) -> None:
    """
    Check that a credential is not revoked, by the revocations in the open token store.

    Nothing is checked if credentials cannot be revoked, or if the token store is in the memory of
    the gateway.

    @raise Rejected: the credential is revoked.
    @raise Unavailable: the token store cannot be read, or contains a revocation that cannot be
        applied.
    """
    revocations, tokens = gateway.revocations, gateway.tokens
    if revocations is None or tokens is None or tokens.store.type == "memory":
        return
    stored = await tokens.store.records(revocation.KIND, now)
    revocations.index.apply(KindChanges([each for each in stored if each.content != WITHDRAWN]))
    revocations.index.note_age(0.0, None)
    revocations.check(found)
