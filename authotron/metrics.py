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
class _Counts:
    """Numbers of one name, by the values of its labels."""

    name: str
    about: str
    labels: Sequence[str]
    is_gauge: bool = False
    values: Counter[Labels] = field(factory=Counter, init=False)

    def show(self, *labels: str) -> None:
        """Show a zero, so that an alert sees the first one."""
        self.values[labels] += 0

    def shown(self) -> Metric:
        """The same as C{prometheus_client} knows it."""
        kind = GaugeMetricFamily if self.is_gauge else CounterMetricFamily
        family = kind(self.name, self.about, labels=self.labels)
        for labels, count in self.values.items():
            family.add_metric(labels, count)
        return family


@define(eq=False)
class _Histogram:
    """Durations of one name, by the values of its labels."""

    name: str
    about: str
    labels: Sequence[str]
    values: defaultdict[Labels, Durations] = field(
        factory=lambda: defaultdict(Durations), init=False
    )

    def show(self, *labels: str) -> None:
        """Show that there were none, so that an alert sees the first one."""
        self.values.setdefault(labels, Durations())

    def shown(self) -> Metric:
        """The same as C{prometheus_client} knows it."""
        family = HistogramMetricFamily(self.name, self.about, labels=self.labels)
        for labels, durations in self.values.items():
            ends = [*(f"{bound:g}" for bound in BOUNDS), "+Inf"]
            buckets = list(zip(ends, accumulate(durations.buckets), strict=True))
            family.add_metric(labels, buckets, durations.nanoseconds / 1e9)
        return family


_PROVIDER = ("provider_name", "provider_type", "realm")
_AUGMENTER = ("augmenter_name", "augmenter_type", "realm")


def _counts() -> Iterator[_Counts]:
    yield _Counts("auth_requests", "Total authentication requests", ("result", "realm"))
    yield _Counts(
        "auth_provider_attempts", "Attempts per authentication provider", (*_PROVIDER, "result")
    )
    yield _Counts("augmenter_attempts", "Augmentation attempts", (*_AUGMENTER, "result"))
    yield _Counts(
        "authotron_http_requests", "HTTP requests answered", ("route", "method", "status_code")
    )
    yield _Counts(
        "authotron_http_requests_in_flight",
        "HTTP requests being answered",
        ("method",),
        is_gauge=True,
    )
    yield _Counts("authotron_front_handed_over", "Connections given to the site for good", ())
    yield _Counts("authotron_connections_refused", "Connections above the limit", ())
    yield _Counts("authotron_reloads", "Attempts to read the configuration again", ("result",))
    yield _Counts("authotron_workers_lost", "Workers that ended unasked", ("reason",))


def _histograms() -> Iterator[_Histogram]:
    yield _Histogram("auth_duration_seconds", "Authentication latency", ("result", "realm"))
    yield _Histogram("auth_provider_duration_seconds", "Provider-specific latency", _PROVIDER)
    yield _Histogram("augmenter_duration_seconds", "Augmentation latency", _AUGMENTER[1:])
    yield _Histogram(
        "authotron_http_request_duration_seconds", "Time to answer", ("route", "method")
    )


class Metrics(Collector):
    """
    Everything that is counted, under its documented names (docs/metrics.md, "Families").

    Labels come from the configuration or from short lists, never from what a client sends.
    """

    def __init__(self, children: Callable[[], Iterable[int]] = tuple) -> None:
        """@param children: other processes of the service, which it speaks for."""
        self._children = children
        self._counts = {each.name: each for each in _counts()}
        self._histograms = {each.name: each for each in _histograms()}
        self._requests = self._counts["auth_requests"].values
        self._request_durations = self._histograms["auth_duration_seconds"].values
        self._attempts = self._counts["auth_provider_attempts"].values
        self._attempt_durations = self._histograms["auth_provider_duration_seconds"].values
        self._augmentations = self._counts["augmenter_attempts"].values
        self._augmentation_durations = self._histograms["augmenter_duration_seconds"].values
        self._http = self._counts["authotron_http_requests"].values
        self._http_durations = self._histograms["authotron_http_request_duration_seconds"].values
        self._in_flight = self._counts["authotron_http_requests_in_flight"].values
        self._handed_over = self._counts["authotron_front_handed_over"].values
        self._turned_away = self._counts["authotron_connections_refused"].values
        self._reloads = self._counts["authotron_reloads"].values
        self._workers_lost = self._counts["authotron_workers_lost"].values
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
        """Show zeros for all that may come."""
        counts, histograms = self._counts, self._histograms
        for result in results:
            counts["auth_requests"].show(result, "unknown")
        for provider in providers:
            counts["auth_requests"].show("success", provider.realm)
            histograms["auth_duration_seconds"].show("success", provider.realm)
            labels = (provider.name, provider.type, provider.realm)
            for result in ("success", "error", "timeout"):
                counts["auth_provider_attempts"].show(*labels, result)
            histograms["auth_provider_duration_seconds"].show(*labels)
        for augmenter in augmenters:
            labels = (augmenter.name, augmenter.type, augmenter.realm)
            for result in ("success", "error"):
                counts["augmenter_attempts"].show(*labels, result)
            histograms["augmenter_duration_seconds"].show(augmenter.type, augmenter.realm)

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
            self._counts["authotron_workers_lost"].show(reason)

    def worker_lost(self, reason: str) -> None:
        """A worker is gone that should not be; C{reason} is died or blocked."""
        self._workers_lost[(reason,)] += 1

    def counted(self) -> Counted:
        """All numbers as they are now, for another process to add up."""
        return {
            "counts": {
                name: [[labels, number] for labels, number in each.values.items()]
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
        Add what another process has counted.

        @param ended: it is gone: what it did remains, how it fared does not.
        """
        for name, counts in counted["counts"].items():
            mine = self._counts[name]
            for labels, number in counts:
                mine.values[tuple(labels)] += 0 if ended and mine.is_gauge else number
        for name, durations in counted["durations"].items():
            for labels, nanoseconds, buckets in durations:
                total = self._histograms[name].values[tuple(labels)]
                total.nanoseconds += nanoseconds
                total.buckets = [a + b for a, b in zip(total.buckets, buckets, strict=True)]
        for name, (about, value) in counted["gauges"].items():
            so_far = self._gauges[name][1]() if name in self._gauges else 0
            self.watch(name, about, partial(float, so_far + (0 if ended else value)))

    def collect(self) -> Iterator[Metric]:
        """The interface of a collector of C{prometheus_client}."""
        yield from (counts.shown() for counts in self._counts.values())
        yield from (histogram.shown() for histogram in self._histograms.values())
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
