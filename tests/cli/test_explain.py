"""C{authotron explain} reports log events of the authentication, and who was not asked."""

from __future__ import annotations

import contextlib
import io
import json
from base64 import b64encode
from typing import Any

from click.testing import Result
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from authotron.cli import explain
from authotron.cli.not_asked import why_not_asked
from authotron.cli.policy_request import Stated
from authotron.config import check
from authotron.daemon.compose import compose
from authotron.gateway import credentials
from authotron.gateway.authentication import Authenticator
from authotron.model.authentication import Authentication
from authotron.model.errors import (
    BadCredentials,
    BadIdentity,
    NotConfigured,
    Rejected,
    TimedOut,
    Unavailable,
)
from authotron.model.identity import Credential, Identity
from authotron.model.request import Presented
from authotron.model.token import Grant
from authotron.policy.rules import Request
from authotron.telemetry.metrics import Metrics
from authotron.testing.issuers import IDP
from authotron.testing.worlds import world
from tests.cli.cases import CommandCase
from tests.config.cases import BASE
from tests.mtls.issuing import pem, root


def printed(report: explain.Report, **event: object) -> str:
    told: LogEvent = {"log_format": "it happened", "log_level": LogLevel.debug, **event}
    with contextlib.redirect_stdout(io.StringIO()) as output:
        report(told)
    return output.getvalue()


class EventsTests(SynchronousTestCase):
    """Each log event becomes one line."""

    def test_prints_authentication_events_of_any_module_D7(self) -> None:
        """Events of the authentication are printed, whichever module logs them."""
        for name in ("auth.provider.refused", "auth.provider.broken", "augmenters.augmenter.added"):
            shown = printed(explain.Report(), event=name, log_namespace="elsewhere")
            self.assertIn("it happened", shown)

    def test_hides_other_events_D7(self) -> None:
        """Other events are not printed, even if the authenticator's module logs them."""
        report = explain.Report()
        self.assertEqual(printed(report, event="startup.server.listening"), "")
        self.assertEqual(printed(report, log_namespace="authotron.gateway.authentication"), "")


class VerdictTests(SynchronousTestCase):
    """What the authorizer says about a request."""

    def test_verdicts(self) -> None:
        """Anything but an allow is a refusal, with the reason."""
        for verdict, outage, denied in (
            (True, "", None),
            (False, "", "authorizer pdp denies the request"),
            (None, "timed out", "authorizer pdp is unavailable: timed out"),
        ):
            report = explain.Report(prints=False)
            report.note_verdict("pdp", verdict, outage)
            self.assertEqual(report.as_json()["denied"], denied)
            self.assertEqual(report.is_allowed, denied is None)


class JsonTests(SynchronousTestCase):
    """The report as JSON."""

    def report(self) -> explain.Report:
        return explain.Report(prints=False)

    def test_proxies_H_PROXY(self) -> None:
        """The HTTP proxy of each remote is printed, and stands in the JSON."""
        fields = {"remote": "https://sso.example", "proxy": "proxy.example:3128"}
        shown = printed(explain.Report(), event="remote.request.proxied", **fields)
        self.assertIn("it happened", shown)
        report = self.report()
        printed(report, event="remote.request.proxied", **fields)
        self.assertEqual(report.as_json()["proxies"], {"https://sso.example": "proxy.example:3128"})

    def test_prints_nothing_before_the_end(self) -> None:
        """With C{--json} no line is printed on the way."""
        self.assertEqual(printed(self.report(), event="auth.provider.refused"), "")

    def test_providers_and_augmenters(self) -> None:
        """Each provider and augmenter that was asked stands with its result and reason."""
        report = self.report()
        printed(
            report, event="auth.provider.refused", provider="a", because=", no", milliseconds=1.5
        )
        printed(
            report, event="augmenters.augmenter.added", augmenter="b", roles=["x"], attributes={}
        )
        printed(
            report, event="auth.augmenter.failed", augmenter_name="c", error="connection refused"
        )
        found = report.as_json()
        failed = found["augmenters"][1]
        self.assertEqual((failed["name"], failed["reason"]), ("c", "connection refused"))
        self.assertEqual(
            found["providers"],
            [
                {
                    "name": "a",
                    "asked": True,
                    "result": "refused",
                    "reason": "no",
                    "milliseconds": 1.5,
                }
            ],
        )
        self.assertEqual(found["augmenters"][0]["roles"], ["x"])

    def test_outcomes(self) -> None:
        """Every end of an authentication has a name and a reason, and no name of a class."""
        for error, outcome in (
            (BadCredentials("not a scheme and a value"), "malformed"),
            (BadIdentity("too large"), "identity refused"),
            (Rejected("wrong"), "rejected"),
            (Unavailable("away"), "unavailable"),
            (TimedOut("late"), "unavailable"),
            (NotConfigured("no"), "unavailable"),
        ):
            with self.subTest(outcome):
                report = self.report()
                report.end(error)
                found = report.as_json()
                self.assertFalse(found["accepted"])
                self.assertEqual(found["outcome"], outcome)
                self.assertIn(str(error), found["reason"])

    def test_malformed_header_says_what_is_expected(self) -> None:
        """For a malformed header the report says what a header looks like."""
        report = self.report()
        report.end(BadCredentials("not a scheme and a value"))
        self.assertIn("`Basic ...` or `Bearer ...`", report.as_json()["reason"])

    def test_accepted(self) -> None:
        """An accepted credential ends with the claims."""
        report = self.report()
        report.accept({"sub": "r-alice"})
        found = report.as_json()
        self.assertEqual((found["outcome"], found["reason"]), ("accepted", None))
        self.assertEqual(found["claims"], {"sub": "r-alice"})

    def test_conditions(self) -> None:
        """The report names the hosts and networks for which an API token is valid."""
        for grant, expected in (
            (Grant(hosts=("*.example.org",)), ["only for hosts *.example.org"]),
            (
                Grant(hosts=("a", "b"), networks=("192.0.2.0/24",)),
                ["only for hosts a, b and only from networks 192.0.2.0/24"],
            ),
        ):
            report = self.report()
            report.list_conditions(Authentication(Identity("r", "alice"), conditions=(grant,)))
            self.assertEqual(report.as_json()["conditions"], expected)


