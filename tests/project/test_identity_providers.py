"""The recipes of docs/identity-providers.md, with key sets and tokens of the documented shapes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from authotron.config import section
from authotron.model.errors import Rejected
from authotron.model.identity import Credential, Identity
from authotron.plugin.interfaces import IProvider, IReachable
from authotron.providers import jwt
from authotron.testing.issuers import IDP, NEXT
from authotron.testing.remotes import FakeRemote, Respond, start
from authotron.testing.worlds import NOW, clock_at, world
from tests.config.cases import ROOT
from tests.recipes import recipe

PAGE = (ROOT / "docs" / "identity-providers.md").read_text(encoding="utf-8")
SUB = "f:0a9b:tess"


class RecipeTestCase(SynchronousTestCase):
    """
    A provider as on the page, an issuer that publishes its keys, and tokens for the provider.

    @cvar heading: the heading of the recipe.
    @cvar jwks_uri: the URL of the key set in the discovery document, without its scheme.
    @cvar header: members of the header beside the algorithm.
    @cvar claims: the claims that the identity provider documents, without times.
    """

    heading: ClassVar[str] = ""
    jwks_uri: ClassVar[str] = ""
    header: ClassVar[Mapping[str, Any]] = {"typ": "JWT", "kid": "idp"}
    claims: ClassVar[Mapping[str, Any]] = {}

    def setUp(self) -> None:
        self.config = {**recipe(PAGE, self.heading), **self.changes()}
        self.issuer = str(self.config["issuer"])
        self.remote = FakeRemote(
            {
                self.issuer.split("://")[1].rstrip("/")
                + "/.well-known/openid-configuration": Respond(
                    {"issuer": self.issuer, "jwks_uri": f"https://{self.jwks_uri}"}
                ),
                self.jwks_uri: Respond({"keys": self.keys()}),
            }
        )
        given = section.read(jwt.Config, self.config)
        self.provider: IProvider = jwt.make(given, world(clock_at(NOW), self.remote))

    def changes(self) -> dict[str, Any]:
        """Return keys that replace those of the page, such as files elsewhere on a machine."""
        return {}

    def keys(self) -> list[dict[str, Any]]:
        """Return the published keys."""
        return [IDP.jwk(use="sig"), NEXT.jwk(use="sig")]

    def ask(self, claims: Mapping[str, Any] | None = None, **changes: Any) -> Any:
        """Present a token with the documented claims, or with others."""
        said = {"iss": self.issuer, "iat": NOW - 5, "exp": NOW + 300}
        said |= self.claims if claims is None else claims
        said = {name: value for name, value in {**said, **changes}.items() if value is not None}
        token = IDP.sign(said, self.header)
        return start(self.provider.authenticate(Credential("bearer", token)))

    def identity(self, **changes: Any) -> Identity:
        identity: Identity = self.successResultOf(self.ask(**changes)).identity
        return identity

    def refuse(self, **changes: Any) -> None:
        """Expect that a token with these changes is rejected."""
        with self.subTest(str(changes)):
            self.failureResultOf(self.ask(**changes), Rejected)

    def check(self, username: str, roles: tuple[str, ...], attributes: set[str]) -> None:
        """Check the identity of the documented token, and that no warning is logged for it."""
        self.successResultOf(start(IReachable(self.provider).check_reachable()))
        identity = self.identity()
        self.assertEqual((identity.username, identity.roles), (username, roles))
        self.assertEqual(set(identity.attributes), attributes)
        self.refuse(iss=self.issuer + "x")
        self.refuse(exp=NOW - 61)
        self.refuse(exp=None)
        token = NEXT.sign({**self.claims, "iss": self.issuer, "exp": NOW + 300}, self.header)
        self.failureResultOf(
            start(self.provider.authenticate(Credential("bearer", token))), Rejected
        )


class KeycloakTests(RecipeTestCase):
    """Access tokens of Keycloak."""

    heading = "Keycloak"
    jwks_uri = "sso.example.org/realms/main/protocol/openid-connect/certs"
    claims: ClassVar = {
        "jti": "onrtac:9d1f",
        "aud": ["gateway", "account"],
        "sub": SUB,
        "typ": "Bearer",
        "azp": "app",
        "sid": "c0ff",
        "acr": "1",
        "allowed-origins": ["https://app.example.org"],
        "realm_access": {"roles": ["offline_access", "staff"]},
        "resource_access": {
            "gateway": {"roles": ["reader"]},
            "account": {"roles": ["manage-account"]},
        },
        "scope": "openid email profile",
        "email_verified": True,
        "name": "Tess Example",
        "preferred_username": "tess",
        "email": "tess@example.org",
    }

    def keys(self) -> list[dict[str, Any]]:
        chain = {"x5c": ["MIIC"], "x5t": "x", "x5t#S256": "y"}
        return [NEXT.jwk(alg="RSA-OAEP", use="enc", **chain), IDP.jwk(use="sig", **chain)]

    def test_access_token_H_CLAIM(self) -> None:
        """Roles of the realm and of the client `gateway` count; other tokens are refused."""
        self.check(
            "tess", ("offline_access", "staff", "reader"), {"email", "email_verified", "name"}
        )
        self.assertEqual(self.identity().scopes, {"keycloak": ("openid", "email", "profile")})
        self.refuse(aud="account")
        for typ in ("ID", "Refresh", "Offline"):
            self.refuse(typ=typ)

    def test_lightweight_token_H_CLAIM(self) -> None:
        """Tokens without `sub`, roles and scopes, which Keycloak can leave out, are accepted."""
        lean = dict.fromkeys(("sub", "realm_access", "resource_access", "scope"))
        self.assertEqual(self.identity(**lean).roles, ())


class EntraTests(RecipeTestCase):
    """Access tokens of version 2.0 of Microsoft Entra ID."""

    heading = "Microsoft Entra ID"
    jwks_uri = "login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/discovery/v2.0/keys"
    header: ClassVar = {"typ": "JWT", "kid": "idp", "x5t": "idp"}
    claims: ClassVar = {
        "aud": "6731de76-14a6-49ae-97bc-6eba6914391e",
        "nbf": NOW - 5,
        "aio": "AXQAi/8IAAAA",
        "azp": "a1b2",
        "azpacr": "0",
        "name": "Tess Example",
        "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
        "preferred_username": "tess@example.org",
        "rh": "I",
        "roles": ["Reader"],
        "scp": "access_as_user",
        "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
        "tid": "72f988bf-86f1-41af-91ab-2d7cd011db47",
        "uti": "fqiBqXLPj0eQa82S-IYFAA",
        "ver": "2.0",
    }

    def keys(self) -> list[dict[str, Any]]:
        more = {"use": "sig", "x5t": "x", "x5c": ["MIIC"], "alg": None, "issuer": "https://x"}
        return [IDP.jwk(**more), NEXT.jwk(**more)]

    def test_access_token_H_AUDCLAIM(self) -> None:
        """The user is the object id, and the scope is in `scp`; ID tokens have none."""
        user = "690222be-ff1a-4d56-abd1-7e4f7d38e474"
        self.check(user, ("Reader",), {"name", "preferred_username", "tid"})
        self.refuse(scp=None, nonce="x")
        self.refuse(scp="User.Read")
        self.refuse(aud="00000003-0000-0000-c000-000000000000")
        self.refuse(roles=None, _claim_names={"roles": "src1"})


class OktaTests(RecipeTestCase):
    """Access tokens of a custom authorization server of Okta."""

    heading = "Okta"
    jwks_uri = "example.okta.com/oauth2/default/v1/keys"
    header: ClassVar = {"kid": "idp"}
    claims: ClassVar = {
        "ver": 1,
        "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
        "aud": "api://default",
        "cid": "nmdP1fcyvdVO11AL7ECm",
        "uid": "00ugrenMeqvYla4HW0g3",
        "scp": ["openid", "profile"],
        "auth_time": NOW - 60,
        "sub": "tess@example.org",
        "groups": ["Everyone", "Readers"],
    }

    def test_access_token_H_CLAIM(self) -> None:
        """Scopes are a list in `scp`, and groups are roles."""
        self.check("tess@example.org", ("Everyone", "Readers"), {"uid", "cid"})
        self.assertEqual(self.identity().scopes, {"okta": ("openid", "profile")})
        self.refuse(scp=["openid"])
        self.refuse(aud="https://example.okta.com")


class Auth0Tests(RecipeTestCase):
    """Access tokens of Auth0."""

    heading = "Auth0"
    jwks_uri = "example.eu.auth0.com/.well-known/jwks.json"
    claims: ClassVar = {
        "https://api.example.org/roles": ["editor"],
        "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
        "aud": ["https://api.example.org", "https://example.eu.auth0.com/userinfo"],
        "azp": "my_client_id",
        "scope": "openid profile read:messages",
        "permissions": ["read:messages"],
    }

    def test_access_token_W_ISS(self) -> None:
        """The issuer ends in a slash; roles are in a claim with a namespace."""
        self.check("auth0|5f7c8ec7c33c6c004bbafe82", ("editor", "read:messages"), {"azp"})
        self.refuse(iss=self.issuer.rstrip("/"))
        self.refuse(aud="https://example.eu.auth0.com/userinfo")

    def test_rfc_9068_H_CLAIM(self) -> None:
        """Tokens of the profile of RFC 9068 are accepted, too."""
        token = IDP.sign(
            {**self.claims, "iss": self.issuer, "exp": NOW + 300, "client_id": "x", "jti": "y"},
            {"typ": "at+jwt"},
        )
        self.successResultOf(start(self.provider.authenticate(Credential("bearer", token))))


class GoogleTests(RecipeTestCase):
    """ID tokens of Google."""

    heading = "Google"
    jwks_uri = "www.googleapis.com/oauth2/v3/certs"
    claims: ClassVar = {
        "azp": "1234987819200-abc.apps.googleusercontent.com",
        "aud": "1234987819200-abc.apps.googleusercontent.com",
        "sub": "10769150350006150715113082367",
        "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
        "hd": "example.org",
        "email": "tess@example.org",
        "email_verified": True,
        "name": "Tess Example",
        "picture": "https://lh3.example/photo.jpg",
    }

    def test_id_token_H_AUDCLAIM(self) -> None:
        """Only verified users of the organization are accepted."""
        self.check("tess@example.org", (), {"name"})
        for hd in (None, "evil.example", "", ["evil.example"]):
            self.refuse(hd=hd)
        for verified in (False, None, "false"):
            self.refuse(email_verified=verified)
        self.refuse(aud="other.apps.googleusercontent.com")
        self.refuse(email=None)


class CognitoTests(RecipeTestCase):
    """Access tokens of Amazon Cognito."""

    heading = "Amazon Cognito"
    jwks_uri = "cognito-idp.eu-central-1.amazonaws.com/eu-central-1_EXAMPLE1/.well-known/jwks.json"
    header: ClassVar = {"kid": "idp"}
    claims: ClassVar = {
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "cognito:groups": ["readers"],
        "version": 2,
        "client_id": "1example23456789",
        "origin_jti": "x",
        "event_id": "y",
        "token_use": "access",
        "scope": "openid email",
        "auth_time": NOW - 60,
        "jti": "z",
        "username": "tess",
    }

    def test_access_token_H_AUDCLAIM(self) -> None:
        """The audience is in `client_id`; ID tokens are refused."""
        self.check("tess", ("readers",), {"version"})
        self.refuse(client_id="another")
        self.refuse(client_id=None)
        self.refuse(client_id=None, aud="1example23456789", token_use="id")
        self.refuse(token_use="id")


class ZitadelTests(RecipeTestCase):
    """Access tokens of ZITADEL, as JWTs."""

    heading = "ZITADEL"
    jwks_uri = "example.us1.zitadel.cloud/oauth/v2/keys"
    claims: ClassVar = {
        "aud": ["318838541322649601", "318838604669387137"],
        "client_id": "318838541322649601",
        "jti": "V2_318838604669-at_1",
        "nbf": NOW - 5,
        "sub": "318838513770217473",
        "urn:zitadel:iam:org:project:318838604669387137:roles": {
            "reader": {"318836262334423041": "example.us1.zitadel.cloud"}
        },
        "urn:zitadel:iam:org:project:roles": {
            "reader": {"318836262334423041": "example.us1.zitadel.cloud"},
            "writer": {"318836262334423041": "example.us1.zitadel.cloud"},
        },
    }

    def test_role_map_H_CLAIM(self) -> None:
        """Roles are the names in a map."""
        self.check("318838513770217473", ("reader", "writer"), {"client_id"})
        self.refuse(aud=["318838541322649601"])


class DexTests(RecipeTestCase):
    """Tokens of Dex."""

    heading = "Dex"
    jwks_uri = "dex.example.org/keys"
    header: ClassVar = {"kid": "idp"}
    claims: ClassVar = {
        "sub": "CiQwOGE4Njg0Yi1kYjg4LTRiNzMtOTBhOS0zY2QxNjYxZjU0NjYSBWxvY2Fs",
        "aud": "gateway",
        "at_hash": "n4Qe1f4Nk8R0A1wQ5ZcYkw",
        "email": "tess@example.org",
        "email_verified": True,
        "groups": ["authors"],
        "name": "tess",
    }

    def test_token_H_CLAIM(self) -> None:
        """Groups are roles; the address must be verified."""
        self.check("tess@example.org", ("authors",), {"name"})
        self.refuse(aud="another")
        self.refuse(email_verified=False)


class GitHubTests(RecipeTestCase):
    """Tokens of GitHub Actions."""

    heading = "GitHub Actions"
    jwks_uri = "token.actions.githubusercontent.com/.well-known/jwks"
    header: ClassVar = {"typ": "JWT", "kid": "idp", "x5t": "example-thumbprint"}
    claims: ClassVar = {
        "jti": "example-id",
        "sub": "repo:octo-org/octo-repo:environment:prod",
        "environment": "prod",
        "aud": "https://gateway.example.org",
        "ref": "refs/heads/main",
        "sha": "example-sha",
        "repository": "octo-org/octo-repo",
        "repository_owner": "octo-org",
        "actor_id": "12",
        "repository_visibility": "private",
        "repository_id": "74",
        "repository_owner_id": "65",
        "run_id": "example-run-id",
        "run_number": "10",
        "run_attempt": "2",
        "runner_environment": "github-hosted",
        "actor": "octocat",
        "workflow": "example-workflow",
        "head_ref": "",
        "base_ref": "",
        "event_name": "workflow_dispatch",
        "ref_type": "branch",
        "job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main",
        "nbf": NOW - 300,
    }

    def test_workflow_H_AUDCLAIM(self) -> None:
        """Only workflows of the owner, on its branches, are accepted."""
        chosen = {"ref", "ref_type", "workflow", "environment", "actor", "actor_id", "run_id"}
        self.check("octo-org/octo-repo", (), chosen)
        self.identity(ref="refs/heads/release")
        for ref in ("refs/heads/other", "refs/pull/1/merge", "refs/heads/main2", None):
            self.refuse(ref=ref)
        self.refuse(repository_owner_id="66")
        self.refuse(aud="https://github.com/octo-org")


class KubernetesTests(RecipeTestCase):
    """Tokens of Kubernetes service accounts."""

    heading = "Kubernetes service accounts"
    jwks_uri = "kubernetes.default.svc/openid/v1/jwks"
    header: ClassVar = {"kid": "idp"}
    claims: ClassVar = {
        "aud": ["gateway"],
        "jti": "x",
        "kubernetes.io": {
            "namespace": "default",
            "pod": {"name": "reader-1", "uid": "u"},
            "serviceaccount": {"name": "reader", "uid": "v"},
        },
        "nbf": NOW - 5,
        "sub": "system:serviceaccount:default:reader",
    }

    def changes(self) -> dict[str, Any]:
        token = Path(self.mktemp()).absolute()
        token.write_text("of-the-gateway")
        return {"token_file": str(token), "ca_file": None}

    def test_service_account_W_JWKS(self) -> None:
        """The key set is fetched with the token of the gateway's own service account."""
        self.check("system:serviceaccount:default:reader", (), {"kubernetes.io"})
        self.assertEqual(
            [each.headers.get("authorization") for each in self.remote.requests],
            ["Bearer of-the-gateway"],
        )
        self.refuse(aud=["https://kubernetes.default.svc.cluster.local"])


class PageTests(SynchronousTestCase):
    """The page as a whole."""

    def test_every_recipe_is_tested(self) -> None:
        """Each recipe of the page has a test case."""
        headings = re.findall(r"^## (.+)$", PAGE, flags=re.MULTILINE)
        self.assertEqual(headings, list(_tested()))

    def test_no_recipe_warns(self) -> None:
        """No recipe causes a warning of C{authotron check} about its claims."""
        for heading in _tested():
            without_files = {**recipe(PAGE, heading), "token_file": None, "ca_file": None}
            warned = section.read(jwt.Config, without_files).warnings()
            self.assertEqual(warned, (), heading)


def _tested() -> Iterator[str]:
    return (each.heading for each in RecipeTestCase.__subclasses__())
