"""C{authotron policy}: check and test policies, and ask who can do what."""

from __future__ import annotations

import json
from typing import Any

import yaml
from click.testing import Result

from tests.cli.cases import CommandCase

RULES: list[dict[str, Any]] = [
    {"name": "read", "subject": [["role=reader"]], "permissions": ["/data/**:GET,HEAD"]},
    {
        "name": "admin",
        "subject": [["role=ops", "realm=internal"], ["@group:name=boss"]],
        "permissions": ["/admin/**:*", "-/admin/keys:*"],
        "networks": ["10.0.0.0/8"],
    },
    {"name": "secret", "subject": [["role=reader"]], "permissions": ["-/data/secret/**:*"]},
]
GROUPS = [{"name": "boss", "subject": [["username=eve"]]}]


class PolicyCase(CommandCase):
    """A configuration with a policy, and files beside it."""

    def config(self, **over: Any) -> str:
        return self.file(policy={"rules": RULES, "groups": GROUPS, **over})

    def write(self, name: str, content: Any) -> str:
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return str(path)

    def policy(self, *words: str) -> Result:
        return self.run_command("policy", *words)


class CheckTests(PolicyCase):
    """C{authotron policy check}."""

    def test_good(self) -> None:
        """Good files are counted."""
        first = self.write("a.yaml", {"rules": RULES})
        result = self.policy("check", first, self.write("b.yaml", {"groups": GROUPS}))
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        self.assertEqual(result.stdout, "The rules are good: 3 rules, 1 groups.\n")

    def test_problems(self) -> None:
        """All problems of all files are printed with file and line."""
        first = self.write("a.yaml", {"rules": [{**RULES[0], "permissions": ["/x", "--/y:GET"]}]})
        result = self.policy("check", first, str(self.folder / "none.yaml"))
        self.assertEqual(result.exit_code, 78)
        for expected in ("permissions[0]: the permission has no colon", "(", "none.yaml: cannot"):
            self.assertIn(expected, result.stderr)

    def test_groups_in_the_store(self) -> None:
        """A configuration whose other groups are in a token store misses none."""
        rules = [{**RULES[0], "subject": [["@group:name=elsewhere"]]}]
        for store, number in ((True, 0), (False, 1)):
            path = self.write("config.yaml", {"policy": {"store": store, "rules": rules}})
            result = self.policy("check", "--json", path)
            self.assertEqual(len(json.loads(result.stdout)["warnings"]), number)

    def test_without_effect(self) -> None:
        """Shadowed, denied and unknown things are warnings."""
        rules = [
            {"name": "wide", "subject": [["role=a"]], "permissions": ["/a/**:*", "-/a/x/**:*"]},
            {"name": "narrow", "subject": [["role=a", "x=y"]], "permissions": ["/a/b:GET"]},
            {"name": "hidden", "subject": [["role=a"]], "permissions": ["/a/x/y:GET"]},
            {"name": "equal", "subject": [["role=a"]], "permissions": ["/a/**:*"]},
            {"name": "later", "subject": [["role=b"]], "permissions": ["/a/b:GET"]},
            {
                "name": "typo",
                "subject": [["@group:name=bos"]],
                "permissions": ["admin:GET"],
            },
        ]
        path = self.write("a.yaml", {"rules": rules})
        result = self.policy("check", "--strict", "--json", path)
        superfluous = "allows nothing that rule 'wide' does not allow"
        self.assertEqual(result.exit_code, 1)
        self.assertEqual(
            json.loads(result.stdout)["warnings"],
            [
                "policy: rule 'typo' refers to @group:name=bos, which does not exist",
                (
                    "policy: permission 'admin:GET' of rule 'typo' "
                    "begins with no slash, so no path is meant; write /admin"
                ),
                f"permission '/a/b:GET' of rule 'narrow' {superfluous}",
                (
                    "permission '/a/x/y:GET' of rule 'hidden' "
                    "never allows anything, because rule 'wide' denies it"
                ),
                f"permission '/a/**:*' of rule 'equal' {superfluous}",
            ],
        )

    def test_limited_rules(self) -> None:
        """A rule that counts at some times or places only makes no other rule superfluous."""
        rules = [
            {
                "name": "wide",
                "subject": [["role=a"]],
                "permissions": ["/a/**:*"],
                "networks": ["10.0.0.0/8"],
            },
            {"name": "narrow", "subject": [["role=a"]], "permissions": ["/a/b:GET"]},
        ]
        result = self.policy("check", "--strict", self.write("a.yaml", {"rules": rules}))
        self.assertEqual((result.exit_code, result.stderr), (0, ""))

    def test_whole_configuration(self) -> None:
        """Of a configuration the section C{policy} is checked, with the files that it names."""
        more = [{"name": "more", "subject": [["role=a"]], "permissions": ["/b:GET"]}]
        named = self.write("more.yaml", {"rules": more})
        policy = {"rules": RULES, "groups": GROUPS, "files": ["m*.yaml"]}
        config = self.file(policy=policy)
        for words in ((config,), (config, named), (named, config)):
            result = self.policy("check", *words)
            self.assertEqual((result.exit_code, result.stderr), (0, ""))
            self.assertEqual(result.stdout, "The rules are good: 4 rules, 1 groups.\n")

    def test_problems_of_a_configuration(self) -> None:
        """Problems of the section are printed with path, file and line; no other key is unknown."""
        rules = [RULES[0], RULES[0], {**RULES[1], "permissions": ["/x"]}]
        config = self.file(policy={"rules": rules[:2], "files": ["n.yaml"]})
        result = self.policy("check", config)
        self.assertEqual(result.exit_code, 78)
        self.assertIn("policy.rules[1].name: another one of the rules has the same", result.stderr)
        self.assertIn(f"({config}:", result.stderr)
        self.assertIn("n.yaml: cannot be read", result.stderr)
        self.assertIn("(policy.files names it)", result.stderr)
        result = self.policy("check", str(self.folder / "none.yaml"))
        self.assertIn("(check the name of the file)", result.stderr)
        self.assertNotIn("unknown", result.stderr)
        result = self.policy("check", self.file(policy={"rules": rules[2:], "typo": 1}))
        self.assertIn("policy.rules[0].permissions[0]: the permission has no", result.stderr)
        self.assertIn("policy: unknown key", result.stderr)

    def test_configuration_without_policy(self) -> None:
        """A configuration without the section has no rules, which is a problem."""
        result = self.policy("check", self.file())
        self.assertEqual(result.exit_code, 78)
        self.assertIn("is a configuration without the section policy", result.stderr)

    def test_file_of_rules_is_no_configuration(self) -> None:
        """A file that C{policy.files} names has rules and groups alone."""
        self.write("inner.yaml", {"policy": {"rules": RULES}})
        result = self.policy("check", self.file(policy={"files": ["inner.yaml"]}))
        self.assertEqual(result.exit_code, 78)
        self.assertIn("unknown key", result.stderr)