class NotAskedTests(SynchronousTestCase):
    """Why a provider was not asked."""

    def authenticator(self, *providers: dict[str, Any], **over: Any) -> Authenticator:
        given = {**BASE, **over, "providers": [*BASE["providers"], *providers]}
        return compose(check.check(given), world(), Metrics()).authenticator

    def reasons(
        self, authenticator: Authenticator, header: str, realm: str | None = None
    ) -> dict[str, str]:
        parsed = credentials.parse(header)
        report = explain.Report(prints=False)
        report.list_not_asked(authenticator, parsed, realm)
        return {row["name"]: row["reason"] for row in report.as_json()["providers"]}

    def bearer(self, name: str, **keys: Any) -> dict[str, Any]:
        shared = {"type": "jwt", "name": name, "realm": "sso", "secret": "s" * 32}
        return {**shared, **keys}

    def test_other_scheme(self) -> None:
        """A provider of another scheme is not asked."""
        found = self.reasons(self.authenticator(), "Bearer opaque")
        self.assertEqual(found["staff"], "the provider accepts basic, but the client sent bearer")

    def test_other_realm_names_the_realms(self) -> None:
        """A provider of another realm is not asked; the reason lists the realms."""
        found = self.reasons(self.authenticator(self.bearer("sso")), "Basic YTpi", "nope")
        self.assertEqual(
            found["staff"],
            "the client asks for realm nope, but the provider has realm internal; "
            "the configured realms are internal, sso",
        )

    def test_token_of_another_issuer(self) -> None:
        """A provider whose issuer did not sign the token is not asked, nor one less specific."""
        authenticator = self.authenticator(
            self.bearer("other", issuer="https://other.example"),
            self.bearer("named", issuer="https://idp.example/realms/x"),
            self.bearer("any"),
        )
        token = IDP.sign({"iss": "https://idp.example/realms/x"})
        found = self.reasons(authenticator, f"Bearer {token}")
        self.assertIn("the token names provider named", found["other"])
        self.assertIn("the token names provider named", found["any"])
        found = self.reasons(authenticator, "Bearer opaque")
        self.assertIn("not of the issuer, prefix or shape", found["other"])

    def test_api_token(self) -> None:
        """An API token is shown to the token store alone."""
        authenticator = self.authenticator(self.bearer("sso"), store={"type": "memory"})
        found = self.reasons(authenticator, "Bearer aot_" + "0" * 60)
        self.assertIn("only the token store knows", found["sso"])

    def test_earlier_provider_accepted(self) -> None:
        """A provider is not asked if another one accepted the credential before."""
        authenticator = self.authenticator()
        [provider] = authenticator.providers
        reason = why_not_asked(provider, authenticator, [Credential("basic", "YTpi")], None)
        self.assertIn("another provider has accepted", reason)

    def test_asked_providers_are_not_listed(self) -> None:
        """A provider that was asked is not listed as not asked."""
        authenticator = self.authenticator()
        report = explain.Report(prints=False)
        printed(report, event="auth.provider.success", provider="staff")
        report.list_not_asked(authenticator, [Credential("basic", "YTpi")], None)
        self.assertEqual([row["asked"] for row in report.as_json()["providers"]], [True])

    def test_identify_with_a_report(self) -> None:
        """An authentication lists who was asked first, then who was not."""
        gateway = compose(
            check.check({**BASE, "providers": [*BASE["providers"], self.bearer("sso")]}),
            world(),
            Metrics(),
        )
        report = explain.Report(prints=False)
        with contextlib.redirect_stdout(io.StringIO()):
            presented = Presented(b"Basic " + b64encode(b"alice:wonder"))
            parsed = explain._parse(presented, gateway, report)
            work = explain._authenticate(gateway, parsed, None, report)
            self.successResultOf(Deferred.fromCoroutine(work))
        self.assertEqual(
            [row["name"] for row in report.as_json()["providers"] if not row["asked"]][-1], "sso"
        )


