"""The key C{credentials} of providers and of the token store."""

from __future__ import annotations

from typing import Any

from authotron.config import effective
from authotron.config.carried import CredentialNames, credential_names
from authotron.config.check import Config
from authotron.config.credentials import carriers
from authotron.model.carriers import Carrier
from authotron.model.errors import ConfigError
from tests.config.cases import BASE, ConfigCase

TOKENS = {
    "type": "static-token",
    "name": "keys",
    "realm": "machines",
    "tokens": [{"token": "k" * 40, "username": "robot"}],
}
ASKING = {
    "type": "introspection",
    "name": "hub",
    "realm": "hub",
    "url": "https://hub.example/introspect",
    "client_id": "gate",
    "client_secret": "a secret of the gateway",
}


class CredentialsCase(ConfigCase):
    """A configuration with one provider of tokens, beside one of passwords."""

    def given(self, credentials: Any, **over: Any) -> Config:
        provider = {**TOKENS, "credentials": credentials}
        return self.changed(providers=[*BASE["providers"], provider], **over)

    def refused(self, credentials: Any) -> list[str]:
        error = self.assertRaises(ConfigError, self.given, credentials)
        return [str(each).partition(" (")[0] for each in error.problems]


class ReadTests(CredentialsCase):
    """What may be written."""

    def found(self, credentials: Any) -> list[str]:
        section: Any = self.given(credentials).providers[1]
        return [str(each) for each in carriers(section.credentials)]

    def test_each(self) -> None:
        """Each kind of carrier can be written alone."""
        for credentials, carrier in (
            ({"header": "X-API-Key"}, "header x-api-key"),
            (
                {"header": "Proxy-Authorization", "scheme": "Bearer"},
                "header proxy-authorization (bearer)",
            ),
            ({"cookie": "__Host-s"}, "cookie __Host-s"),
            ({"basic": "username"}, "username of Basic"),
            ({"basic": "password"}, "password of Basic"),
            ({"query": "access_token"}, "query access_token"),
            ({"header": "authorization"}, "None"),
            (None, "None"),
        ):
            self.assertEqual(self.found(credentials), [carrier])

    def test_several(self) -> None:
        """A list has several carriers, each once, in any spelling."""
        several = [{"header": "Authorization"}, {"header": "X-Key"}, {"header": "x-key"}]
        self.assertEqual(self.found(several), ["None", "header x-key"])

    def test_problems(self) -> None:
        """Everything else is a problem with its path."""
        at = "providers[1].credentials"
        for credentials, problem in (
            ({}, f"{at}: must have exactly one of header, cookie, basic and query"),
            ({"header": "A", "cookie": "b"}, f"{at}: must have exactly one of"),
            ({"scheme": "Bearer"}, f"{at}: must have exactly one of"),
            ({"cookie": "a", "scheme": "Bearer"}, f"{at}: scheme belongs to a header other than"),
            ({"header": "Authorization", "scheme": "x"}, f"{at}: scheme belongs to a header"),
            ({"header": "X-Key", "scheme": "a b"}, f"{at}.scheme: must be one word"),
            ({"header": "X_Key"}, f"{at}.header: must consist of letters, digits and hyphens"),
            ({"header": "X-Key\n"}, f"{at}.header: must consist of"),
            ({"cookie": "a b"}, f"{at}.cookie: is not the name of a cookie"),
            ({"cookie": "a=b"}, f"{at}.cookie: is not the name of a cookie"),
            ({"query": "a&b"}, f"{at}.query: must consist of"),
            ({"basic": "both"}, f"{at}.basic: must be one of 'username' or 'password'"),
            ([], f"{at}: must not be empty"),
            ([{"cookie": ";"}], f"{at}[0].cookie: is not the name"),
            ("X-Key", f"{at}: must be a list"),
        ):
            found = self.refused(credentials)
            self.assertEqual(len(found), 1, (credentials, found))
            self.assertTrue(found[0].startswith(problem), found)

    def test_misspelt(self) -> None:
        """A misspelt key is named with its path."""
        found = self.refused({"haeder": "X-Key"})
        self.assertIn("providers[1].credentials.haeder: unknown key; did you mean 'header'?", found)

    def test_reserved_headers(self) -> None:
        """A header with another meaning carries no credential."""
        for name in ("Host", "Cookie", "x-forwarded-for", "X-Auth-Realm", "X-Auth-Roles", "TE"):
            [found] = self.refused({"header": name})
            self.assertIn("has another meaning", found)

    def test_not_of_augmenters(self) -> None:
        """Augmenters have no credentials."""
        augmenter = {"type": "plain", "name": "a", "realm": "internal", "roles": {}}
        error = self.assertRaises(
            ConfigError, self.changed, augmenters=[{**augmenter, "credentials": {"cookie": "a"}}]
        )
        self.assertIn("unknown key", str(error))


