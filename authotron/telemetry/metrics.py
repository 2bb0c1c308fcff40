"""
All metrics of the process, which are converted to the text format of
Prometheus for each scrape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, chain, product
from typing import Any, Protocol

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    exposition,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from authotron import __version__
from authotron.telemetry import process_usage
from authotron.telemetry.counters import Counts, Durations, Histogram, Tally

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""HTTP methods that metrics show as a label; all other methods are shown as C{other}."""

Counted = dict[str, Any]
"""The metrics of one process, as a value that can be sent as JSON; see L{Metrics.counted}."""


class NamedPart(Protocol):
    """The attributes of an authorizer (name and type) that metrics have as labels."""

    name: str
    type: str


class Part(Protocol):
    """The attributes of a provider or an augmenter that metrics show as labels."""

    name: str
    type: str
    realm: str


_PROVIDER = ("provider_name", "provider_type", "realm")
_AUGMENTER = ("augmenter_name", "augmenter_type", "realm")
_AUTHORIZER = ("authorizer_name", "authorizer_type")


def _timed_counts(durations: Mapping[str, Histogram]) -> Iterator[Counts]:
    yield Counts(
        "auth_requests",
        "Total authentication requests",
        ("result", "realm"),
        durations=durations["auth_duration_seconds"],
    )
    yield Counts(
        "auth_provider_attempts",
        "Attempts per authentication provider",
        (*_PROVIDER, "result"),
        durations=durations["auth_provider_duration_seconds"],
    )
    yield Counts(
        "augmenter_attempts",
        "Augmentation attempts",
        (*_AUGMENTER, "result"),
        durations=durations["augmenter_duration_seconds"],
    )
    yield Counts(
        "authotron_authorizer_attempts",
        "Questions to the authorizer",
        (*_AUTHORIZER, "result"),
        durations=durations["authotron_authorizer_duration_seconds"],
    )
    yield Counts(
        "authotron_http_requests",
        "HTTP requests answered",
        ("route", "method", "status_code"),
        durations=durations["authotron_http_request_duration_seconds"],
    )
    yield Counts(
        "policy_rulings",
        "Requests of authenticated clients to which the policies were applied",
        ("result", "reason"),
        durations=durations["policy_seconds"],
    )


def _counts() -> Iterator[Counts]:
    yield Counts(
        "authotron_http_requests_in_flight",
        "HTTP requests that are not answered yet",
        ("method",),
        is_gauge=True,
    )
    yield Counts("authotron_front_handed_over", "Connections handed over by the fast path", ())
    yield Counts("authotron_connections_refused", "Connections rejected above max_connections", ())
    yield Counts(
        "authotron_untrusted_connections",
        "Connections closed unread, because the peer is not a trusted proxy",
        ("protocol",),
    )
    yield Counts(
        "authotron_answers_too_long",
        "Answers replaced by a refusal, because they are too large for the proxy",
        ("contract",),
    )
    yield Counts(
        "authotron_grpc_connections_closed",
        "gRPC connections closed because of what the peer has sent",
        (),
    )
    yield Counts(
        "authotron_blocking_callbacks",
        "Callbacks that blocked the reactor for more than 100 ms",
        ("route",),
    )
    yield Counts(
        "authotron_unusable_facts",
        "Requests answered with 400, because no trusted proxy stated a needed fact clearly",
        ("contract", "fact", "flaw"),
    )
    yield Counts(
        "authotron_policy_questions",
        "Questions of clients about what the policies allow",
        ("api", "result"),
    )
    yield Counts(
        "authotron_policy_claims_dropped",
        "Attributes of identities that did not become claims",
        ("provider_name", "reason"),
    )
    yield Counts(
        "authotron_policy_conditions_failed",
        "Evaluations of the condition of a rule (when) that had no value",
        ("rule",),
    )
    yield Counts("authotron_reloads", "Reloads of the configuration", ("result",))
    yield Counts("authotron_workers_lost", "Workers that ended unexpectedly", ("reason",))


_RULINGS = (2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 1e-2, 1e-1)
"""
Upper bounds of the buckets for rulings of policies, in seconds. The bounds are smaller than those
of the other histograms, because a ruling is fast.
"""


