"""The claims of clients, in decisions by policies and in the JWTs that the gateway mints."""

from __future__ import annotations

from typing import Any

import jwt
from twisted.trial.unittest import SynchronousTestCase

from authotron.augmenters import plain
from authotron.model.errors import ConfigError
from tests.web.conversations import Answer, InMemoryGateway
from tests.web.test_policies import Adding, PolicyCase, over, stated

TOKEN = "Bearer " + "t" * 40


def robots(attributes: dict[str, str], claims: Any = None, **more: Any) -> dict[str, Any]:
    """Return a configuration with one token, whose user has some attributes."""
    token = {"token": "t" * 40, "username": "Robbie", "roles": ["Reader"], "attributes": attributes}
    provider = {"type": "static-token", "name": "robots", "realm": "internal", "tokens": [token]}
    chosen = {} if claims is None else {"claims": claims}
    return {"providers": [{**provider, **chosen}], **more}


def adding(attributes: dict[str, str]) -> dict[str, Any]:
    section = {"type": "plain", "name": "adding", "realm": "internal", "roles": {}}
    return {"augmenters": [section]}


def claims_in(answer: Answer) -> dict[str, Any]:
    """Return the claims of the JWT in an answer."""
    token = answer.headers["authorization"].removeprefix("Bearer ")
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


class NormalFormTests(PolicyCase):
    """Claims, rules and groups whose letters are composed of several characters."""

    def ruled_by(self, *rules: dict[str, Any], groups: Any = (), **given: Any) -> str:
        every = {"name": "all", "subject": [["realm=internal"]], "permissions": ["/**:*"]}
        policy = over(rules=[every, *rules], groups=list(groups))
        self.make({**policy, "providers": robots(given)["providers"]})
        return self.ruled("/x", who=TOKEN)

    def test_denies_S_CLAIM(self) -> None:
        """A rule denies in whichever spelling it, or the provider, writes a letter."""
        for written in ("re\u0301f", "r\u00e9f"):
            deny = {"name": "d", "subject": [[f"group={written}"]], "permissions": ["-/**:*"]}
            for given in ("re\u0301f", "r\u00e9f", '["x", "re\\u0301f"]'):
                found = self.ruled_by(deny, group=given)
                self.assertEqual(found, "403 denied-by-policy", (written, given))
            self.assertEqual(self.ruled_by(deny, group="ref"), "200")

    def test_groups_S_CLAIM(self) -> None:
        """A rule finds a group in whichever spelling both name it."""
        subject = [["@group:name=re\u0301f"]]
        deny = {"name": "d", "subject": subject, "permissions": ["-/**:*"]}
        for name in ("re\u0301f", "r\u00e9f"):
            group = {"name": name, "subject": [["realm=internal"]]}
            self.assertEqual(self.ruled_by(deny, groups=[group]), "403 denied-by-policy")


class ChosenClaimTests(PolicyCase):
    """Claims that a provider chooses, renames and changes."""

    def ruled_by(self, subject: list[str], attributes: dict[str, str], claims: Any) -> str:
        rule = {"name": "r", "subject": [subject], "permissions": ["/**:*"]}
        given = robots(attributes, claims)
        self.make({**over(rules=[rule]), "providers": given["providers"]})
        return self.ruled("/x", who=TOKEN)

    def test_rules_see_the_chosen_claims(self) -> None:
        """Rules name claims as the provider's section leaves them."""
        attributes = {"mail": "Rob@X.org", "groups": '["A","b"]', "iat": "5"}
        claims = {
            "ignore": ["iat="],
            "rename": {"mail": "email", "groups": "group"},
            "lowercase": ["email", "group", "username"],
        }
        for subject in (
            ["email=rob@x.org", "group=a", "group=b", "username=robbie", "role=Reader"],
            ["@source:type=static-token", "@source:name=robots", "realm=internal"],
        ):
            self.assertEqual(self.ruled_by(subject, attributes, claims), "200", subject)
        for tag in ("mail=Rob@X.org", "email=Rob@X.org", "groups=A", "group=A", "iat=5"):
            found = self.ruled_by([tag], attributes, claims)
            self.assertEqual(found, "403 no-matching-policy", tag)

    def test_only_claims_change(self) -> None:
        """Roles and attributes of the JWT stay as they are."""
        claims = {"include": ["x="], "rename": {"mail": "email"}, "lowercase": ["username"]}
        given = robots({"mail": "Rob@X.org"}, claims, jwt={"emit_claims": True})
        answer = InMemoryGateway(given).ask("GET /authenticate", Authorization=TOKEN)
        found = claims_in(answer)
        self.assertEqual((found["username"], found["roles"]), ("Robbie", ["Reader"]))
        self.assertEqual(found["attributes"], {"mail": "Rob@X.org"})
        self.assertEqual(
            [each for each in found["identity"] if each[0] != "@"],
            ["realm=internal", "username=robbie"],
        )

    def test_conditions(self) -> None:
        """Conditions see the chosen claims, too."""
        rule = {
            "name": "r",
            "subject": [["realm=internal"]],
            "permissions": ["/**:*"],
            "when": 'claims.group == ["a", "b"] && !has(claims.groups)',
        }
        given = robots(
            {"groups": '["B","A","a"]'}, {"rename": {"groups": "group"}, "lowercase": ["group"]}
        )
        self.make({**over(rules=[rule]), "providers": given["providers"]})
        self.assertEqual(self.ruled("/x", who=TOKEN), "200")

    def test_same_name(self) -> None:
        """Two providers of one name and type must choose the same claims."""
        given = {**over(), **robots({}, {"ignore": ["iat="]})}
        [first] = given["providers"]
        second = {**first, "tokens": [{"token": "u" * 40, "username": "other"}]}
        given["providers"] = [first, second]
        InMemoryGateway(given)
        given["providers"] = [first, {**second, "claims": {"ignore": ["exp="]}}]
        with self.assertRaises(ConfigError) as caught:
            InMemoryGateway(given)
        self.assertIn("providers[1].claims: another provider is named", str(caught.exception))

    def test_augmented(self) -> None:
        """What augmenters add passes the choice of the provider."""
        self.patch(plain, "make", lambda _config, _world: Adding({"groups": "Ops", "iat": "7"}))
        rule = {"name": "r", "subject": [["group=Ops"]], "permissions": ["/**:*"]}
        given = robots({}, {"ignore": ["iat="], "rename": {"groups": "group"}})
        self.make({**over(rules=[rule]), **given, **adding({})})
        self.assertEqual(self.ruled("/x", who=TOKEN), "200")


