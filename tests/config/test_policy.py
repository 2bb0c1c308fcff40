"""The section C{policy}, and the files of rules that it names."""

from __future__ import annotations

from typing import Any

from authotron.config import check
from authotron.config.check import Config
from authotron.daemon.compose import compose
from authotron.model.errors import ConfigError
from authotron.policy.requirements import Requirement
from authotron.telemetry.metrics import Metrics
from authotron.testing.worlds import NOW, clock_at, world
from tests.config.cases import BASE, ConfigCase, laid_over

RULE: dict[str, Any] = {"name": "r", "subject": [["role=a"]], "permissions": ["/a:GET"]}


class PolicyCase(ConfigCase):
    """A configuration with a policy."""

    def of_rule(self, **over: Any) -> list[str]:
        """Return the problems of a rule, without the path of the rule."""
        found = self.problems(laid_over(BASE, {"policy": {"rules": [{**RULE, **over}]}}))
        return [each.removeprefix("policy.rules[0].") for each in found]

    def located(self, **policy: Any) -> list[str]:
        """Return the problems of a policy, with file and line."""
        error = self.assertRaises(ConfigError, self.changed, policy=policy)
        return [str(each).replace(str(self.folder), "") for each in error.problems]

    def warned(self, **policy: Any) -> list[str]:
        return self.warnings(self.changed(policy=policy))

    @staticmethod
    def warnings(found: Config) -> list[str]:
        return [each for each in found.warnings if "policy" in each or "trusted" in each]


class SectionTests(PolicyCase):
    """Whether there is a policy."""

    def test_none(self) -> None:
        """Without the section there is no policy."""
        self.assertIsNone(self.load(BASE).policy)

    def test_empty(self) -> None:
        """A section without content is a policy nevertheless, which denies."""
        text = "version: '2.0.0'\nserver: {port: 1}\njwt: {iss: x, secret: %s}\npolicy:\n" % (
            "s" * 32
        )
        found = self.load(text).policy
        assert found is not None
        self.assertEqual((found.section.default, found.section.mode), ("deny", "enforce"))

    def test_variable(self) -> None:
        """A variable can switch a policy to observing."""
        found = self.load(BASE, AOT_POLICY__MODE="observe").policy
        assert found is not None
        self.assertEqual(found.section.mode, "observe")

    def test_not_a_mapping(self) -> None:
        """Whatever else stands there is a mistake, not a missing policy."""
        values: list[Any] = [[], "", False, 0, "deny"]
        for value in values:
            self.assertEqual(self.problem(policy=value), "policy: must be a mapping", value)


