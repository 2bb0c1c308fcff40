"""Every problem of a configuration is reported at once, each with its path."""

from __future__ import annotations

import yaml

from tests.config.cases import BASE, ConfigCase, laid_over

JWT = {"type": "jwt", "name": "j", "realm": "j", "cert_uri": "https://x"}


LDAP = {"type": "ldap", "name": "l", "realm": "l", "uri": "ldap://localhost", "search_base": "o=x"}


class ProblemsTests(ConfigCase):
    """Each problem is one line with its path."""

    def test_unknown_key_has_a_suggestion_T78(self) -> None:
        """The problem of an unknown key has a suggestion, at any depth."""
        self.assertIn("did you mean 'exp'", self.problem(jwt={"expp": 5}))
        self.assertEqual(
            self.problem(loging={"level": "info"}), "loging: unknown key; did you mean 'logging'?"
        )
        self.assertEqual(
            self.problem(auth={"cache": {"tll": 5}}),
            "auth.cache.tll: unknown key; did you mean 'ttl'?",
        )

    def test_unknown_key_of_a_provider_has_a_suggestion_T78(self) -> None:
        """The problem of an unknown key in a list of providers has a suggestion."""
        provider = {**BASE["providers"][0], "user": []}
        self.assertEqual(
            self.problem(providers=[provider]),
            "providers[0].user: unknown key; did you mean 'users'?",
        )

    def test_unknown_key_is_not_repeated_T91e(self) -> None:
        """An unknown key is not repeated in a problem, as it may be a secret."""
        user = {"username": "alice", "password": "x"}
        plain = BASE["providers"][0]
        for over, path in (
            ({"CANARY": None}, "unknown key, number"),
            ({"jwt": {"secret CANARY": None}}, "jwt: unknown key, number"),
            ({"jwt": {"secret:CANARY": None}}, "jwt: unknown key, number"),
            ({"jwt": {"secretCANARY": "x"}}, "jwt: unknown key, number"),
            ({"jwt": {"CANARY": {"deep": "CANARY"}}}, "jwt: unknown key, number"),
            ({"providers": [{**plain, "CANARY1": 1}]}, "providers[0]: unknown key, number"),
            (
                {"providers": [{**plain, "users": [{**user, "CANARY-2": 1}]}]},
                "providers[0].users[0]",
            ),
            ({"providers": [{**plain, "users": ["CANARY"]}]}, "providers[0].users[0]: must be"),
            (
                {"providers": [{**plain, "users": [{**user, "password": ["CANARY"]}]}]},
                ".password: m",
            ),
            (
                {"providers": [{**plain, "users": [{**user, "password": {"CANARY": 1}}]}]},
                "password",
            ),
            ({"providers": ["CANARY"]}, "providers[0]: must be a mapping"),
            ({"providers": [{**plain, "type": "CANARY"}]}, "providers[0].type: is not a type of"),
            ({"version": "CANARY"}, "version: is unknown"),
            ({"store": {"type": "sqlite", "path": "x", "pepper CANARY": ""}}, "store: unknown key"),
            ({"logging": {"level": "CANARY"}}, "logging.level: must be one of"),
            ({"server": {"port": "CANARY"}}, "server.port"),
            ({"server": "CANARY"}, "server: must be a mapping"),
            (
                {"server": {"port": ..., "listen": ["CANARY"]}},
                "server.listen[0]: is not an endpoint",
            ),
            ({"providers": [{**JWT, "algorithms": ["CANARY"]}]}, "algorithms[0] is not one of"),
            ({"providers": [{**LDAP, "uri": "ldap://a:CANARY@x"}]}, "uri[0]: must have only"),
            ({"providers": [{**LDAP, "uri": "x://a:CANARY@x"}]}, "uri[0]: is not the address"),
            ({"providers": [{**JWT, "cert_uri": "https://a:CANARY@x"}]}, "cert_uri: must not hold"),
            ({"store": {"type": "mongo", "uri": "x://a:CANARY@x", "database": "d"}}, "store.uri: "),
        ):
            with self.subTest(over=str(over)):
                told = "\n".join(self.problems(laid_over(BASE, over)))
                self.assertNotIn("CANARY", told)
                self.assertIn(path, told)

    def test_key_that_is_not_a_string_is_not_repeated_T91e(self) -> None:
        """Keys that are not strings are problems, and are not repeated."""
        for text in ("1234567: x", "? [1234567]\n: x", "1234567.5: x", "2024-01-01: x", "null: x"):
            told = "\n".join(self.problems(f"{yaml.safe_dump(BASE)}\n{text}\n"))
            self.assertNotIn("1234567", told)
            nested = f"{yaml.safe_dump(laid_over(BASE, {'jwt': ...}))}\njwt: {{{text}}}\n"
            if not text.startswith("?"):
                self.assertNotIn("1234567", "\n".join(self.problems(nested)))

    def test_chosen_key_appears_as_a_number_T91e(self) -> None:
        """Keys that the operator chooses appear as numbers in problems."""
        entry = {"token": "t" * 40, "username": "u", "attributes": {"mail": "m", "CANARY": None}}
        tokens = {"type": "static-token", "name": "s", "realm": "s", "tokens": [entry]}
        problem, *_ = self.problems(laid_over(BASE, {"providers": [tokens]}))
        self.assertEqual(
            problem, "providers[0].tokens[0].attributes.#1: must be a string; put it in quotes"
        )

    def test_slips_are_shown_T78f(self) -> None:
        """
        A slip of a known key is repeated with a suggestion; a known key with a long tail is
        not repeated.
        """
        for key, shown in (
            ("secrt", True), ("scret", True), ("secrets", True), ("Secret", True),
            ("audience", True), ("password", False),
            ("secret_fil", True), ("secretfile", True), ("isss42", False), ("secret1", False),
            ("secretary-of-state", False), ("secret_of_mine", False),
            ("hunter", False), ("correct-horse", False), ("expelliarmus", False),
        ):  # fmt: skip
            told = "\n".join(self.problems(laid_over(BASE, {"jwt": {key: "x"}})))
            self.assertEqual(f"jwt.{key}: unknown key" in told, shown, told)
            self.assertEqual(key in told, shown, told)

    def test_variables_are_not_repeated_T91e(self) -> None:
        """The names and values of environment variables are not shown."""
        for name, value in (
            ("AOT_JWT__SECRET_CANARY", "x"),
            ("AOT_JWT__CANARY", "x"),
            ("AOT_SERVER__PORT", "CANARY"),
            ("AOT_JWT", "CANARY"),
            ("AOT_JWT", '{"CANARY": 1}'),
            ("AOT_PROVIDERS", "[CANARY]"),
            ("AOT_VERSION", "CANARY"),
        ):
            with self.subTest(name):
                self.assertNotIn("CANARY", "\n".join(self.problems(BASE, **{name: value})))
        found = self.load(BASE, AOT_CANARY__X="CANARY")
        self.assertEqual(found.warnings, ["a variable that begins with AOT_ is ignored"])

    def test_unknown_type_lists_known_types(self) -> None:
        """The problem of an unknown type lists the known types."""
        problem = self.problem(providers=[{"type": "plane", "name": "a", "realm": "b"}])
        self.assertIn("providers[0].type", problem)
        self.assertIn("did you mean 'plain'", problem)

    def test_missing_pepper_is_reported_with_other_problems(self) -> None:
        """A missing pepper is reported together with other problems."""
        key = {"alg": "ES256", "key_file": "key.pem", "secret": ...}
        store = {"type": "redis"}
        over = {"jwt": key, "store": store, "providers": [{"type": "plain"}]}
        problems = self.problems(laid_over(BASE, over))
        self.assertEqual(problems[-1].partition(":")[0], "store.pepper")
        self.assertGreater(len(problems), 1)

    def test_all_problems_are_reported_at_once(self) -> None:
        """All problems are reported at once."""
        content = laid_over(
            BASE,
            {
                "server": {"port": 99999},
                "jwt": {"exp": 1.5},
                "logging": {"level": "loud"},
                "providers": [{"type": "magic"}, {"type": "plain", "name": "x"}, 5],
            },
        )
        found = self.problems(content)
        for path in (
            "server.port",
            "jwt.exp",
            "logging.level",
            "providers[0].type",
            "providers[1].realm",
            "providers[1].users",
            "providers[2]",
        ):
            with self.subTest(path):
                self.assertTrue(any(line.startswith(f"{path}: ") for line in found), found)

    def test_problem_names_key_and_reason(self) -> None:
        """Each problem names the key and the reason."""
        for over, part in (
            ({"metrics": {"port": 8080}}, "same port"),
            ({"logging": {"level": "loud"}}, "trace"),
            ({"auth": {"cache": {"ttl": "soon"}}}, "auth.cache.ttl: is not a duration"),
            ({"auth": {"timeout_in_ms": -1}}, "auth.timeout_in_ms"),
            ({"server": {"host": "not a host"}}, "server.host"),
            ({"server": {"port": "8080"}}, "server.port"),
            (
                {"server": {"host": ..., "port": ..., "listen": ["unx:/x"]}},
                "server.listen[0]: is no",
            ),
            ({"metrics": {"listen": ["tcp:x"]}}, "metrics.listen[0]: is not an endpoint"),
            (
                {"metrics": {"listen": [f"ssl:1:privateKey={__file__}"]}},
                "a certificate and its key",
            ),
            ({"server": {"port": True}}, "server.port"),
            ({"jwt": {"alg": "none"}}, "jwt.alg: must be one of 'HS256', "),
            ({"auth": {"cache": {"ttl": float("inf")}}}, "auth.cache.ttl"),
            ({"auth": {"timeout_in_ms": 10**400}}, "auth.timeout_in_ms"),
            ({"jwt": {"exp": 10**400}}, "jwt.exp"),
            ({"jwt": {"exp": 0}}, "jwt.exp: must be at least 1"),
            ({"jwt": {"alg": "ES256"}}, "key_file"),
            ({"services": [{"name": "x", "scopes": [5]}]}, "services[0].scopes[0]"),
            ({"store": {"enabled": True, "type": "papyrus"}}, "store.type"),
            ({"providers": {}}, "providers: must be a list"),
            ({"include_legacy_headers": "perhaps"}, "true or false"),
        ):
            with self.subTest(part):
                self.assertIn(part, self.problem(**over))

    def test_string_is_not_a_list(self) -> None:
        """A string is not accepted as a list of characters."""
        provider = laid_over(BASE["providers"][0], {})
        provider["users"] = [{"username": "a", "password": "b", "roles": "admin"}]
        self.assertEqual(
            self.problem(providers=[provider]), "providers[0].users[0].roles: must be a list"
        )

    def test_empty_item_is_a_problem(self) -> None:
        """An empty item of a list is a problem."""
        token = {"token": "t" * 32, "username": "a", "roles": ["x", " "]}
        provider = {"type": "static-token", "name": "machines", "realm": "here", "tokens": [token]}
        problems = self.problems(laid_over(BASE, {"providers": [provider]}))
        self.assertIn("providers[0].tokens[0].roles[1]: must not be empty", problems)

    def test_reserved_provider_name_is_a_problem(self) -> None:
        """A provider's name must not begin as those of imported owners do."""
        name = "imported:acl-proxy"
        provider = laid_over(BASE["providers"][0], {"name": name})
        told = "providers[0].name: must not begin with imported:"
        self.assertEqual(self.problem(providers=[provider]), told)

    def test_duplicate_provider_name_is_a_warning_O_VALUE(self) -> None:
        """Two providers may have the same name, as in auth-o-tron; C{check} warns."""
        found = self.changed(providers=BASE["providers"] * 2)
        self.assertEqual([each.name for each in found.providers], ["staff", "staff"])
        self.assertIn("providers[1].name: duplicate name 'staff' (also of providers[0])",
                      "\n".join(found.warnings))  # fmt: skip

    def test_values_that_auth_o_tron_accepts_O_VALUE(self) -> None:
        """Levels and formats are read in any case, and an unknown format is C{console}."""
        for level, form, meant in (
            (" Info", "JSON", ("info", "json")),
            ("WARN\n", "Console", ("warn", "console")),
            ("debug", "pretty", ("debug", "console")),
            ("error", "", ("error", "console")),
        ):
            found = self.changed(logging={"level": level, "format": form})
            self.assertEqual((found.file.logging.level, found.file.logging.format), meant)
            is_odd = form.lower() not in ("json", "console")
            self.assertEqual("logging.format" in str(found.warnings), is_odd)

    def test_values_that_have_no_effect_O_VALUE(self) -> None:
        """What auth-o-tron accepts and authotron ignores may be empty or zero."""
        found = self.changed(
            services=[{"name": "", "scopes": [""]}],
            metrics={"enabled": False, "port": 0},
            jwt={"aud": " "},
        )
        self.assertIsNone(found.file.jwt.aud)
        self.assertIn("metrics.port: must be at least 1", self.problem(metrics={"port": 0}))

    def test_odd_timeouts_are_warnings_O_VALUE(self) -> None:
        """A timeout of 0 and one of more than an hour are accepted, as in auth-o-tron."""
        for timeout, meant in ((0, 0), (86_400_000, 3_600_000), (2**64 - 1, 3_600_000)):
            found = self.changed(auth={"timeout_in_ms": timeout})
            self.assertEqual(found.file.auth.timeout_in_ms, meant)
            self.assertIn("auth.timeout_in_ms", str(found.warnings))

    def test_extension_keys_hold_anchors_O_YAML(self) -> None:
        """A top-level key that begins with C{x-} is ignored, so that it may hold anchors."""
        text = yaml.safe_dump(laid_over(BASE, {"jwt": {"iss": ...}}))
        found = self.load(f"x-issuer: &issuer us\n{text}".replace("jwt:", "jwt:\n  iss: *issuer"))
        self.assertEqual(found.file.jwt.iss, "us")

    def test_no_problem_repeats_a_secret_T77(self) -> None:
        """No problem repeats a secret."""
        provider = laid_over(
            BASE["providers"][0], {"users": [{"password": "CANARY", "x": "CANARY"}]}
        )
        text = "\n".join(
            self.problems(laid_over(BASE, {"jwt": {"secret": "CANARY"}, "providers": [provider]}))
        )
        self.assertNotIn("CANARY", text)
