"""Say why a provider was not asked about the credentials of a request."""

from __future__ import annotations

from collections.abc import Sequence

from authotron.gateway.authentication import Authenticator
from authotron.model.identity import Credential
from authotron.model.naming import fold_ascii_case
from authotron.plugin.interfaces import Affinity, IJudge, IProvider


def why_not_asked(
    provider: IProvider,
    authenticator: Authenticator,
    credentials: Sequence[Credential],
    realm: str | None,
) -> str:
    """
    Return why a provider was not asked about any credential of a request.

    @param realm: the realm in the header C{X-Auth-Realm} of the client.
    """
    mine = [each for each in credentials if each.scheme == provider.scheme]
    if not mine:
        schemes = sorted({each.scheme for each in credentials})
        sent = " and ".join(schemes) or "no credential"
        return f"the provider accepts {provider.scheme}, but the client sent {sent}"
    carriers = authenticator.looks_at(provider)
    mine = [each for each in mine if each.carrier in carriers]
    if not mine:
        places = " and ".join("Authorization" if each is None else str(each) for each in carriers)
        return f"the provider looks for credentials in {places}"
    if realm is not None and fold_ascii_case(provider.realm) != fold_ascii_case(realm):
        known = ", ".join(sorted({each.realm for each in authenticator.providers}))
        return (
            f"the client asks for realm {realm}, but the provider has realm {provider.realm}; "
            f"the configured realms are {known}"
        )
    reasons = dict.fromkeys(_reason(provider, authenticator, each, realm) for each in mine)
    return "; ".join(reasons)


def _reason(
    provider: IProvider, authenticator: Authenticator, credential: Credential, realm: str | None
) -> str:
    own = authenticator.own
    if own is not None and _affinity(own, credential) is Affinity.OWN:
        if credential.carrier not in authenticator.looks_at(own):
            return "the credential is an API token, for which the token store does not look there"
        return "the credential is an API token, which only the token store knows"
    mine = _affinity(provider, credential)
    if mine is None:
        return "the provider failed to examine the shape of the token"
    rivals = [
        each
        for each in authenticator.providers
        if each is not provider
        and each.scheme == credential.scheme
        and credential.carrier in authenticator.looks_at(each)
        and (realm is None or fold_ascii_case(each.realm) == fold_ascii_case(realm))
    ]
    for affinity, why in (
        (Affinity.OWN, "the token has the prefix of provider {}, so no other provider is asked"),
        (Affinity.LIKELY, "the token names provider {}, so no other provider is asked"),
    ):
        others = [each.name for each in rivals if _affinity(each, credential) is affinity]
        if others and mine is not affinity:
            return why.format(" and ".join(others))
    if mine is Affinity.FOREIGN:
        return "the token is not of the issuer, prefix or shape that the provider accepts"
    return "another provider has accepted the credential already"


def _affinity(judge: IJudge, credential: Credential) -> Affinity | None:
    """
    Return the affinity of a provider for a credential, or C{None} if the provider raises an
    exception.
    """
    try:
        return judge.affinity(credential)
    except Exception:  # noqa: BLE001 - an exception in one provider must not end the command
        return None