class RuleTests(PolicyCase):
    """Mistakes of rules, which are all reported at once."""

    def test_permissions(self) -> None:
        """Malformed permissions, and those that no request could meet."""
        for text, expected in (
            ("/a", "the permission has no colon"),
            (":GET", "a resource of the permission is empty"),
            ("/a:", "a verb of the permission is empty"),
            ("/a:GET,", "a verb of the permission is empty"),
            ("/a:GET:", "an id of the permission is empty"),
            ("/a: GET", "a verb of the permission has blanks"),
            (" /a:GET", "a resource of the permission has blanks"),
            ("--/a:GET", "begins with two `-`; write one"),
            ("/a:get", "because case counts; write GET"),
            ("-*:delete", "because case counts; write DELETE"),
            ("-**:post", "because case counts; write POST"),
            ("/a*:GET", "`*` within a segment"),
            ("/a/../b:GET", "spelt differently in requests; write /b"),
            ("-/%61:GET", "spelt differently in requests; write /a"),
            ("-/\u00e4:GET", "spelt differently in requests; write /%C3%A4"),
            ("-/a b:GET", "spelt differently in requests; write /a%20b"),
            ("-/a//b:GET", "read differently (empty segment)"),
            ("-/a%3Bb:GET", "an encoded semicolon"),
            ("-/a%2Fb:GET", "read differently (encoded slash)"),
            ("/a?x=y:GET", "has a query"),
        ):
            [problem] = self.of_rule(permissions=["/a:GET", text])
            self.assertTrue(problem.startswith("permissions[1]: "), problem)
            self.assertIn(expected, problem)

    def test_subjects(self) -> None:
        """Empty subjects and empty lists in them are mistakes, and so are malformed tags."""
        for subject, expected in (
            ([], "subject: is empty; "),
            ([["role=a"], []], "subject[1]: is empty; "),
            (["role=a"], "subject[0]: must be a list"),
            ([["role"]], "subject[0][0]: the tag has no `=`"),
            ([["=a"]], "subject[0][0]: the tag has no key"),
            ([["role="]], "subject[0][0]: the tag has no value"),
            ([["role =a"]], "subject[0][0]: the tag has a blank in its key"),
            ([["role=a "]], "subject[0][0]: the tag has blanks"),
            ([["role=" + "a" * 1_019]], "subject[0][0]: the tag has 1024 bytes or more"),
        ):
            [problem] = self.of_rule(subject=subject)
            self.assertTrue(problem.startswith(expected), problem)

    def test_namespaces(self) -> None:
        """Malformed namespaces, and each target outside of the namespace."""
        self.assertIn("write /data", self.of_rule(namespace="/data/")[0])
        found = self.of_rule(namespace="/data", targets=["/x", "/data/y", "/database"])
        self.assertEqual(len(found), 2)
        for each in found:
            self.assertTrue(each.startswith("targets: "), each)
        self.assertIn(
            "targets[1]: the value is not a namespace", self.of_rule(targets=["/", "./x"])[0]
        )

    def test_limits(self) -> None:
        """Malformed hosts, networks, methods, times and moments."""
        for key, value, expected in (
            ("hosts", ["a.org:443"], "hosts[0]: has a port"),
            ("hosts", ["a b"], "hosts[0]: the value is not a host pattern"),
            ("networks", ["10.0.0.1"], "write 10.0.0.1/32"),
            ("networks", ["2001:db8::1"], "write 2001:db8::1/128"),
            ("networks", ["10.0.0.0/255.0.0.0"], "networks[0]: the value is not a network"),
            ("methods", ["get"], "write GET"),
            ("methods", [], "methods: is empty"),
            ("times", {"from": "24:30"}, "times.from: the value is not a time of day"),
            ("times", {"from": "06:00", "to": "06:00"}, "times.to: is the same as from"),
            ("times", {"zone": "Mars"}, "times.zone: is not a time zone"),
            ("times", {"days": []}, "times.days: is empty"),
            ("not_before", "2026-01-01", "not_before: has no time zone"),
            ("expires", "soon", "expires: is not a date and time"),
            ("expires", 1, "expires: is not a date and time"),
        ):
            [problem] = self.of_rule(**{key: value})
            self.assertIn(expected, problem)

    def test_never(self) -> None:
        """A rule that expires before it counts is a mistake."""
        moments = {"not_before": "2027-01-01T00:00:00Z", "expires": "2026-01-01T00:00:00Z"}
        self.assertIn("the rule would never count", self.of_rule(**moments)[0])

    def test_require(self) -> None:
        """A required login names at least one thing, in words that fit into a challenge."""
        for given, expected in (
            ({}, "require: requires nothing; name `acr`, or `max_age`, or both"),
            ({"acr": []}, "require.acr: is empty; name authentication contexts"),
            ({"acr": ["a b"]}, "require.acr[0]: is not a name of an authentication context"),
            ({"acr": ['a"']}, "require.acr[0]: is not a name of an authentication context"),
            ({"acr": ["a\\"]}, "require.acr[0]: is not a name of an authentication context"),
            ({"acr": ["g\u00f6ld"]}, "require.acr[0]: is not a name of an authentication context"),
            ({"acr": ["a" * 257]}, "require.acr[0]: is not a name of an authentication context"),
            ({"max_age": 0}, "require.max_age: "),
            ({"max_age": "500ms"}, "require.max_age: "),
            ({"max_age": "soon"}, "require.max_age: "),
            ({"acr": ["gold"], "amr": ["otp"]}, "require.amr: "),
            ("gold", "require: must be a mapping"),
        ):
            [problem] = self.of_rule(require=given)
            self.assertTrue(problem.startswith(expected), problem)
        required = {"acr": ["gold", "urn:x:y", "gold"], "max_age": "5m"}
        found = self.changed(policy={"rules": [{**RULE, "require": required}]}).policy
        assert found is not None
        rule = found.rules[0].as_rule(0)
        self.assertEqual(rule.require, Requirement(("gold", "urn:x:y"), 300))

    def test_require_without_a_provider(self) -> None:
        """A rule that requires a login is a warning if no provider states how a user logged in."""
        rules = [{**RULE, "require": {"acr": ["gold"]}}]
        [warning] = [each for each in self.warned(rules=rules) if "requires a login" in each]
        self.assertIn("rule 'r' requires a login, about which no configured provider", warning)
        sso = {"type": "jwt", "name": "sso", "realm": "here", "secret": "s" * 32}
        found = self.changed(policy={"rules": rules}, providers=[*BASE["providers"], sso])
        self.assertNotIn("requires a login", " ".join(found.warnings))
        disabled = [{**rules[0], "disabled": True}]
        self.assertNotIn("requires a login", " ".join(self.warned(rules=disabled)))

    def test_require_of_a_deny(self) -> None:
        """A rule that requires a login may not deny, which would deny to the strong logins only."""
        permissions = ["/a:*", "-/a/b:GET"]
        [problem] = self.of_rule(permissions=permissions, require={"acr": ["gold"]})
        expected = "permissions: -/a/b:GET denies, but a rule with `require` only allows"
        self.assertTrue(problem.startswith(expected), problem)

    def test_when(self) -> None:
        """An expression with a mistake is a problem of its rule, with its place."""
        for text, expected in (
            ('request.metod == "GET"', "line 1, column 8: undeclared reference"),
            ("claims.role == 'x'", "no matching overload"),
            ("request.path", "is no condition"),
            ("claims.a.map(x, x).size() > 1", "uses map()"),
            ("", "Syntax error"),
        ):
            [problem] = self.of_rule(when=text)
            self.assertTrue(problem.startswith("when: "), problem)
            self.assertIn(expected, problem)
        found = self.changed(policy={"rules": [{**RULE, "when": "has(claims.role)"}]}).policy
        assert found is not None
        self.assertEqual(found.rules[0].when, "has(claims.role)")

    def test_together(self) -> None:
        """Problems of several rules and groups are reported together, each with its line."""
        rules = [{**RULE, "permissions": [":"]}, {**RULE, "subject": []}]
        group = {"name": "g", "subject": [["x"]]}
        found = self.located(rules=rules, groups=[group], mode="enfore", namspace="/")
        self.assertEqual(len(found), 5)
        for each in found:
            self.assertRegex(each, r"\(/config.yaml:[0-9]+\)$")


