"""Every attack finds the mistake that it is made for, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from authotron.model.header_templates import PROFILES
from authotron.probe import echo
from authotron.probe.attack import Phase
from authotron.probe.campaign import Campaign, ProbeFailed, Result
from authotron.probe.connection import Received, Unreachable
from authotron.probe.request import ADDRESS, Credential, Request, Target
from authotron.probe.table import ATTACKS
from tests.probe.fake_proxy import GOOD, LIMITED, NONCES, TARGET, FakeProxy, answered


def _question(head: bytes) -> bytes | None:
    """Answer as the gateway does, at the location of the question."""
    is_question = head.startswith(b"GET /_authotron ")
    return answered(200, b"Authorization: Bearer jwt") if is_question else None


def _trace(head: bytes) -> bytes | None:
    return answered(200, body=head) if head.startswith(b"TRACE ") else None


def _login_page(head: bytes) -> bytes | None:
    return None if GOOD in head or LIMITED in head else answered(200, body=b"Who are you?")


def _identity(*others: bytes) -> tuple[bytes, ...]:
    return (b"Authorization: Bearer jwt", b"X-Auth-Username: alice", *others)


def _without_named(head: bytes) -> Sequence[bytes]:
    return [] if b"close, Authorization" in head else _identity()


def _unless_named(lines: Mapping[str, bytes], head: bytes) -> Sequence[bytes]:
    """Return the lines but the one whose header the client names in C{Connection}."""
    named = head.partition(b"Connection: close, ")[2].partition(b"\r")[0].decode()
    return [line for name, line in lines.items() if name != named]


def _hops(head: bytes) -> Sequence[bytes]:
    client = [b"X-Forwarded-For: " + ADDRESS + b", 127.0.0.1"]
    return _identity(*(client if b"\r\nX-Forwarded-For: " in head else []))


def _believing(head: bytes) -> bytes | None:
    """Let the limited token pass for the address that the client claims."""
    if LIMITED in head and b"X-Forwarded-For: " + ADDRESS in head:
        arrived = echo.take(head)
        assert arrived is not None
        return echo.answer(arrived)
    return None


def _believing_certificates(head: bytes) -> bytes | None:
    """Let a request pass with the certificate that the client writes into a header."""
    stated = b"X-SSL-Client-Cert: -----BEGIN%20CERTIFICATE-----%0AMAA%2B%0A-----END%20CERT"
    arrived = echo.take(head) if stated in head else None
    return None if arrived is None else echo.answer(arrived)


def _desynchronized(head: bytes) -> bytes | None:
    """Answer an ordinary request with the answer to a hidden one."""
    if head.startswith(b"GET / ") or b"/authotron-probe-" + NONCES.of(4).encode() not in head:
        return None
    other = head.replace(NONCES.of(4).encode(), NONCES.hidden_in(1).encode())
    arrived = echo.take(other)
    assert arrived is not None
    return echo.answer(arrived)


def _folded(head: bytes) -> Sequence[bytes]:
    return _identity(*([b"X-Other: a\r\n folded"] if b"\r\n X-Auth-Roles" in head else []))


def _always(answer: bytes, _head: bytes) -> bytes:
    return answer


MISTAKES: dict[str, FakeProxy] = {
    "no-credential": FakeProxy(open_to=lambda method, target: True),
    "refusal-as-success": FakeProxy(answers=_login_page),
    "method-without-credential": FakeProxy(open_to=lambda method, target: method == b"OPTIONS"),
    "trace": FakeProxy(answers=_trace),
    "question-location": FakeProxy(answers=_question),
    "path-without-credential": FakeProxy(open_to=lambda method, target: b"/public/" in target),
    "changed-base": FakeProxy(rewrite=lambda target: target.replace(b"/", b"/x/", 1)),
    "changed-path": FakeProxy(rewrite=lambda target: target.replace(b"%2F", b"/")),
    "identity-header": FakeProxy(passes=["x-auth-roles"]),
    "other-identity-header": FakeProxy(passes=["remote-user"]),
    "doubled-header": FakeProxy(
        passes=["x-auth-roles"], adds=lambda head: _identity(b"X-Auth-Roles: reader")
    ),
    "underscored-header": FakeProxy(passes=["x_auth_roles"]),
    "header-case": FakeProxy(
        adds=lambda head: [each for each in head.split(b"\r\n") if each.startswith(b"x-auth-roles")]
    ),
    "folded-header": FakeProxy(is_strict=False, adds=_folded),
    "malformed-header": FakeProxy(is_strict=False, passes=["x-auth-roles "]),
    "connection-header": FakeProxy(adds=_without_named),
    "credential-passes": FakeProxy(
        adds=lambda head: [b"X-Credential: " + GOOD.partition(b": ")[2]]
    ),
    "identity-in-answer": FakeProxy(
        finishes=lambda answer: answer.replace(b"\r\n", b"\r\nX-Auth-Username: alice\r\n", 1)
    ),
    "forwarded-header": FakeProxy(passes=["x-forwarded-host"]),
    "forwarded-for-first": FakeProxy(adds=_hops),
    "forwarded-address-believed": FakeProxy(answers=_believing),
    "certificate-believed": FakeProxy(answers=_believing_certificates),
    "overriding-header": FakeProxy(passes=["x-http-method-override"]),
    "request-framing": FakeProxy(is_strict=False),
    "other-protocol": FakeProxy(passes=["upgrade"]),
    "hidden-request": FakeProxy(answers=_desynchronized),
    "two-hosts": FakeProxy(is_strict=False),
    "gateway-down": FakeProxy(is_up=False, open_to=lambda method, target: method == b"POST"),
}
"""For each attack a proxy with the mistake that the attack looks for."""


class CampaignCase(SynchronousTestCase):
    """Attacks proxies in memory."""

    def campaign(self, proxy: FakeProxy, *names: str, target: Target = TARGET) -> Campaign:
        attacks = [each for each in ATTACKS if each.name in names] if names else ATTACKS
        phase = Phase.GATEWAY_UP if proxy.is_up else Phase.GATEWAY_DOWN
        return Campaign(target, proxy.send, NONCES, attacks, phase)

    def results(self, campaign: Campaign) -> list[Result]:
        async def collect() -> list[Result]:
            return [each async for each in campaign.run()]

        return self.successResultOf(Deferred.fromCoroutine(collect()))

    def leaks(self, proxy: FakeProxy, *names: str, **over: Any) -> dict[str, tuple[str, ...]]:
        """Return what leaks by each attack that succeeds."""
        results = self.results(self.campaign(proxy, *names, **over))
        found = [each.finding for each in results if each.finding]
        return {each.attack.name: each.leaked for each in found}

    def why_failed(self, proxy: FakeProxy, **over: Any) -> str:
        async def collect() -> list[Result]:
            return [each async for each in self.campaign(proxy, **over).run()]

        work = Deferred.fromCoroutine(collect())
        return str(self.failureResultOf(work, ProbeFailed).value)


class AttackTests(CampaignCase):
    """The attacks of the table."""

    def test_nothing_leaks(self) -> None:
        """A proxy without mistakes leaks nothing, whatever the state of the gateway."""
        self.assertEqual(self.leaks(FakeProxy()), {})
        self.assertEqual(self.leaks(FakeProxy(is_up=False)), {})

    def test_every_attack_has_a_mistake(self) -> None:
        """For each attack of the table there is a proxy that it succeeds at, and no name twice."""
        names = [each.name for each in ATTACKS]
        self.assertEqual(sorted(names), sorted(MISTAKES))

    def test_every_mistake_is_found(self) -> None:
        """Each attack finds its mistake, when the attacks that it follows from are tried, too."""
        for attack in ATTACKS:
            with self.subTest(attack.name):
                proxy = MISTAKES[attack.name]
                self.assertIn(attack.name, self.leaks(proxy, attack.name, *attack.follows_from))

    def test_header_is_named(self) -> None:
        """The report names the header, and the attacks that follow from it say nothing."""
        leaks = self.leaks(FakeProxy(passes=["x-auth-roles"]))
        self.assertEqual(leaks, {"identity-header": ("X-Auth-Roles",)})

    def test_certificate_S_MTLSHEADER(self) -> None:
        """The report names the header in which the gateway believes a certificate of a client."""
        leaks = self.leaks(MISTAKES["certificate-believed"], "certificate-believed")
        self.assertEqual(leaks, {"certificate-believed": ("X-SSL-Client-Cert",)})

    def test_headers_of_all_profiles_are_lost(self) -> None:
        """A client that names the headers of any header profile in C{Connection} is noticed."""
        for name, headers in PROFILES.items():
            lines = {each: f"{each}: x".encode() for each in ("Authorization", *headers)}
            proxy = FakeProxy(adds=partial(_unless_named, lines))
            leaks = self.leaks(proxy, "connection-header")
            self.assertEqual(leaks, {"connection-header": tuple(lines)}, name)

    def test_two_values_are_doubled(self) -> None:
        """A value of the client beside that of the gateway is a doubled header."""
        leaks = self.leaks(MISTAKES["doubled-header"], "identity-header", "doubled-header")
        self.assertEqual(leaks, {"doubled-header": ("X-Auth-Roles",)})

    def test_refused_headers_are_tried_one_by_one(self) -> None:
        """If a proxy refuses one header of a request, the others are still tried."""
        proxy = FakeProxy(
            passes=["remote-user"],
            answers=lambda head: answered(400) if b"X-Auth-User:" in head else None,
        )
        leaks = self.leaks(proxy, "other-identity-header")
        self.assertEqual(leaks, {"other-identity-header": ("Remote-User",)})

    def test_requests_are_bounded(self) -> None:
        """A proxy that refuses every header is sent a bounded number of requests."""
        proxy = FakeProxy(answers=lambda head: answered(400) if b"canary" in head else None)
        campaign = self.campaign(proxy, "other-identity-header")
        self.results(campaign)
        self.assertLess(campaign.requests, 610)

    def test_spellings_that_name_the_same_path(self) -> None:
        """A proxy may normalize paths, as long as they name the same resource."""
        proxy = FakeProxy(rewrite=lambda target: target.replace(b"%7E", b"~").replace(b"/./", b"/"))
        self.assertEqual(self.leaks(proxy, "changed-path", "changed-base"), {})

    def test_base_is_reported_once(self) -> None:
        """A prefix that the proxy strips is reported once, and not for every odd path."""
        target = Target(TARGET.host, b"/api/", TARGET.credentials)
        proxy = FakeProxy(rewrite=lambda sent: sent.replace(b"/api/", b"/"))
        leaks = self.leaks(proxy, "changed-base", "changed-path", target=target)
        self.assertEqual(leaks, {"changed-base": ("/api became (nothing)",)})


class ControlTests(CampaignCase):
    """What must be so before anything can be judged."""

    def test_proxy_is_recognized(self) -> None:
        """The proxy is known by what its answers say."""
        serving = lambda answer: answer.replace(b"\r\n", b"\r\nServer: Caddy\r\n", 1)  # noqa: E731 - one line says it
        campaign = self.campaign(FakeProxy(finishes=serving), "trace")
        self.results(campaign)
        self.assertEqual(campaign.proxy, "caddy")

    def test_not_the_echo_backend(self) -> None:
        """If an ordinary request is not answered by the echo backend, nothing is judged."""
        for answer, reason in (
            (answered(401), "the credential is refused with 401"),
            (answered(200, body=b'{"nonce": "1"}'), "is not from the echo backend"),
            (answered(404, body=b"the echo backend of authotron probe"), "does not pass on"),
            (b"", "does not answer"),
            (b"\0\xff" * 100, "does not answer"),
        ):
            with self.subTest(reason):
                self.assertIn(reason, self.why_failed(FakeProxy(answers=partial(_always, answer))))

    def test_unreachable(self) -> None:
        """A proxy that cannot be connected to is not judged."""

        def refuse(_: bytes) -> bytes:
            raise Unreachable("refused")

        reason = self.why_failed(FakeProxy(answers=refuse))
        self.assertIn("cannot be connected to: refused", reason)

    def test_proxy_that_stops(self) -> None:
        """A proxy that refuses everything after a while is not judged by what it refuses."""
        proxy = FakeProxy()
        proxy.answers = lambda _: answered(429) if len(proxy.sent) > 20 else None
        reason = self.why_failed(proxy)
        self.assertIn("got 429: the proxy limits the rate of requests, or has stopped", reason)

    def test_silence(self) -> None:
        """A proxy that leaves odd requests without an answer takes a bounded time."""
        proxy = FakeProxy()

        async def send(data: bytes, request: Request) -> Received:
            received = await proxy.send(data, request)
            is_ordinary = b"\r\n\r\n" in received.data and request.label == "ordinary"
            return received if is_ordinary else Received(b"", ended=False)

        campaign = Campaign(TARGET, send, NONCES)

        async def collect() -> list[Result]:
            return [each async for each in campaign.run()]

        error = self.failureResultOf(Deferred.fromCoroutine(collect()), ProbeFailed).value
        self.assertIn("left 31 requests without an answer", str(error))

    def test_limited_token_that_is_not_limited(self) -> None:
        """A token that is good from everywhere shows nothing, so it is not tried."""
        target = Target(TARGET.host, b"/", {**TARGET.credentials, Credential.LIMITED: GOOD})
        self.assertIn("is not limited", self.why_skipped(target))

    def test_limited_token_that_is_unknown(self) -> None:
        """A limited token that the gateway does not know shows nothing, so it is not tried."""
        self.assertIn("unknown or expired", self.why_skipped(TARGET, 401))

    def why_skipped(self, target: Target, limited: int = 403) -> str:
        campaign = self.campaign(
            FakeProxy(limited=limited), "forwarded-address-believed", target=target
        )
        self.assertEqual(self.results(campaign), [])
        [skipped] = campaign.skipped()
        return skipped.reason

    def test_gateway_seems_to_run(self) -> None:
        """With a running gateway nothing is said about its absence."""
        proxy = FakeProxy(is_up=False, answers=lambda _: answered(401, b"WWW-Authenticate: Basic"))
        self.assertIn("seems to be running", self.why_failed(proxy))

    def test_what_is_skipped(self) -> None:
        """Attacks that need more than is there are named, with what they need."""
        few = {kind: TARGET.credentials[kind] for kind in (Credential.GOOD, Credential.UNKNOWN)}
        campaign = self.campaign(FakeProxy(), target=Target(TARGET.host, b"/", few))
        skipped = {each.attack.name: each.reason for each in campaign.skipped()}
        names = ["forwarded-address-believed", "certificate-believed", "gateway-down"]
        self.assertEqual([*skipped], names)
        self.assertIn("--limited-token-file", skipped["forwarded-address-believed"])
        self.assertIn("--certificate-file", skipped["certificate-believed"])
        self.assertIn("--gateway-down", skipped["gateway-down"])

    def test_every_request_is_marked(self) -> None:
        """Every request of a run has the mark of this run."""
        proxy = FakeProxy()
        self.results(self.campaign(proxy))
        for data in proxy.sent:
            self.assertIn(b"X-Probe-Mark: authotron-probe-0123456789abcdef", data)