class ForgedClaimTests(PolicyCase):
    """Claims that only the gateway sets."""

    def ruled_by(self, subject: list[str], attributes: dict[str, str]) -> str:
        rule = {"name": "r", "subject": [subject], "permissions": ["/**:*"]}
        groups = [{"name": "ops", "subject": [["username=somebody else"]]}]
        given = robots(attributes)
        self.make({**over(rules=[rule], groups=groups), "providers": given["providers"]})
        return self.ruled("/x", who=TOKEN)

    def dropped(self) -> list[str]:
        text = self.gateway.metrics.text()[0].decode().splitlines()
        lines = [each for each in text if each.startswith("authotron_policy_claims_dropped_total{")]
        return [each for each in lines if not each.endswith(" 0.0")]

    def test_groups_S_CLAIM(self) -> None:
        """A provider cannot put a client into a group, and the attempt is counted."""
        found = self.ruled_by(["@group:name=ops"], {"@group:name": "ops", "a b": "x", "e": ""})
        self.assertEqual(found, "403 no-matching-policy")
        labels = 'provider_name="robots",reason="{}"'
        self.assertEqual(
            self.dropped(),
            [
                f"authotron_policy_claims_dropped_total{{{labels.format(reason)}}} 1.0"
                for reason in ("reserved", "malformed", "empty")
            ],
        )

    def test_source_S_CLAIM(self) -> None:
        """A provider cannot name another source."""
        for key, value in (("@source:type", "ldap"), ("@source:name", "x"), ("@issuer", "x")):
            found = self.ruled_by([f"{key}={value}"], {key: value})
            self.assertEqual(found, "403 no-matching-policy")

    def test_conditions_S_CLAIM(self) -> None:
        """A condition does not see a forged claim either."""
        rule = {
            "name": "r",
            "subject": [["realm=internal"]],
            "permissions": ["/**:*"],
            "when": 'has(claims["@group:name"]) || claims["@source:type"] != ["static-token"]',
        }
        given = robots({"@group:name": "ops", "@source:type": "ldap"})
        rule["when"] = '"@group:name" in claims || claims["@source:type"] != ["static-token"]'
        self.make({**over(rules=[rule]), "providers": given["providers"]})
        self.assertEqual(self.ruled("/x", who=TOKEN), "403 condition")

    def test_list_of_a_provider_S_CLAIM(self) -> None:
        """A value that looks like a claim stays the value of its key."""
        attributes = {"group": '["@group:name=ops","role=ops"]'}
        self.assertEqual(self.ruled_by(["role=ops"], attributes), "403 no-matching-policy")
        self.assertEqual(self.ruled_by(["group=role=ops"], attributes), "200")

    def test_augmenter_replaces_S_CLAIM(self) -> None:
        """An augmenter must not even replace a reserved attribute of the provider."""
        self.patch(plain, "make", lambda _config, _world: Adding({"@a": "other"}))
        rule = {"name": "r", "subject": [["realm=internal"]], "permissions": ["/**:*"]}
        self.make({**over(rules=[rule]), **robots({"@a": "first"}), **adding({})})
        self.assertEqual(self.ruled("/x", who=TOKEN), "403")

    def test_observed(self) -> None:
        """Where the policy is only observed, the identity passes, without the claim."""
        self.patch(plain, "make", lambda _config, _world: Adding({"@a": "x"}))
        rule = {"name": "r", "subject": [["@a=x"]], "permissions": ["/**:*"]}
        self.make({**over(rules=[rule], mode="observe"), **robots({}), **adding({})})
        self.assertEqual(self.ruled("/x", who=TOKEN), "200")
        self.assertEqual(self.counted(), {"observed no-matching-policy": 4})