def _histograms() -> Iterator[Histogram]:
    yield Histogram("auth_duration_seconds", "Authentication latency", ("result", "realm"))
    yield Histogram(
        "auth_provider_duration_seconds", "Provider-specific latency", _PROVIDER, longest=5.0
    )
    yield Histogram(
        "augmenter_duration_seconds", "Augmentation latency", _AUGMENTER[1:], longest=2.5
    )
    yield Histogram(
        "authotron_authorizer_duration_seconds", "Authorizer latency", _AUTHORIZER, longest=5.0
    )
    yield Histogram(
        "authotron_http_request_duration_seconds",
        "Time to answer an HTTP request",
        ("route", "method"),
    )
    yield Histogram(
        "policy_seconds", "Time to apply the policies to a request", ("result",), bounds=_RULINGS
    )


POLICIES_VERSION, POLICIES_AGE = "authotron_policies_version", "authotron_policies_age_seconds"
"""The metrics (gauges) about policies from the token store."""

REVOCATIONS, REVOCATIONS_AGE = "authotron_revocations", "authotron_revocations_age_seconds"
KEYS_AGE = "authotron_signing_keys_age_seconds"
_TOGETHER: Mapping[str, Callable[[list[float]], float]] = {
    POLICIES_VERSION: min,
    POLICIES_AGE: max,
    REVOCATIONS: min,
    REVOCATIONS_AGE: max,
    KEYS_AGE: max,
}
"""
How the gauges of several workers are combined if they are not added up. For policies from the token
store the value of the worker with the oldest policies counts, and for signing keys likewise.
"""


