"""What is counted: plain numbers of one reactor thread, made Prometheus text only when scraped."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, Protocol

from attrs import define, field
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

from authotron import __version__, processes

BOUNDS = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper ends of the buckets of every duration, in seconds."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that may become a label; all others are C{other}."""

Labels = tuple[str, ...]

Counted = dict[str, Any]
"""What a process has counted, in a form that JSON knows; see L{Metrics.counted}."""


class Part(Protocol):
    """As much of a provider or an augmenter as becomes a label."""

    name: str
    type: str
    realm: str


@define(eq=False)
class Durations:
    """
    How long something took, in buckets.

    @ivar nanoseconds: all together, whole: a sum of fractions depends on the order, and one that
        is less by a hair, when a worker ends, is a restart to Prometheus.
    """

    nanoseconds: int = 0
    buckets: list[int] = field(factory=lambda: [0] * (len(BOUNDS) + 1))

    def observe(self, seconds: float) -> None:
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.nanoseconds += int(seconds * 1e9)


@define(eq=False)
class _Family:
    """Numbers of one name, by the values of its labels."""

    kind: Callable[[_Family], Metric]
    name: str
    about: str
    labels: Sequence[str]
    counts: Counter[Labels] = field(factory=Counter)
    durations: defaultdict[Labels, Durations] = field(factory=lambda: defaultdict(Durations))

    def show(self, *labels: str) -> None:
        """Show a zero, so that an alert sees the first one."""
        if self.kind is _Family.histogram:
            self.durations.setdefault(labels, Durations())
        else:
            self.counts[labels] += 0

    def shown(self) -> Metric:
        """The family as C{prometheus_client} knows it."""
        return self.kind(self)

    @property
    def is_gauge(self) -> bool:
        """Whether it says how things are, and not how often something was."""
        return self.kind is _Family.gauge

    def counter(self) -> Metric:
        return self._numbers(CounterMetricFamily(self.name, self.about, labels=self.labels))

    def gauge(self) -> Metric:
        return self._numbers(GaugeMetricFamily(self.name, self.about, labels=self.labels))

    def _numbers(self, family: CounterMetricFamily | GaugeMetricFamily) -> Metric:
        for labels, count in self.counts.items():
            family.add_metric(labels, count)
        return family

    def histogram(self) -> Metric:
        family = HistogramMetricFamily(self.name, self.about, labels=self.labels)
        for labels, durations in self.durations.items():
            ends = [*(f"{bound:g}" for bound in BOUNDS), "+Inf"]
            buckets = list(zip(ends, accumulate(durations.buckets), strict=True))
            family.add_metric(labels, buckets, durations.nanoseconds / 1e9)
        return family


def _families() -> dict[str, _Family]:
    counter, gauge, histogram = _Family.counter, _Family.gauge, _Family.histogram
    wanted = (
        (counter, "auth_requests", "Total authentication requests", "result realm"),
        (histogram, "auth_duration_seconds", "Authentication latency", "result realm"),
        (
            counter,
            "auth_provider_attempts",
            "Attempts per authentication provider",
            "provider_name provider_type realm result",
        ),
        (
            histogram,
            "auth_provider_duration_seconds",
            "Provider-specific latency",
            "provider_name provider_type realm",
        ),
        (
            counter,
            "augmenter_attempts",
            "Augmentation attempts",
            "augmenter_name augmenter_type realm result",
        ),
        (
            histogram,
            "augmenter_duration_seconds",
            "Augmentation latency",
            "augmenter_type realm",
        ),
        (
            counter,
            "authotron_http_requests",
            "HTTP requests answered",
            "route method status_code",
        ),
        (
            histogram,
            "authotron_http_request_duration_seconds",
            "Time to answer",
            "route method",
        ),
        (gauge, "authotron_http_requests_in_flight", "HTTP requests being answered", "method"),
        (counter, "authotron_front_handed_over", "Connections given to the site for good", ""),
        (counter, "authotron_connections_refused", "Connections above the limit", ""),
        (counter, "authotron_reloads", "Attempts to read the configuration again", "result"),
        (counter, "authotron_workers_lost", "Workers that ended unasked", "reason"),
    )
    return {
        name: _Family(kind, name, about, labels.split()) for kind, name, about, labels in wanted
    }