class EmittedClaimTests(SynchronousTestCase):
    """The claim C{identity} of minted JWTs."""

    def minted(self, given: dict[str, Any]) -> dict[str, Any]:
        gateway = InMemoryGateway(given)
        answer = gateway.ask("GET /authenticate", None, Authorization=TOKEN, **stated("/x"))
        self.assertEqual(answer.status, 200)
        return claims_in(answer)

    def test_on_demand(self) -> None:
        """JWTs have the claims only if the configuration says so."""
        self.assertNotIn("identity", self.minted(robots({"a": "b"})))
        self.assertNotIn("identity", self.minted({**over(mode="observe"), **robots({})}))

    def test_sorted(self) -> None:
        """All claims but groups are minted, in order, each once."""
        attributes = {"team": '["x","a","x"]', "@group:name": "ops", "z": "1"}
        expected = [
            "@issuer=gate",
            "@source:name=robots",
            "@source:realm=internal",
            "@source:type=static-token",
            "realm=internal",
            "role=Reader",
            "team=a",
            "team=x",
            "username=Robbie",
            "z=1",
        ]
        emits = {"jwt": {"emit_claims": True}}
        self.assertEqual(self.minted({**robots(attributes), **emits})["identity"], expected)
        groups = [{"name": "ops", "subject": [["z=1"]]}]
        rules = [{"name": "r", "subject": [["@group:name=ops"]], "permissions": ["/**:*"]}]
        given = {**over(rules=rules, groups=groups), **robots(attributes), **emits}
        self.assertEqual(self.minted(given)["identity"], expected)

    def test_otherwise_equal(self) -> None:
        """The other claims of a JWT do not change."""
        given = robots({"team": '["x"]'})
        without = self.minted(given)
        found = self.minted({**given, "jwt": {"emit_claims": True}})
        self.assertEqual(found.keys() - without.keys(), {"identity"})
        for key in without.keys() - {"jti"}:
            self.assertEqual(found[key], without[key])

    def test_forged_by_an_augmenter_S_CLAIM(self) -> None:
        """Without a policy, too, an identity with a reserved claim of an augmenter is refused."""
        self.patch(plain, "make", lambda _config, _world: Adding({"@a": "x"}))
        given = {**robots({}), **adding({})}
        self.assertEqual(self.minted(given)["attributes"], {"@a": "x"})
        gateway = InMemoryGateway({**given, "jwt": {"emit_claims": True}})
        for site in (gateway.public, gateway.entrance):
            answer = gateway.ask("GET /authenticate", site, Authorization=TOKEN)
            self.assertEqual(answer.status, 403)
        text = gateway.metrics.text()[0].decode()
        self.assertIn('dropped_total{provider_name="robots",reason="reserved"} 1.0', text)

    def test_too_large_for_the_proxy_T62(self) -> None:
        """A JWT that its claims make too large is refused, never shortened."""
        attributes = {"team": str([f"group-{n}" for n in range(400)]).replace("'", '"')}
        answers = {"answers": {"contracts": {"nginx": {"max_head_bytes": 16_000}}}}
        given = {**robots(attributes), "server": {**answers, "trusted_proxies": ["192.0.2.0/24"]}}
        for emits, expected in ((False, 200), (True, 403)):
            gateway = InMemoryGateway({**given, "jwt": {"emit_claims": emits}})
            for site in (gateway.public, gateway.entrance):
                answer = gateway.ask("GET /authenticate", site, Authorization=TOKEN)
                self.assertEqual(answer.status, expected, answer.body)

    def test_api_token(self) -> None:
        """A restricted API token has the claims that its restriction leaves."""
        store = {"enabled": True, "type": "memory", "compat": False}
        gateway = InMemoryGateway(
            {**robots({"a": '["b"]'}), "store": store, "jwt": {"emit_claims": True}}
        )
        made = gateway.post("/tokens", {"roles": []}, Authorization=TOKEN)
        self.assertEqual(made.status, 201, made.body)
        bearer = f"Bearer {made.json()['token']}"
        found = claims_in(gateway.ask("GET /authenticate", Authorization=bearer))["identity"]
        self.assertIn("@source:name=robots", found)
        self.assertIn("@source:type=static-token", found)
        self.assertIn("a=b", found)
        self.assertNotIn("role=Reader", found)