class OriginTests(CredentialsCase):
    """Where the key came from."""

    def test_with_or_without_a_list(self) -> None:
        """A value has its line whether a list is written or not, and variables set the key, too."""
        for credentials in ({"header": "X-Key"}, [{"header": "X-Key"}]):
            found = self.given(credentials)
            at = ("providers", 1, "credentials", 0, "header")
            [value] = [each for each in effective.values(found) if each.location == at]
            self.assertEqual(value.value, "X-Key")
            self.assertRegex(str(value.origin), r"config.yaml:\d+$")
        content = {**BASE, "store": {"type": "memory"}}
        found = self.load(content, AOT_STORE__CREDENTIALS__BASIC="password")
        of_store = ("store", "credentials", 0, "basic")
        [value] = [each for each in effective.values(found) if each.location == of_store]
        self.assertEqual(value.value, "password")
        self.assertIn("AOT_STORE__CREDENTIALS__BASIC", str(value.origin))


class WarningTests(CredentialsCase):
    """What C{authotron check} warns about."""

    def warnings(self, credentials: Any, **provider: Any) -> str:
        given = {**TOKENS, **provider, "credentials": credentials}
        found = self.changed(providers=[*BASE["providers"], given])
        return "\n".join(each for each in found.warnings if "credentials:" in each)

    def test_query_T27d(self) -> None:
        """A credential in the query causes a warning."""
        self.assertIn("URLs are written to logs", self.warnings({"query": "access_token"}))

    def test_cookie_T27e(self) -> None:
        """A cookie that another host of the domain can set causes a warning."""
        self.assertIn("name it __Host-session", self.warnings({"cookie": "session"}))
        for name in ("__Host-session", "__Secure-session"):
            self.assertEqual(self.warnings({"cookie": name}), "")

    def test_store(self) -> None:
        """So they do at the token store."""
        found = self.changed(store={"type": "memory", "credentials": {"query": "t"}})
        self.assertIn("store.credentials: query t", "\n".join(found.warnings))

    def test_passwords_T27h(self) -> None:
        """A provider of tokens that would be shown passwords causes a warning."""
        half = {"basic": "password"}
        warning = "is asked about passwords"
        for over, warned in (
            ({}, True),
            ({"accepts": "any"}, True),
            ({"accepts": {"issuer": "x"}}, True),
            ({"accepts": "jwt"}, False),
            ({"accepts": {"shape": "jwt"}}, False),
            ({"accepts": {"prefix": "hub_"}}, False),
        ):
            given = {**ASKING, **over, "credentials": half}
            found = self.changed(providers=[*BASE["providers"], given])
            self.assertEqual(warning in "\n".join(found.warnings), warned, over)
            found = self.changed(providers=[given])
            self.assertNotIn(warning, "\n".join(found.warnings))
        self.assertEqual(self.warnings(half), "")
        self.assertEqual(self.warnings({"header": "X-API-Key"}), "")


class NamesTests(CredentialsCase):
    """What proxies must remove from requests."""

    def names(self, *credentials: Any, **over: Any) -> CredentialNames:
        given = [{**TOKENS, "credentials": each} for each in credentials]
        return credential_names(self.changed(providers=given, **over))

    def test_usual(self) -> None:
        """Without the key only Authorization carries credentials."""
        self.assertEqual(credential_names(self.load(BASE)), CredentialNames(("Authorization",)))

    def test_authorization_of_the_backend(self) -> None:
        """If neither a provider nor the store looks at Authorization, it belongs to the backend."""
        key = {"header": "X-API-Key"}
        self.assertEqual(self.names(key), CredentialNames(("X-API-Key",)))
        self.assertEqual(self.names({"basic": "password"}), CredentialNames(("Authorization",)))
        self.assertEqual(
            self.names(key, store={"type": "memory"}).headers, ("X-API-Key", "Authorization")
        )
        of_store = {"type": "memory", "credentials": key}
        self.assertEqual(self.names(key, store=of_store).headers, ("X-API-Key",))

    def test_each_once(self) -> None:
        """Each name stands once, as it is written first; Authorization in its usual spelling."""
        found = self.names(
            [{"header": "X-API-Key"}, {"cookie": "s"}, {"query": "t"}],
            [{"header": "x-api-key"}, {"cookie": "S"}, {"query": "t"}, {"header": "AUTHORIZATION"}],
        )
        self.assertEqual(found, CredentialNames(("X-API-Key", "Authorization"), ("s", "S"), ("t",)))
        self.assertEqual(found.lower_headers, (b"x-api-key", b"authorization"))

    def test_cookies(self) -> None:
        """Other cookies stay as they are."""
        names = CredentialNames(cookies=("s",))
        for header, kept in (
            (b"s=1", b""),
            (b"a=b; s=1", b"a=b"),
            (b"s=1; a=b", b"a=b"),
            (b"a=b; s=1;  c=d", b"a=b;  c=d"),
            (b"a=b,s=1; c=d", b"c=d"),
            (b"S=1; as=1; s1=s=", b"S=1; as=1; s1=s="),
            (b" s =1;s=2", b""),
            (b"", b""),
        ):
            self.assertEqual(names.without_cookies(header), kept)

    def test_carrier_is_shown(self) -> None:
        """A carrier is named in messages without a credential."""
        self.assertEqual(str(Carrier("query", "t")), "query t")