class Metrics(Collector):
    """
    All metrics of the process. docs/metrics.md describes each of them in the section "Families".

    The values of labels come from the configuration or from fixed short lists in the code, so their
    number is limited. No value that a client sends, or that a database stores, is used as a label.
    """

    def __init__(self, children: Callable[[], Iterable[int]] = tuple) -> None:
        """
        @param children: a function that returns the process ids of the workers, whose resources are
        added up.
        """
        self._children = children
        self._histograms = {each.name: each for each in _histograms()}
        counts = chain(_timed_counts(self._histograms), _counts())
        self._counts = {each.name: each for each in counts}
        self._realms: set[str] | None = None
        self._requests = self._counts["auth_requests"].values
        self._attempts = self._counts["auth_provider_attempts"].values
        self._augmentations = self._counts["augmenter_attempts"].values
        self._verdicts = self._counts["authotron_authorizer_attempts"].values
        self._http = self._counts["authotron_http_requests"].values
        self._in_flight = self._counts["authotron_http_requests_in_flight"].values
        self._left_fast_path = self._counts["authotron_front_handed_over"].values
        self._rejected = self._counts["authotron_connections_refused"].values
        self._untrusted = self._counts["authotron_untrusted_connections"].values
        self._too_long = self._counts["authotron_answers_too_long"].values
        self._closed = self._counts["authotron_grpc_connections_closed"].values
        self._blocking = self._counts["authotron_blocking_callbacks"].values
        self._unusable = self._counts["authotron_unusable_facts"].values
        self._rulings = self._counts["policy_rulings"].values
        self._questions = self._counts["authotron_policy_questions"].values
        self._dropped = self._counts["authotron_policy_claims_dropped"].values
        self._conditions = self._counts["authotron_policy_conditions_failed"].values
        self._reloads = self._counts["authotron_reloads"].values
        self._workers_lost = self._counts["authotron_workers_lost"].values
        self._sent: dict[tuple[str, str, str, str, int], Tally] = {}
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self._registry = CollectorRegistry()
        for collector in (PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._registry.register(self)
        for result in ("success", "failure"):
            self._counts["authotron_reloads"].show(result)
        for method in ("GET", "HEAD"):
            self._counts["authotron_http_requests_in_flight"].show(method)
        self._counts["authotron_front_handed_over"].show()
        self._counts["authotron_connections_refused"].show()

    def expect(
        self,
        providers: Iterable[Part],
        augmenters: Iterable[Part],
        results: Iterable[str],
    ) -> None:
        """
        Report zeros for the configured providers and augmenters before their first use, and from
        then on use only their realms as label values.
        """
        providers, augmenters = tuple(providers), tuple(augmenters)
        self._realms = {each.realm for each in (*providers, *augmenters)} | (self._realms or set())
        for result in results:
            self._counts["auth_requests"].show(result, "unknown")
        for provider in providers:
            self._counts["auth_requests"].show("success", provider.realm)
            for result in ("success", "error", "timeout"):
                labels = (provider.name, provider.type, provider.realm, result)
                self._counts["auth_provider_attempts"].show(*labels)
        for augmenter in augmenters:
            self._counts["auth_requests"].show("success", augmenter.realm)
            for result in ("success", "error"):
                labels = (augmenter.name, augmenter.type, augmenter.realm, result)
                self._counts["augmenter_attempts"].show(*labels)

    def watch(self, name: str, about: str, value: Callable[[], float]) -> None:
        """
        Add a gauge to the metrics; the function C{value} is called whenever the gauge
        is read.
        """
        self._gauges[name] = (about, value)

    def request_authenticated(self, result: str, realm: str, seconds: float) -> None:
        """
        Count a request whose credentials were verified.

        A realm without a configured provider, which an imported API token may have, is counted as
        C{unknown}.
        """
        self._request(result, realm).add(seconds)

    def _request(self, result: str, realm: str) -> Tally:
        tally = self._requests.get((result, realm))
        if tally is None:
            tally = self._requests[result, realm if self._is_known(realm) else "unknown"]
        return tally

    def _is_known(self, realm: str) -> bool:
        return self._realms is None or realm in self._realms

    def decision_sent(
        self, result: str, realm: str, route: str, method: str, status: int, seconds: float
    ) -> None:
        """
        Count a request that was answered on the fast path, both as a request whose credentials were
        verified and as an HTTP request.

        A request is counted here only once; later C{_settle} adds the counts to the metric of
        verified requests and to that of HTTP requests.
        """
        tally = self._sent.get((result, realm, route, method, status))
        if tally is None:
            tally = self._sent_first(result, realm, route, method, status)
        tally.add(seconds)

    def _sent_first(self, result: str, realm: str, route: str, method: str, status: int) -> Tally:
        """
        Return the counter of requests with the given labels, which may be new labels.

        All realms without a provider share one label, so that API tokens of many realms do not fill
        the memory.
        """
        realm = realm if self._is_known(realm) else "unknown"
        labels = result, realm, route, method, status
        tally = self._sent.get(labels)
        if tally is None:
            tally = self._sent[labels] = Tally(Durations())
            # Looking up a tally that does not exist creates it, so metrics appear in the order in
            # which they were first used.
            self._request(result, realm), self._http[route, method, str(status)]
        return tally

    def _settle(self) -> None:
        """
        Add the requests that were answered on the fast path to the metrics that show them, and
        the newest events to their counts.
        """
        for (result, realm, route, method, status), tally in self._sent.items():
            self._request(result, realm).take(tally)
            self._http[route, method, str(status)].take(tally)
        self._sent.clear()
        for each in self._counts.values():
            for tally in each.values.values():
                tally.settle()

    def provider_answered(self, provider: Part, result: str, seconds: float) -> None:
        """
        Count an answer of a provider: the result is C{success}, C{error}, C{timeout} or
        C{abandoned}.
        """
        tally = self._attempts[provider.name, provider.type, provider.realm, result]
        if result in ("success", "error"):
            tally.add(seconds)
        else:
            tally.number += 1

    def augmenter_answered(self, augmenter: Part, result: str, seconds: float) -> None:
        """Count an answer of an augmenter, whose result is C{success} or C{error}."""
        self._augmentations[augmenter.name, augmenter.type, augmenter.realm, result].add(seconds)

    def expect_authorizer(self, authorizer: NamedPart) -> None:
        """
        Initialize the counters of the authorizer's answers with zero, so that the metrics exist
        before the first call.
        """
        for result in ("allow", "deny", "error", "timeout"):
            labels = (authorizer.name, authorizer.type, result)
            self._counts["authotron_authorizer_attempts"].show(*labels)

    def authorizer_answered(self, authorizer: NamedPart, result: str, seconds: float) -> None:
        """
        Count an answer of the authorizer by its result, which is C{allow}, C{deny}, C{error} or
        C{timeout}.
        """
        tally = self._verdicts[authorizer.name, authorizer.type, result]
        if result == "timeout":
            tally.number += 1
        else:
            tally.add(seconds)

    def request_started(self, method: str) -> None:
        """Count an HTTP request that has arrived as in flight."""
        self._in_flight[(method,)].number += 1

    def request_ended(self, method: str) -> None:
        """
        Stop counting an HTTP request as in flight, because it was answered or its client has
        disconnected.
        """
        self._in_flight[(method,)].number -= 1

    def request_answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an HTTP request that was answered."""
        self._http[route, method, str(status)].add(seconds)

    def fast_path_left(self) -> None:
        """
        Count a connection that the fast path handed over, because of a request that the fast path
        does not answer.
        """
        self._left_fast_path[()].number += 1

    def fact_unusable(self, contract: str, fact: str, flaw: str) -> None:
        """
        Count a request that was answered with 400, because a fact that it needs (such as the host)
        is unusable.
        """
        self._unusable[contract, fact, flaw].number += 1

    def expect_rulings(self, rulings: Iterable[tuple[str, str]]) -> None:
        """Report zero rulings for results and reasons that policies may have."""
        for result, reason in rulings:
            self._counts["policy_rulings"].show(result, reason)

    def policy_ruled(self, result: str, reason: str, seconds: float | None = None) -> None:
        """
        Count a request to which the policies were applied.

        @param seconds: how long it took to compute the ruling, or C{None} if the ruling was
            remembered.
        """
        if seconds is None:
            self._rulings[result, reason].number += 1
        else:
            self._rulings[result, reason].add(seconds)

    def policy_asked(self, api: str, result: str) -> None:
        """Count a client's question about what the policies allow."""
        self._questions[api, result].number += 1

    def expect_claims(self, providers: Iterable[Part], reasons: Iterable[str]) -> None:
        """
        Initialize with zero the counters of attributes that did not become claims, for each
        provider and reason.
        """
        for provider, reason in product(providers, reasons):
            self._counts["authotron_policy_claims_dropped"].show(provider.name, reason)

    def claims_dropped(self, provider: str, reason: str, number: int) -> None:
        """Count attributes of an identity that did not become claims for the same reason."""
        self._dropped[provider, reason].number += number

    def condition_failed(self, rule: str) -> None:
        """Count an evaluation of the condition of a rule that had no value."""
        self._conditions[(rule,)].number += 1

    def connection_rejected(self) -> None:
        """
        Count a connection that was rejected, because as many connections as
        allowed were open.
        """
        self._rejected[()].number += 1

    def expect_protocol(self, protocol: str) -> None:
        """Report zero untrusted connections for a protocol that only trusted proxies may use."""
        self._counts["authotron_untrusted_connections"].show(protocol)

    def untrusted_connection(self, protocol: str) -> None:
        """Count a connection that was closed unread, because its peer is not a trusted proxy."""
        self._untrusted[(protocol,)].number += 1

    def answer_too_long(self, contract: str) -> None:
        """Count an answer that was replaced by a refusal, because it is too large for the proxy."""
        self._too_long[(contract,)].number += 1

    def grpc_connection_closed(self) -> None:
        """Count a gRPC connection that was closed because of what its peer has sent."""
        self._closed[()].number += 1

    def reactor_blocked(self, route: str) -> None:
        """
        Count a callback that blocked the reactor for more than 100 ms while answering a request for
        C{route}.
        """
        self._blocking[(route,)].number += 1

    def reload_ended(self, result: str) -> None:
        """Count a reload of the configuration: C{success} or C{failure}."""
        self._reloads[(result,)].number += 1

    def watch_policies(self, version: Callable[[], float], age: Callable[[], float]) -> None:
        """Add gauges of the version and the age of the policies from the token store."""
        self.watch(
            POLICIES_VERSION,
            "Version of the policies from the token store in use, 0 while none are known",
            version,
        )
        self.watch(
            POLICIES_AGE,
            "Seconds since the token store last had the version of the policies in use",
            age,
        )

    def watch_revocations(self, known: Callable[[], float], age: Callable[[], float]) -> None:
        """Add gauges of the number and the age of the revocations from the token store."""
        self.watch(REVOCATIONS, "Revocations that are known from the token store", known)
        self.watch(
            REVOCATIONS_AGE,
            "Seconds since all changes of revocations in the token store were read",
            age,
        )

    def watch_streams(self, count: Callable[[], float]) -> None:
        """Add a gauge of the number of open streams of events."""
        self.watch("authotron_event_streams", "Open streams of events (GET /events)", count)

    def watch_keys(self, age: Callable[[], float]) -> None:
        """Add a gauge of the age of the signing keys from the token store."""
        self.watch(
            KEYS_AGE,
            "Seconds since the token store last had the signing keys in use",
            age,
        )

    def watch_reloads(self, problems: Callable[[], Sequence[str]]) -> None:
        """Add a gauge that shows whether the last reload of the configuration succeeded."""
        self.watch(
            "authotron_last_reload_successful",
            "Whether the configuration that was read last is in use (1) or was refused (0)",
            lambda: float(not problems()),
        )

    def expect_workers(self) -> None:
        """Report zero lost workers, so that alerts notice the first lost worker."""
        for reason in ("died", "blocked"):
            self._counts["authotron_workers_lost"].show(reason)

    def worker_lost(self, reason: str) -> None:
        """Count a worker that ended unexpectedly: C{died} or C{blocked}."""
        self._workers_lost[(reason,)].number += 1

    def counted(self) -> Counted:
        """Return all metrics of this process as a value that another process can add to its own."""
        self._settle()
        return {
            "counts": {
                name: [[labels, tally.number] for labels, tally in each.values.items()]
                for name, each in self._counts.items()
            },
            "durations": {
                name: [[labels, d.nanoseconds, d.buckets] for labels, d in each.values.items()]
                for name, each in self._histograms.items()
            },
            "gauges": {name: [about, value()] for name, (about, value) in self._gauges.items()},
        }

    def add(self, counted: Counted, *, ended: bool = False) -> None:
        """
        Add the metrics of another process to those of this process.

        @param ended: whether the process that sent the metrics has ended; the counters and
            histograms of an ended process are added, but not its gauges.
        """
        for name, counts in counted["counts"].items():
            mine = self._counts[name]
            for labels, number in counts:
                mine.values[tuple(labels)].number += 0 if ended and mine.is_gauge else number
        for name, durations in counted["durations"].items():
            for labels, nanoseconds, buckets in durations:
                total = self._histograms[name].values[tuple(labels)]
                total.nanoseconds += nanoseconds
                total.buckets = [a + b for a, b in zip(total.buckets, buckets, strict=True)]
        for name, (about, value) in counted["gauges"].items():
            known = [self._gauges[name][1]()] if name in self._gauges else []
            values = known if ended else [*known, value]
            self.watch(name, about, partial(float, _TOGETHER.get(name, sum)(values or [0])))

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, when C{prometheus_client} calls this method at each scrape."""
        self._settle()
        yield from map(_counter_family, self._counts.values())
        yield from map(_histogram_family, self._histograms.values())
        for name, (about, value) in self._gauges.items():
            yield GaugeMetricFamily(name, about, value=value())
        build = GaugeMetricFamily("authotron_build_info", "Version", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        yield from self._usage()

    def _usage(self) -> Iterator[Metric]:
        """
        Yield metrics of the resources that all processes use, with the names that Prometheus
        exporters usually give them.
        """
        usage = process_usage.together(self._children())
        if usage is None:
            return
        yield CounterMetricFamily(
            "process_cpu_seconds", "Total user and system CPU time spent", usage.seconds
        )
        for name, about, value in (
            ("start_time_seconds", "Start time since the epoch", usage.started),
            ("virtual_memory_bytes", "Virtual memory size", usage.virtual),
            ("resident_memory_bytes", "Resident memory size", usage.resident),
            ("threads", "Number of OS threads", usage.threads),
            ("open_fds", "Open files, of the process nearest to its limit", usage.files),
            ("max_fds", "Files that this process may open", usage.most_files),
        ):
            yield GaugeMetricFamily(f"process_{name}", about, value)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Return the metrics in a content type that the scraper accepts, and this content type."""
        try:
            encode, content_type = exposition.choose_encoder(accept)
        except (TypeError, ValueError):  # prometheus_client cannot parse a malformed Accept header
            encode, content_type = exposition.choose_encoder("")
        return encode(self._registry), content_type


def _counter_family(counts: Counts) -> Metric:
    """Convert a family of counters or gauges to the type of C{prometheus_client}."""
    kind = GaugeMetricFamily if counts.is_gauge else CounterMetricFamily
    family = kind(counts.name, counts.about, labels=counts.labels)
    for labels, tally in counts.values.items():
        family.add_metric(labels, tally.number)
    return family


def _histogram_family(histogram: Histogram) -> Metric:
    """Convert a family of histograms to the type of C{prometheus_client}."""
    family = HistogramMetricFamily(histogram.name, histogram.about, labels=histogram.labels)
    ends = [*(f"{bound:g}" for bound in histogram.bounds if bound <= histogram.longest), "+Inf"]
    for labels, durations in histogram.values.items():
        totals = list(accumulate(durations.buckets))
        buckets = list(zip(ends, [*totals[: len(ends) - 1], totals[-1]], strict=True))
        family.add_metric(labels, buckets, durations.nanoseconds / 1e9)
    return family