class TestTests(PolicyCase):
    """C{authotron policy test}."""

    def tests(self, *tests: dict[str, Any]) -> Result:
        path = self.write("tests.yaml", {"tests": [*tests]})
        return self.policy("test", "--config", self.config(), path)

    def test_as_expected(self) -> None:
        """Tests whose rulings are as expected pass."""
        reader = {"claims": ["role=reader"]}
        result = self.tests(
            {**reader, "request": {"path": "/data/x"}, "expect": "allow", "rule": "read"},
            {**reader, "request": {"path": "/data/x", "method": "PUT"}, "expect": "deny"},
            {
                **reader,
                "request": {"path": "/data/%73ecret/"},
                "expect": "deny",
                "reason": "denied-by-policy",
                "rule": "secret",
            },
            {
                "claims": ["username=eve"],
                "request": {"path": "/admin", "address": "10.0.0.1"},
                "expect": "allow",
            },
            {**reader, "request": {"path": "/data//x"}, "expect": "deny"},
        )
        self.assertEqual((result.exit_code, result.stdout), (0, "5 of 5 tests passed\n"))

    def test_login(self) -> None:
        """A test states how long ago, and how strong, the login of its client was."""
        rule = {"acr": ["gold"], "max_age": "5m"}
        rules = [{**RULES[0], "name": "admin", "permissions": ["/**:*"], "require": rule}]
        asked = {"claims": ["role=reader"], "request": {"path": "/admin"}}
        path = self.write(
            "tests.yaml",
            {
                "tests": [
                    {**asked, "login": {"acr": "gold", "age": "5m"}, "expect": "allow"},
                    {**asked, "login": {"acr": "gold", "age": 301}, "expect": "deny"},
                    {**asked, "login": {"acr": "gold"}, "expect": "deny"},
                    {
                        **asked,
                        "expect": "deny",
                        "reason": "insufficient-user-authentication",
                        "rule": "admin",
                    },
                ]
            },
        )
        result = self.policy("test", "--config", self.config(rules=rules), path)
        self.assertEqual((result.exit_code, result.stdout), (0, "4 of 4 tests passed\n"))

    def test_different(self) -> None:
        """Tests whose rulings are otherwise are printed with what was found."""
        result = self.tests(
            {
                "name": "eve at home",
                "claims": ["username=eve"],
                "request": {"path": "/admin"},
                "expect": "allow",
            },
            {
                "claims": ["role=reader"],
                "request": {"path": "/data/x"},
                "expect": "deny",
                "reason": "network",
            },
        )
        self.assertEqual(result.exit_code, 1)
        self.assertEqual(
            result.stdout.splitlines(),
            [
                "eve at home: expected allow, got deny (network)",
                (
                    "role=reader: GET /data/x: expected deny (network), "
                    "got allow (allowed) by rule read"
                ),
                "0 of 2 tests passed",
            ],
        )

    def test_problems(self) -> None:
        """A file that is not one of tests is refused with 78."""
        result = self.tests({"claims": ["reader"], "request": {}, "expect": "yes"})
        self.assertEqual(result.exit_code, 78)
        for expected in ("tests[0].claims[0]: the tag has no `=`", "path: is missing", "expect: "):
            self.assertIn(expected, result.stderr)

    def test_no_tests(self) -> None:
        """A file without any test is a mistake, not a success."""
        result = self.tests()
        self.assertEqual(result.exit_code, 78)
        self.assertIn("tests: is empty, so nothing would be tested; write at least", result.stderr)

    def test_no_policy(self) -> None:
        """Without a policy there is nothing to test."""
        result = self.policy("test", "--config", self.file(), self.write("t.yaml", {"tests": []}))
        self.assertEqual(result.exit_code, 78)
        self.assertIn("has no such section, so every identity may", result.stderr)