class ClaimsTests(SynchronousTestCase):
    """Claims for policies, and attributes that become none."""

    def test_listed(self) -> None:
        """Claims are listed, and each attribute that becomes no claim with the reason."""
        report = explain.Report()
        left_out = {"@group:name": "reserved", "role": "own", "a=b": "malformed", "e": "empty"}
        with contextlib.redirect_stdout(io.StringIO()) as output:
            report.list_policy_claims(["realm=internal", "username=alice"], left_out)
        lines = output.getvalue().splitlines()
        self.assertEqual(lines[1:3], ["  realm=internal", "  username=alice"])
        self.assertIn("attribute '@group:name' is no claim: only the gateway sets", lines[3])
        self.assertEqual(len(lines), 7)
        self.assertEqual(report.as_json()["not_claims"], left_out)
        self.assertEqual(report.as_json()["policy_claims"], ["realm=internal", "username=alice"])

    def test_none(self) -> None:
        """Without policies there is no list."""
        report = explain.Report(prints=False)
        self.assertIsNone(report.as_json()["policy_claims"])
        self.assertIsNone(report.as_json()["not_claims"])


class ArgumentsTests(CommandCase):
    """The arguments of C{authotron explain}."""

    def test_user_and_source_exclude_each_other(self) -> None:
        """C{--user} with a file is an invalid command line."""
        source = self.folder / "header"
        source.write_text("Basic YTpi")
        words = ("explain", "-c", self.file(), "--user", "alice", str(source))
        self.assertEqual(self.run_command(*words).exit_code, 2)

    def test_colon_in_the_user_name(self) -> None:
        """A user name with a colon cannot be sent by Basic, so it is an invalid command line."""
        result = self.run_command("explain", "-c", self.file(), "--user", "a:b", text="x")
        self.assertEqual(result.exit_code, 2)
        self.assertIn("colon", result.output)


