"""Read the roles in the claims of a JWT, in the shapes that identity providers use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import define, field, frozen
from twisted.logger import Logger

from authotron.jose import claim_values, strict_claims
from authotron.jose.claim_values import Route, shown
from authotron.jose.purposes import Claims
from authotron.model.errors import Rejected

KEYCLOAK_ROLES = ("realm_access", "entitlements", "resource_access")
"""Claims in which Keycloak puts roles."""


@define
class Roles:
    """
    Collects roles from values of several shapes.

    @ivar names: the roles that were found so far.
    @ivar is_readable: whether all values that were read so far had a known shape.
    """

    names: list[str] = field(factory=list)
    is_readable: bool = True

    def read(self, value: object) -> None:
        """
        Add the roles in the value of a claim.

        If the value is a string, it is the name of one role. If the value is a list, each element
        is the name of a role, or an object with the name in its member C{value} or C{name} (RFC
        9068 section 2.2.3.1). If the value is an object with the member C{roles}, this member
        contains the roles; otherwise the names of the members are names of roles or of clients, see
        L{_read_map}.
        """
        if isinstance(value, str):
            self._add(value)
        elif isinstance(value, list):
            for each in value:
                self._add(_named(each) if isinstance(each, dict) else each)
        elif isinstance(value, dict):
            if "roles" in value:
                self.read(value["roles"])
            else:
                self._read_map(value)
        elif value is not None:
            self.is_readable = False

    def _read_map(self, value: Mapping[str, object]) -> None:
        """
        Add the roles in an object whose members are named after roles or clients.

        ZITADEL maps the name of each role to an object of organizations. Keycloak maps the name of
        each client to an object with the member C{roles}.
        """
        for name, inner in value.items():
            if isinstance(inner, dict) and "roles" in inner:
                self.read(inner["roles"])
            elif inner is True or isinstance(inner, dict):
                self._add(name)
            elif inner is not None and inner is not False:
                self.is_readable = False

    def read_member(self, value: object) -> None:
        """Add the roles in the member C{roles} of an object; other members are ignored."""
        if isinstance(value, dict):
            self.read(value.get("roles"))
        elif value is not None:
            self.is_readable = False

    def read_members(self, value: object) -> None:
        """Add the roles of each client in the claim C{resource_access} of Keycloak."""
        if isinstance(value, dict):
            for client in value.values():
                self.read_member(client)
        elif value is not None:
            self.is_readable = False

    def _add(self, name: object) -> None:
        if not isinstance(name, str):
            self.is_readable = False
        elif name.strip():
            self.names.append(name)


def _named(value: Mapping[str, object]) -> object:
    return value.get("value", value.get("name"))


@frozen
class RoleClaims:
    """
    Reads the roles in the JWTs of one provider from the configured claims.

    Values that are not roles are left out, and so are claims that a JWT does not have. For each
    claim of which the gateway ignores values, one warning is logged.

    @ivar paths: the paths of the configured claims, or C{None} for the claims of Keycloak.
    @ivar is_strict: whether a JWT is refused because of a claim of an unexpected shape.
    """

    provider: str
    paths: Sequence[str] | None
    is_strict: bool = field(kw_only=True)
    _found: set[str] = field(factory=set, init=False, eq=False, repr=False)
    _warned: set[str] = field(factory=set, init=False, eq=False, repr=False)
    _log = Logger()

    def read(self, claims: Claims) -> tuple[tuple[str, ...], Sequence[Route]]:
        """
        Return the roles of a JWT, and for each configured claim that contains roles the names of
        the members that lead to it.

        @raise Rejected: the roles are not in the JWT itself, or a claim has an unexpected shape and
            C{is_strict} is set.
        """
        _refuse_distributed(claims, self.paths or KEYCLOAK_ROLES)
        if self.is_strict:
            known = (claim_values.route(claims, path) for path in self.paths or ())
            routes = [each for each in known if each is not None]
            return strict_claims.roles(claims, self.paths), routes
        if self.paths is None:
            return self._keycloak_roles(claims), ()
        return self._configured_roles(claims, self.paths)

    def _configured_roles(
        self, claims: Claims, paths: Sequence[str]
    ) -> tuple[tuple[str, ...], Sequence[Route]]:
        roles, routes = Roles(), list[Route]()
        for path in paths:
            steps = claim_values.route(claims, path)
            if steps is None:
                self._warn_of_missing(path, claims)
                continue
            self._found.add(path)
            value, before = claim_values.at_route(claims, steps), len(roles.names)
            roles.is_readable = value is not None
            is_scopes = steps[-1] in claim_values.SCOPE_CLAIMS
            roles.read(list(claim_values.words(value)) if is_scopes else value)
            if roles.is_readable or len(roles.names) > before:
                routes.append(steps)
            if value is not None:
                self._check_readable(roles, path, value)
        return tuple(roles.names), routes

    def _keycloak_roles(self, claims: Claims) -> tuple[str, ...]:
        """
        Return the roles in Keycloak's claims C{realm_access}, C{entitlements} and
        C{resource_access}.
        """
        roles = Roles()
        for name, read in (
            ("realm_access", roles.read_member),
            ("entitlements", roles.read),
            ("resource_access", roles.read_members),
        ):
            if (value := claims.get(name)) is not None:
                read(value)
                self._check_readable(roles, name, value)
        return tuple(roles.names)

    def _check_readable(self, roles: Roles, path: str, value: object) -> None:
        """Warn once of a claim with values that are not roles."""
        if not roles.is_readable and path not in self._warned:
            self._warned.add(path)
            self._log.warn(
                "provider {provider}: the claim {path} has values that are not roles and are left "
                "out: {found}; wanted a list of strings, a string or a map of roles",
                provider=self.provider,
                path=path,
                found=shown(value),
                event="auth.claims.unreadable",
            )
        roles.is_readable = True

    def _warn_of_missing(self, path: str, claims: Claims) -> None:
        """Warn once of a configured path of a claim that no JWT has contained so far."""
        if path not in self._found and path not in self._warned:
            self._warned.add(path)
            self._log.warn(
                "provider {provider}: roles_claims names {path}, which no JWT has had so far; the "
                "last one has the claims {names}. Change the path if users get no roles",
                provider=self.provider,
                path=path,
                names=claim_values.names(claims),
                event="auth.claims.missing",
            )


def _refuse_distributed(claims: Claims, paths: Sequence[str]) -> None:
    """
    Refuse a JWT that contains only a link to its roles (OpenID Connect Core, section 5.6.2).

    To users with many groups, Microsoft Entra issues JWTs that contain a link to the roles instead
    of the roles. The gateway does not fetch roles from other servers, so it refuses a JWT that only
    links to them: otherwise a user with roles would be treated as a user without roles.

    @raise Rejected: a role claim is a distributed claim.
    """
    names = claims.get("_claim_names")
    if isinstance(names, dict) and any(path.split(".")[0] in names for path in paths):
        raise Rejected("the JWT has a link to its roles instead of the roles (_claim_names)")