class OtherCommandTests(PolicyCase):
    """What other commands say of a policy."""

    def test_check(self) -> None:
        """C{authotron check} says what the policy does."""
        result = self.run_command("check", self.config())
        self.assertIn("policy:    mode enforce, default deny, rules 3, groups 1\n", result.stdout)
        found = json.loads(self.run_command("check", "--json", self.file()).stdout)
        self.assertIsNone(found["policy"])


class AskTests(PolicyCase):
    """C{authotron policy who-can} and C{what-can}."""

    def test_who_can(self) -> None:
        """The rules about a request are listed, those that deny first."""
        result = self.policy("who-can", "DELETE", "/admin/keys/", "--config", self.config())
        whom = "realm=internal and role=ops or @group:name=boss"
        self.assertEqual(
            result.stdout.splitlines(),
            [
                f"deny   {whom}, if networks fit  (admin: -/admin/keys:*)",
                f"allow  {whom}, if networks fit  (admin: /admin/**:*)",
                "all others: deny",
            ],
        )

    def test_what_can(self) -> None:
        """What an identity may do is listed, what it may not do first."""
        result = self.policy("what-can", "role=reader", "--config", self.config())
        self.assertEqual(
            result.stdout.splitlines(),
            [
                "-/data/secret/**:*  (secret)",
                "/data/**:GET,HEAD  (read)",
                "all other requests: deny",
            ],
        )

    def test_groups(self) -> None:
        """What the groups of an identity may do is listed, too."""
        result = self.policy("what-can", "username=eve", "--json", "--config", self.config())
        found = json.loads(result.stdout)["permissions"]
        self.assertEqual([each["permission"] for each in found], ["-/admin/keys:*", "/admin/**:*"])
        self.assertEqual(found[0]["limits"], ["networks"])

    def test_bad_arguments(self) -> None:
        """Malformed claims, paths and namespaces are refused with 2."""
        config = self.config()
        for words in (
            ("what-can", "reader"),
            ("who-can", "GET", "/a//b"),
            ("who-can", "get", "/a"),
            ("who-can", "GET", "/a", "--namespace", "data/"),
        ):
            result = self.policy(*words, "--config", config)
            self.assertEqual(result.exit_code, 2, result.output)