class TogetherTests(PolicyCase):
    """Mistakes that concern several rules or groups."""

    def test_names(self) -> None:
        """A name may occur once."""
        [found] = self.located(rules=[RULE, {**RULE, "permissions": ["/b:GET"]}])
        self.assertIn("policy.rules[1].name: another one of the rules has the same name", found)

    def test_circle(self) -> None:
        """Groups that refer to each other in a circle are all named."""
        groups = [
            {"name": "a", "subject": [["role=x"], ["@group:name=b"]]},
            {"name": "b", "subject": [["@group:name=a", "role=y"]]},
            {"name": "c", "subject": [["@group:name=a"]]},
        ]
        found = self.located(groups=groups)
        self.assertEqual(len(found), 2)
        self.assertIn("policy.groups[0].subject: the group 'a' refers to itself", found[0])


class FilesTests(PolicyCase):
    """Files with further rules."""

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def test_order(self) -> None:
        """The rules of the section come first, then those of the files by name, each file once."""
        for name in ("b", "a"):
            self.write(
                f"policy.d/{name}.yaml",
                f"rules: [{{name: {name}, subject: [[role=a]], permissions: [/a:GET]}}]",
            )
        self.write("policy.d/empty.yaml", "")
        found = self.changed(
            policy={"rules": [RULE], "files": ["policy.d/b.yaml", "policy.d/*.yaml"]}
        ).policy
        assert found is not None
        self.assertEqual([each.name for each in found.rules], ["r", "b", "a"])

    def test_link_to_nothing(self) -> None:
        """A pattern that matches a link to a missing file is a problem, not one file less."""
        self.write("policy.d/a.yaml", "")
        (self.folder / "policy.d" / "deny.yaml").symlink_to("missing.yaml")
        (self.folder / "policy.d" / "folder.yaml").mkdir()
        [problem] = self.located(files=["policy.d/*.yaml"])
        self.assertIn("policy.d/deny.yaml: cannot be read", problem)

    def test_problems(self) -> None:
        """Each file is checked like the section, and its problems have its lines."""
        self.write("policy.d/a.yaml", "rules:\n  - name: r\n    subject: [[]]\n    permission: x\n")
        self.write("policy.d/b.yaml", "mode: observe\n")
        self.write("policy.d/c.yaml", "rules: [\n")
        self.write("policy.d/d.yaml", "rules: []\nrules: []\n")
        found = self.located(files=["policy.d/*.yaml", "missing.yaml", "none/*.yaml", "/"])
        text = "\n".join(found)
        for expected in (
            "rules[0].subject[0]: is empty; name the claims",
            "(/policy.d/a.yaml:3)",
            "did you mean 'permissions'? (/policy.d/a.yaml:4)",
            "(/policy.d/b.yaml:1)",
            "/policy.d/c.yaml:2:1: ",
            "/policy.d/d.yaml:2:1: duplicate key 'rules'",
            "/missing.yaml: cannot be read: No such file or directory (policy.files names it)",
            "policy.files[2]: matches no file",
        ):
            self.assertIn(expected, text)

    def test_names(self) -> None:
        """A name may occur once in all files together."""
        self.write("a.yaml", "rules:\n  - {name: r, subject: [[a=b]], permissions: ['*:*']}\n")
        [found] = self.located(rules=[RULE], files=["a.yaml"])
        self.assertIn("rules[0].name: another one of the rules has the same name", found)
        self.assertIn("(/a.yaml:2)", found)


