"""Check the claims of a JWT, and map them to an identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from attrs import Factory, field, frozen
from twisted.logger import Logger

from authotron.jose import claim_values, purposes, strict_claims
from authotron.jose.claim_roles import KEYCLOAK_ROLES, RoleClaims
from authotron.jose.claim_values import Route, as_text, shown, timestamp
from authotron.jose.claims_config import ClaimsConfig, Scalar
from authotron.jose.purposes import Claims
from authotron.model.authentication import Authentication, Login, PresentedToken
from authotron.model.binding import from_confirmation
from authotron.model.errors import InsufficientScope, Rejected
from authotron.model.identity import Identity

_CONSUMED = frozenset({"sub", "scope", *KEYCLOAK_ROLES})
"""Claims of a JWT that do not become attributes."""

_LONGEST_ACR = 256
"""Maximum number of characters of the claim C{acr} (authentication context) of a token."""

_LONGEST_ID = 256
"""Maximum number of characters of the claim C{jti} of a token that can be revoked by its id."""

_CONFIRMATIONS: Mapping[str, type] = {
    "jwk": dict,
    **dict.fromkeys(("jwe", "kid", "jku", "jkt", "x5t#S256"), str),
}
"""Members of the claim C{cnf} (RFC 7800, RFC 8705, RFC 9449), and the types of their values."""


@frozen
class ClaimRules:
    """
    Checks the claims of a JWT for one provider, and reads an identity from them.

    The claims that state audience, issuer, times and key of a JWT must be well-formed. Roles,
    scopes and attributes of an unexpected shape are left out; those that the configuration names
    cause a warning, once for each claim.
    """

    name: str
    realm: str
    config: ClaimsConfig
    _role_claims: RoleClaims = field(
        default=Factory(
            lambda rules: RoleClaims(
                rules.name, rules.config.roles_claims, is_strict=rules.config.is_strict
            ),
            takes_self=True,
        ),
        init=False,
        eq=False,
        repr=False,
    )
    _warned: set[str] = field(factory=set, init=False, eq=False, repr=False)
    _log = Logger()

    def authentication(
        self, claims: Claims, now: float, *, lasting: bool = False
    ) -> Authentication:
        """
        Map the claims of a verified JWT to an identity and its expiry.

        @param lasting: whether a JWT without C{exp} is accepted.

        @raise Rejected: the JWT is for another audience, not valid now, or lacks a claim.
        """
        _check_shapes(claims)
        claimed, expires = self._check_times(claims, now, lasting=lasting)
        self._check_issuer_and_audience(claims)
        self._check_required_claims(claims)
        scopes = self._scopes(claims)
        username = self._username(claims)
        roles, routes = self._role_claims.read(claims)
        attributes = self._attributes(claims, routes)
        if expires != claimed and "exp" in attributes:
            attributes["exp"] = str(int(expires or 0))
        identity = Identity(self.realm, username, roles, attributes, {self.name: scopes})
        return Authentication(
            identity,
            expires=expires,
            fresh_until=expires,
            login=login_of(claims),
            token=self._token(claims),
        )

    def _token(self, claims: Claims) -> PresentedToken | None:
        token = token_of(claims)
        if not self.config.bound_tokens or claims.get("cnf") is None:
            return token
        try:
            binding = from_confirmation(claims["cnf"])
        except ValueError as wrong:
            raise Rejected(f"the JWT is bound in a way that cannot be enforced: {wrong}") from None
        return (token or PresentedToken())._replace(binding=binding)

    def check_type(self, header: Claims, claims: Claims) -> None:
        """
        Check that a JWT is an access token, or of the configured type.

        @raise Rejected: the JWT is of another type, or names its type in a malformed way.
        """
        if not isinstance(claims.get("typ", ""), str | None):
            raise Rejected("the claim typ is not a string")
        if "crit" in header and not _are_names(header["crit"]):
            raise Rejected("the header member crit is not a list of strings")
        if self.config.typ is not None:
            if not purposes.has_kind(self.config.typ, header, claims):
                raise Rejected(f"the JWT is not of the type {self.config.typ}")
        elif (purpose := purposes.other_purpose(header, claims)) is not None:
            raise Rejected(f"the JWT is not an access token but {purpose}; set `typ` to accept it")

    def _check_times(
        self, claims: Claims, now: float, *, lasting: bool
    ) -> tuple[float | None, float | None]:
        """
        Return the C{exp} of a JWT, and the time at which the JWT expires if clocks may differ by
        the configured leeway, see L{effective_expiry}.
        """
        claimed = timestamp(claims, "exp")
        if claimed is None and not lasting:
            raise Rejected("exp is missing")
        expires = effective_expiry(claimed, now, self.config.leeway)
        not_before = timestamp(claims, "nbf")
        if not_before is not None and now + self.config.leeway < not_before:
            wait = shown(round(not_before - now))
            raise Rejected(
                f"the JWT is not valid yet (nbf), but in {wait} s, and the leeway is "
                f"{self.config.leeway:g} s"
            )
        return claimed, expires

    def _check_issuer_and_audience(self, claims: Claims) -> None:
        issuer, said = self.config.issuer, claims.get("iss")
        if issuer is not None and said != issuer:
            why = claim_values.other_issuer(said, issuer)
            raise Rejected(f"the JWT is from another issuer (iss): {why}")
        audience, claim = self.config.audience, self.config.audience_claim
        if audience is None:
            return
        wanted = (audience,) if isinstance(audience, str) else audience
        said = claim_values.value_at(claims, claim)
        found = claim_values.strings(said)
        if found is None and claim != "aud":
            self._warn_of_flaw("audience_claim", claim, claims, said)
        if set(wanted).isdisjoint(found or ()):
            has = "is missing" if said is None else f"has {shown(said)}"
            hint = ""
            if said is None and claims.get("client_id") in wanted:
                hint = "; the setting `audience_claim: client_id` would accept the JWT"
            raise Rejected(
                f"the JWT is for another audience: {claim} {has}, "
                f"wanted one of {shown(list(wanted))}{hint}"
            )

    def _check_required_claims(self, claims: Claims) -> None:
        for path, wanted in self.config.required_claims.items():
            said = claim_values.value_at(claims, path)
            several = wanted if isinstance(wanted, tuple) else (wanted,)
            texts = {as_text(each) for each in several}
            if said is None or isinstance(said, dict):
                self._warn_of_flaw("required_claims", path, claims, said)
            if texts.isdisjoint(_scalar_texts(said)):
                has = "is missing" if said is None else f"is {shown(said)}"
                raise Rejected(f"required_claims: {path} {has} in the JWT, wanted {shown(wanted)}")

    def _scopes(self, claims: Claims) -> tuple[str, ...]:
        found = (
            strict_claims.scopes(claims) if self.config.is_strict else claim_values.scopes(claims)
        )
        if missing := set(self.config.required_scopes).difference(found):
            raise InsufficientScope(
                f"a required scope is missing: has {shown(found)}, lacks {shown(sorted(missing))}"
            )
        return found

    def _username(self, claims: Claims) -> str:
        path = self.config.username_claim
        if path is not None:
            name = claim_values.value_at(claims, path)
            if not (isinstance(name, str) and name):
                self._warn_of_flaw("username_claim", path, claims, name)
                raise Rejected(f"the claim {path}, which should name the user, {_flaw(name)}")
            return name
        subject, preferred = claims.get("sub"), claims.get("preferred_username")
        if preferred == "":
            raise Rejected("the claim preferred_username is empty")
        if subject is None and not self.config.is_strict and isinstance(preferred, str):
            return preferred
        if not (isinstance(subject, str) and subject):
            raise Rejected(f"the claim sub, which should name the user, {_flaw(subject)}")
        return preferred if isinstance(preferred, str) else subject

    def _warn_of_flaw(self, key: str, path: str, claims: Claims, value: object) -> None:
        """Warn once that a JWT does not have a claim that the configuration requires."""
        if path not in self._warned:
            self._warned.add(path)
            self._log.warn(
                "provider {provider}: {key} names {path}, which in a JWT {flaw}, so the JWT is "
                "rejected; the JWT has the claims {names}",
                provider=self.name,
                key=key,
                path=path,
                flaw=_flaw(value),
                names=claim_values.names(claims),
                event="auth.claims.missing",
            )

    def _attributes(self, claims: Claims, routes: Sequence[Route]) -> dict[str, str]:
        """Return the claims that become attributes, without those that became roles."""
        chosen = self.config.attributes
        includes = chosen.includes
        found = {
            name: as_text(value)
            for name, value in claims.items()
            if name not in _CONSUMED and includes(name)
        }
        if routes and not chosen.include:
            for name in {steps[0] for steps in routes} & found.keys():
                inner = [steps[1:] for steps in routes if steps[0] == name]
                left = claim_values.without(claims[name], inner)
                if left is None:
                    del found[name]
                else:
                    found[name] = as_text(left)
        return found


def login_of(claims: Claims) -> Login | None:
    """
    Return what the claims C{acr} and C{auth_time} state about the login of a user (OpenID Connect
    Core section 2, RFC 9068 section 2.2.1, RFC 9470 section 6), or C{None} if they state nothing.

    A malformed claim C{acr} or C{auth_time} counts as absent, which is safe: only rules that
    require a certain login read these claims, and such a rule does not allow a request if the claim
    is absent.
    """
    acr, at = claims.get("acr"), None
    with suppress(Rejected):
        at = timestamp(claims, "auth_time")
    if not (isinstance(acr, str) and 0 < len(acr) <= _LONGEST_ACR):
        acr = None
    return None if acr is None and at is None else Login(acr, at)


def token_of(claims: Claims) -> PresentedToken | None:
    """
    Return the id and the time of issue of a JWT (the claims C{jti} and C{iat}, RFC 7519 section
    4.1), or C{None} if the JWT has neither.

    @raise Rejected: the claim C{iat} is malformed.
    """
    id_, issued = claims.get("jti"), timestamp(claims, "iat")
    if not (isinstance(id_, str) and 0 < len(id_) <= _LONGEST_ID):
        id_ = None
    return None if id_ is None and issued is None else PresentedToken(id_, issued)


def effective_expiry(claimed: float | None, now: float, leeway: float) -> float | None:
    """
    Return the time at which a credential expires, if clocks may differ by C{leeway} seconds.

    A claimed expiry that lies in the future, compared in whole seconds, is returned unchanged. If
    the claimed expiry passed less than C{leeway} seconds ago, the end of the leeway is returned, so
    a JWT that is minted now is valid until the leeway ends.

    @param claimed: the expiry that the credential claims, in seconds since the epoch.

    @raise Rejected: the credential has expired.
    """
    if claimed is None or int(now) < int(claimed):
        return claimed
    if now >= claimed + leeway:
        ago = shown(round(now - claimed))
        raise Rejected(f"expired {ago} s ago, and the leeway is {leeway:g} s")
    return claimed + leeway


def _check_shapes(claims: Claims) -> None:
    """
    Check the form of the claims that state audience, issuer, times and key of a JWT.

    A claim that is C{null} counts as absent. The claims C{exp} and C{nbf} are checked elsewhere,
    where the lifetime of the JWT is checked.

    @raise Rejected: a claim that this function checks is malformed.
    """
    timestamp(claims, "iat")
    issuer = claims.get("iss")
    if issuer is not None and not isinstance(issuer, str):
        raise Rejected(f"iss is not a string but {shown(issuer)}")
    audience = claims.get("aud")
    if audience is not None and claim_values.strings(audience) is None:
        raise Rejected(f"aud is not a string or a list of strings but {shown(audience)}")
    confirmation = claims.get("cnf")
    if confirmation is not None and not (
        isinstance(confirmation, dict)
        and confirmation
        and all(
            isinstance(confirmation.get(each, kind()), kind)
            for each, kind in _CONFIRMATIONS.items()
        )
    ):
        raise Rejected("cnf is malformed (RFC 7800)")


def _are_names(value: object) -> bool:
    """Whether a value is a non-empty list that contains only strings (RFC 7515 section 4.1.11)."""
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)


def _scalar_texts(value: object) -> set[str]:
    several = value if isinstance(value, list) else [value]
    return {as_text(each) for each in several if isinstance(each, Scalar)}


def _flaw(value: object) -> str:
    if value is None:
        return "is missing"
    return "is empty" if value == "" else f"is not a string but {shown(value)}"