class CarrierTests(CommandCase):
    """Credentials in other parts of a request than C{Authorization}."""

    KEY = "k" * 40
    credentials: Any = (
        {"header": "X-API-Key"},
        {"cookie": "__Host-s"},
        {"query": "t"},
        {"basic": "password"},
    )

    def over(self) -> dict[str, Any]:
        provider = {
            "type": "static-token",
            "name": "keys",
            "realm": "machines",
            "tokens": [{"token": self.KEY, "username": "robot"}],
            "credentials": [*self.credentials],
        }
        return {"providers": [*BASE["providers"], provider]}

    def explain(self, text: str, **options: str) -> tuple[explain.Report, str]:
        """Return the report, and what is printed."""
        config = check.check({**BASE, **self.over()})
        gateway, report = compose(config, world(), Metrics()), explain.Report()
        present = explain._presenter(config, options, None)
        globalLogPublisher.addObserver(report)
        self.addCleanup(globalLogPublisher.removeObserver, report)
        with contextlib.redirect_stdout(io.StringIO()) as output:
            parsed = explain._parse(present(text, gateway.carriers), gateway, report)
            work = Deferred.fromCoroutine(explain._authenticate(gateway, parsed, None, report))
            work.addErrback(lambda failure: failure.trap(Rejected) and None)
            found = self.successResultOf(work)
        report.accepted = found is not None and found.identity.username == "robot"
        return report, output.getvalue()

    def test_each(self) -> None:
        """An option says which part of the request carries the credential."""
        for options, carrier in (
            ({"header": "x-api-KEY"}, "header x-api-key"),
            ({"cookie": "__Host-s"}, "cookie __Host-s"),
            ({"query": "t"}, "query t"),
        ):
            report, output = self.explain(self.KEY, **options)
            self.assertTrue(report.accepted)
            self.assertIn(f"bearer, 40 characters, in {carrier}", output)
            self.assertEqual(report.credentials[0]["in"], carrier)

    def test_half(self) -> None:
        """A token as password is shown beside the Basic credential."""
        text = "Basic " + b64encode(f"git:{self.KEY}".encode()).decode()
        report, output = self.explain(text, header="Authorization")
        self.assertTrue(report.accepted)
        self.assertIn("basic, 60 characters\n", output)
        self.assertIn("bearer, 40 characters, in password of Basic", output)

    def test_not_asked(self) -> None:
        """A provider that looks elsewhere is not asked, and the output says where it looks."""
        report, output = self.explain(f"Bearer {self.KEY}")
        self.assertFalse(report.accepted)
        where = "header x-api-key and cookie __Host-s and query t and password of Basic"
        self.assertIn(
            f"provider keys: not asked, the provider looks for credentials in {where}", output
        )

    def test_api_token(self) -> None:
        """An API token where the store does not look is refused, and the output says why."""
        _, output = self.explain("aot_" + "0" * 60, header="X-API-Key")
        self.assertIn("for which the token store does not look there", output)

    def test_malformed(self) -> None:
        """A malformed value is not authenticated."""
        self.assertRaises(BadCredentials, self.explain, "a,b", header="X-API-Key")

    def test_unknown(self) -> None:
        """A part of a request in which no provider looks is an invalid command line."""
        words = ("explain", "-c", self.file(**self.over()))
        for more in (("--header", "X-Key"), ("--cookie", "s"), ("--query", "x")):
            result = self.run_command(*words, *more, text="x")
            self.assertEqual(result.exit_code, 2)
            self.assertIn("no provider looks for credentials in", result.output)
        for other in (("--cookie", "__Host-s"), ("--user", "alice")):
            result = self.run_command(*words, "--header", "X-API-Key", *other, text="x")
            self.assertEqual(result.exit_code, 2)
            self.assertIn("give only one of", result.output)


class CertificateTests(CommandCase):
    """The certificate of a client."""

    def explain(self, text: str, *more: str) -> Result:
        file = self.folder.absolute() / "ca.pem"
        file.write_bytes(root().pem)
        provider = {"type": "mtls", "name": "m", "realm": "machines", "ca_file": str(file)}
        contract = {"type": "nginx", "headers": {"certificate": "X-Cert"}}
        over = {"server": {**BASE["server"], "contracts": [contract]}, "providers": [provider]}
        path = self.file(**over)
        return self.run_command("explain", "-c", path, "--certificate", *more, text=text)

    def test_unusable(self) -> None:
        """A text that is no certificate is an invalid command line, and prints no traceback."""
        for text in ("x", "", pem(root().certificate) * 20):
            result = self.explain(text)
            self.assertEqual(result.exit_code, 2)
            self.assertIn("must contain certificates in PEM", result.output)

    def test_no_provider(self) -> None:
        """Without a provider for certificates nothing can be explained."""
        words = ("explain", "-c", self.file(), "--certificate")
        result = self.run_command(*words, text=pem(root().certificate))
        self.assertEqual(result.exit_code, 2)
        self.assertIn("no provider of type mtls is configured", result.output)

    def test_only_one(self) -> None:
        """A certificate and another credential exclude each other."""
        result = self.explain(pem(root().certificate), "--cookie", "s")
        self.assertEqual(result.exit_code, 2)
        self.assertIn("give only one of", result.output)