class WarningsTests(PolicyCase):
    """What an operator should look at."""

    def test_trust(self) -> None:
        """An enforced policy without C{trusted_proxies} causes a warning."""
        [found] = self.warned(rules=[RULE])
        self.assertIn("server.trusted_proxies: not set", found)
        trusting = self.changed(
            server={"trusted_proxies": ["127.0.0.1/32", "unix"]}, policy={"rules": [RULE]}
        )
        self.assertEqual(self.warnings(trusting), [])

    def test_rules(self) -> None:
        """Rules that have no effect cause a warning each."""
        rules = [
            {**RULE, "permissions": ["-admin/**:*", "/a:GET:1"]},
            {**RULE, "name": "s", "subject": [["@group:name=typo"]]},
        ]
        found = self.warned(mode="observe", rules=rules)
        text = "\n".join(found)
        for expected in (
            "policy.mode: observe, so nothing is refused",
            "'-admin/**:*' of rule 'r' begins with no slash, so no path is meant; write /admin/**",
            "'/a:GET:1' of rule 'r' names ids",
            "rule 's' refers to @group:name=typo, which does not exist",
        ):
            self.assertIn(expected, text)
        self.assertEqual(len(found), 4)

    def test_askers(self) -> None:
        """If services ask, ids and resources that are no paths are no mistakes."""
        rules = [{**RULE, "permissions": ["record:read", "/a:GET:1"]}]
        self.assertEqual(len(self.warned(rules=rules)), 3)
        self.assertEqual(len(self.warned(askers=["pdp"], rules=rules)), 1)

    def test_decision_point(self) -> None:
        """The identifier of a decision point is an https URL without query and fragment."""
        for url in (
            "http://a.example.org",
            "https://a.example.org?x",
            "https://",
            "a",
            "https://a#b",
        ):
            with self.assertRaises(ConfigError):
                self.warned(decision_point=url, rules=[RULE])

    def test_no_rules(self) -> None:
        """A policy without rules denies every request, which causes a warning."""
        self.assertIn("every request of a proxy is denied", "\n".join(self.warned()))
        self.assertIn("is allowed", "\n".join(self.warned(default="allow")))


class HeadersTests(PolicyCase):
    """The headers of nginx."""

    def test_two_headers(self) -> None:
        """A header that policy and contract name differently is a mistake."""
        over = {
            "server": {"contracts": [{"type": "nginx", "headers": {"path": "X-Path"}}]},
            "policy": {"rules": [RULE], "facts": {"uri": "X-Uri"}},
        }
        found = check.check(laid_over(BASE, over))
        error = self.assertRaises(ConfigError, compose, found, world(clock_at(NOW)), Metrics())
        self.assertIn("server.contracts[0].headers.path: is another header", str(error))