class Metrics(Collector):
    """
    Everything that is counted, under the names of the documents ("Metric Families").

    Labels come from the configuration or from short lists, never from what a client sends.
    """

    def __init__(self, children: Callable[[], Iterable[int]] = tuple) -> None:
        """@param children: other processes of the service, which it speaks for."""
        self._children = children
        self._families = _families()
        self._requests = self._families["auth_requests"].counts
        self._request_durations = self._families["auth_duration_seconds"].durations
        self._attempts = self._families["auth_provider_attempts"].counts
        self._attempt_durations = self._families["auth_provider_duration_seconds"].durations
        self._augmentations = self._families["augmenter_attempts"].counts
        self._augmentation_durations = self._families["augmenter_duration_seconds"].durations
        self._http = self._families["authotron_http_requests"].counts
        self._http_durations = self._families["authotron_http_request_duration_seconds"].durations
        self._in_flight = self._families["authotron_http_requests_in_flight"].counts
        self._handed_over = self._families["authotron_front_handed_over"].counts
        self._turned_away = self._families["authotron_connections_refused"].counts
        self._reloads = self._families["authotron_reloads"].counts
        self._workers_lost = self._families["authotron_workers_lost"].counts
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self._registry = CollectorRegistry()
        for collector in (PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._registry.register(self)
        for result in ("success", "failure"):
            self._families["authotron_reloads"].show(result)
        for method in ("GET", "HEAD"):
            self._families["authotron_http_requests_in_flight"].show(method)
        self._families["authotron_front_handed_over"].show()
        self._families["authotron_connections_refused"].show()

    def expect(
        self,
        providers: Iterable[Part],
        augmenters: Iterable[Part],
        results: Iterable[str],
    ) -> None:
        """Show zeros for all that may come."""
        show = {name: family.show for name, family in self._families.items()}
        for result in results:
            show["auth_requests"](result, "unknown")
        for provider in providers:
            show["auth_requests"]("success", provider.realm)
            show["auth_duration_seconds"]("success", provider.realm)
            labels = (provider.name, provider.type, provider.realm)
            for result in ("success", "error", "timeout"):
                show["auth_provider_attempts"](*labels, result)
            show["auth_provider_duration_seconds"](*labels)
        for augmenter in augmenters:
            labels = (augmenter.name, augmenter.type, augmenter.realm)
            for result in ("success", "error"):
                show["augmenter_attempts"](*labels, result)
            show["augmenter_duration_seconds"](augmenter.type, augmenter.realm)

    def watch(self, name: str, about: str, value: Callable[[], float]) -> None:
        """Show C{value} as a gauge whenever somebody looks."""
        self._gauges[name] = (about, value)

    def judged(self, result: str, realm: str, seconds: float) -> None:
        """A request for an identity was answered."""
        self._requests[result, realm] += 1
        self._request_durations[result, realm].observe(seconds)

    def provider_answered(self, provider: Part, result: str, seconds: float) -> None:
        """A provider answered; C{result} is success, error, timeout or abandoned."""
        name, type_, realm = provider.name, provider.type, provider.realm
        self._attempts[name, type_, realm, result] += 1
        if result in ("success", "error"):
            self._attempt_durations[name, type_, realm].observe(seconds)

    def augmenter_answered(self, augmenter: Part, result: str, seconds: float) -> None:
        """An augmenter answered; C{result} is success or error."""
        type_, realm = augmenter.type, augmenter.realm
        self._augmentations[augmenter.name, type_, realm, result] += 1
        self._augmentation_durations[type_, realm].observe(seconds)

    def request_began(self, method: str) -> None:
        """An HTTP request is being answered."""
        self._in_flight[(method,)] += 1

    def request_ended(self, method: str) -> None:
        """It is answered, or its client has left."""
        self._in_flight[(method,)] -= 1

    def request_answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """An HTTP request was answered."""
        self._http[route, method, str(status)] += 1
        self._http_durations[route, method].observe(seconds)

    def handed_over(self) -> None:
        """A connection asked for more than verdicts, and went to the site."""
        self._handed_over[()] += 1

    def turned_away(self) -> None:
        """A connection was one too many."""
        self._turned_away[()] += 1

    def reloaded(self, result: str) -> None:
        """The configuration was read again; C{result} is success or failure."""
        self._reloads[(result,)] += 1

    def watch_reloads(self, problems: Callable[[], Sequence[str]]) -> None:
        """Show whether the configuration in use is the one that was last read, and all of it."""
        self.watch(
            "authotron_last_reload_successful",
            "Whether the last attempt to read the configuration again was a success",
            lambda: float(not problems()),
        )

    def expect_workers(self) -> None:
        """Show zeros for those that may be lost, so that an alert sees the first one."""
        for reason in ("died", "blocked"):
            self._families["authotron_workers_lost"].show(reason)

    def worker_lost(self, reason: str) -> None:
        """A worker is gone that should not be; C{reason} is died or blocked."""
        self._workers_lost[(reason,)] += 1

    def counted(self) -> Counted:
        """All numbers as they are now, for another process to add up."""
        families = self._families.values()
        return {
            "counts": {f.name: [[k, n] for k, n in f.counts.items()] for f in families},
            "durations": {
                f.name: [[k, d.nanoseconds, d.buckets] for k, d in f.durations.items()]
                for f in families
            },
            "gauges": {name: [about, value()] for name, (about, value) in self._gauges.items()},
        }

    def add(self, counted: Counted, *, ended: bool = False) -> None:
        """
        Add what another process has counted.

        @param ended: it is gone: what it did remains, how it fared does not.
        """
        for name, counts in counted["counts"].items():
            family = self._families[name]
            for labels, value in counts:
                family.counts[tuple(labels)] += 0 if ended and family.is_gauge else value
        for name, durations in counted["durations"].items():
            for labels, nanoseconds, buckets in durations:
                sum_ = self._families[name].durations[tuple(labels)]
                sum_.nanoseconds += nanoseconds
                sum_.buckets = [a + b for a, b in zip(sum_.buckets, buckets, strict=True)]
        for name, (about, value) in counted["gauges"].items():
            so_far = self._gauges[name][1]() if name in self._gauges else 0
            self.watch(name, about, partial(_same, so_far + (0 if ended else value)))

    def collect(self) -> Iterator[Metric]:
        """The interface of a collector of C{prometheus_client}."""
        for family in self._families.values():
            yield family.shown()
        for name, (about, value) in self._gauges.items():
            yield GaugeMetricFamily(name, about, value=value())
        build = GaugeMetricFamily("authotron_build_info", "Version", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        yield from self._used()

    def _used(self) -> Iterator[Metric]:
        """What all processes use, under the names that every exporter has for one."""
        used = processes.together(self._children())
        if used is None:
            return
        yield CounterMetricFamily(
            "process_cpu_seconds", "Total user and system CPU time spent", used.seconds
        )
        for name, about, value in (
            ("start_time_seconds", "Start time since the epoch", used.started),
            ("virtual_memory_bytes", "Virtual memory size", used.virtual),
            ("resident_memory_bytes", "Resident memory size", used.resident),
            ("open_fds", "Open files, of the process nearest to its limit", used.files),
            ("max_fds", "Files that this process may open", used.most_files),
        ):
            yield GaugeMetricFamily(f"process_{name}", about, value)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """All of it for a scraper that accepts these types, and the type chosen."""
        try:
            encode, content_type = exposition.choose_encoder(accept)
        except (TypeError, ValueError):  # of versions that are none
            encode, content_type = exposition.choose_encoder("")
        return encode(self._registry), content_type


def _same(value: float) -> float:
    return value