class RulingTests(CommandCase):
    """How the policy rules on a request that the operator states."""

    RULES: Any = (
        {"name": "read", "subject": [["role=reader"]], "permissions": ["/data/**:GET"]},
        {
            "name": "admin",
            "subject": [["role=ops"]],
            "permissions": ["/admin/**:*"],
            "networks": ["10.0.0.0/8"],
            "hosts": ["x.org"],
        },
        {
            "name": "old",
            "subject": [["@group:name=staff"]],
            "permissions": ["-/data/old:*"],
            "not_before": "2026-01-01T00:00:00Z",
        },
    )
    GROUPS: Any = ({"name": "staff", "subject": [["role=reader"]]},)

    def explain(self, *words: str, **over: Any) -> Result:
        policy = {"rules": [*self.RULES], "groups": [*self.GROUPS]}
        return self.run_command("explain", "-c", self.file(**{"policy": policy, **over}), *words)

    def test_allowed(self) -> None:
        """The rule that decides is named, with the claims because of which it applies."""
        result = self.explain("--claim", "role=reader", "--path", "/data/%78?q=1")
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertEqual(
            result.stdout.splitlines()[:4],
            [
                "policy",
                (
                    "  GET /data/x: allowed (allowed), "
                    "a rule of the policy allows the request (rule read)"
                ),
                "  groups: staff",
                "  rule read allows it by /data/**:GET, because of role=reader",
            ],
        )

    def test_near_misses(self) -> None:
        """Each rule that would decide is named with the condition that the request fails."""
        asked = ("--path", "/admin", "--address", "192.0.2.7", "--host", "x.org:8443")
        result = self.explain("--claim", "role=ops", *asked)
        self.assertEqual(result.exit_code, 1)
        self.assertIn(
            "  rule admin would allow it by /admin/**:*, but the rule is limited to the networks "
            "10.0.0.0/8 (address: 192.0.2.7)\n",
            result.stdout,
        )
        result = self.explain("--claim", "role=x", "--path", "/data/x", "--method", "GET")
        self.assertIn("but the identity lacks role=reader\n", result.stdout)

    def test_login(self) -> None:
        """A rule that requires another login is named with what it requires."""
        rule = {**self.RULES[0], "require": {"acr": ["gold"], "max_age": "5m"}}
        result = self.explain(
            "--claim", "role=reader", "--path", "/data/x", policy={"rules": [rule]}
        )
        self.assertEqual(result.exit_code, 1)
        self.assertIn("denied (insufficient-user-authentication)", result.stdout)
        self.assertIn(
            "but the rule requires another login: acr gold, a login in the last 300 s "
            "(login: nothing is known about the login)\n",
            result.stdout,
        )

    def test_authorizer(self) -> None:
        """Stated claims are no identity, so the authorizer is not asked about them."""
        section = {"type": "authzen", "url": "https://pdp.example/access/v1/evaluation"}
        claim = ("--claim", "role=reader", "--path", "/data/x")
        result = self.explain(*claim, authorizer=section)
        self.assertEqual(result.exit_code, 0)
        self.assertIn("note: the authorizer must allow the request, too", result.stderr)

    def test_time(self) -> None:
        """The time of the request is stated by an option."""
        claim = ("--claim", "role=reader", "--path", "/data/old")
        self.assertEqual(self.explain(*claim, "--at", "2026-01-01T00:00:00Z").exit_code, 1)
        result = self.explain(*claim, "--at", "2025-12-31T23:59:59Z", "--json")
        found = json.loads(result.stdout)["ruling"]
        self.assertEqual((result.exit_code, found["decision"]), (0, "allow"))
        self.assertEqual(found["near_misses"][0]["failed"], "not_before")
        self.assertEqual(found["request"]["time"], "2025-12-31T23:59:59Z")

    def test_bad_options(self) -> None:
        """Options that cannot be used end the command with 2."""
        for words in (
            ("--claim", "role=reader"),
            ("--method", "GET"),
            ("--claim", "reader", "--path", "/a"),
            ("--claim", "a=b", "--path", "/a//b"),
            ("--claim", "a=b", "--path", "/a", "--method", "get"),
            ("--claim", "a=b", "--path", "/a", "--at", "2026-01-01"),
            ("--claim", "a=b", "--path", "/a", "--address", "x"),
            ("--claim", "a=b", "--path", "/a", "--host", "/"),
            ("--claim", "a=b", "--path", "/a", "--namespace", "data"),
            ("--claim", "a=b", "--path", "/a", "--user", "alice"),
        ):
            result = self.explain(*words)
            self.assertEqual(result.exit_code, 2, (words, result.output))

    def test_no_policy(self) -> None:
        """Without a policy there is no ruling to explain."""
        result = self.explain("--claim", "a=b", "--path", "/a", policy=...)
        self.assertEqual(result.exit_code, 78)
        self.assertIn("has no such section", result.stderr)

    def test_conditions_of_an_api_token(self) -> None:
        """A limit of an API token that the request does not meet is named."""
        report = explain.Report(prints=False)
        found = Authentication(Identity("r", "alice"), conditions=(Grant(hosts=("x.org:80",)),))
        for request, port, is_allowed in (
            (Request("/a", "GET", host="x.org"), 80, True),
            (Request("/a", "GET", host="x.org"), None, False),
            (Request("/a", "GET"), None, False),
        ):
            report = explain.Report(prints=False)
            report.check_conditions(found, Stated(request, 0.0, port))
            self.assertIs(report.is_allowed, is_allowed)
            self.assertIs(report.as_json()["denied"] is None, is_allowed)
