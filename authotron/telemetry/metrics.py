"""What is counted, under its documented names, and made Prometheus text only when scraped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, chain
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
from authotron.telemetry.counters import BOUNDS, Counts, Histogram

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that may become a label; all others are C{other}."""

Counted = dict[str, Any]
"""What a process has counted, in a form that JSON knows; see L{Metrics.counted}."""


class Part(Protocol):
    """As much of a provider or an augmenter as becomes a label."""

    name: str
    type: str
    realm: str


_PROVIDER = ("provider_name", "provider_type", "realm")
_AUGMENTER = ("augmenter_name", "augmenter_type", "realm")


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
        "authotron_http_requests",
        "HTTP requests answered",
        ("route", "method", "status_code"),
        durations=durations["authotron_http_request_duration_seconds"],
    )


def _counts() -> Iterator[Counts]:
    yield Counts(
        "authotron_http_requests_in_flight",
        "HTTP requests being answered",
        ("method",),
        is_gauge=True,
    )
    yield Counts("authotron_front_handed_over", "Connections given to the site for good", ())
    yield Counts("authotron_connections_refused", "Connections above the limit", ())
    yield Counts(
        "authotron_blocking_callbacks", "Callbacks that held the reactor up for 100 ms", ("route",)
    )
    yield Counts("authotron_reloads", "Attempts to read the configuration again", ("result",))
    yield Counts("authotron_workers_lost", "Workers that ended unasked", ("reason",))


def _histograms() -> Iterator[Histogram]:
    yield Histogram("auth_duration_seconds", "Authentication latency", ("result", "realm"))
    yield Histogram("auth_provider_duration_seconds", "Provider-specific latency", _PROVIDER)
    yield Histogram("augmenter_duration_seconds", "Augmentation latency", _AUGMENTER[1:])
    yield Histogram(
        "authotron_http_request_duration_seconds", "Time to answer", ("route", "method")
    )


class Metrics(Collector):
    """
    Everything that is counted, under its documented names (docs/metrics.md, "Families").

    Labels come from the configuration or from short lists, never from what a client sends or what
    is stored.
    """

    def __init__(self, children: Callable[[], Iterable[int]] = tuple) -> None:
        """@param children: other processes of the service, which it speaks for."""
        self._children = children
        self._histograms = {each.name: each for each in _histograms()}
        counts = chain(_timed_counts(self._histograms), _counts())
        self._counts = {each.name: each for each in counts}
        self._realms: set[str] | None = None
        self._requests = self._counts["auth_requests"].values
        self._attempts = self._counts["auth_provider_attempts"].values
        self._augmentations = self._counts["augmenter_attempts"].values
        self._http = self._counts["authotron_http_requests"].values
        self._in_flight = self._counts["authotron_http_requests_in_flight"].values
        self._handed_over = self._counts["authotron_front_handed_over"].values
        self._turned_away = self._counts["authotron_connections_refused"].values
        self._blocking = self._counts["authotron_blocking_callbacks"].values
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
        """Show zeros for all that may come; from now on no other realm becomes a label."""
        providers = tuple(providers)
        self._realms = {each.realm for each in providers} | (self._realms or set())
        for result in results:
            self._counts["auth_requests"].show(result, "unknown")
        for provider in providers:
            self._counts["auth_requests"].show("success", provider.realm)
            for result in ("success", "error", "timeout"):
                labels = (provider.name, provider.type, provider.realm, result)
                self._counts["auth_provider_attempts"].show(*labels)
        for augmenter in augmenters:
            for result in ("success", "error"):
                labels = (augmenter.name, augmenter.type, augmenter.realm, result)
                self._counts["augmenter_attempts"].show(*labels)

    def watch(self, name: str, about: str, value: Callable[[], float]) -> None:
        """Show C{value} as a gauge whenever somebody looks."""
        self._gauges[name] = (about, value)

    def judged(self, result: str, realm: str, seconds: float) -> None:
        """
        A request for an identity was answered.

        A realm that no provider is configured for, as that of an imported token, is C{unknown}.
        """
        tally = self._requests.get((result, realm))
        if tally is None:
            known = self._realms is None or realm in self._realms
            tally = self._requests[result, realm if known else "unknown"]
        tally.add(seconds)

    def provider_answered(self, provider: Part, result: str, seconds: float) -> None:
        """A provider answered; C{result} is success, error, timeout or abandoned."""
        tally = self._attempts[provider.name, provider.type, provider.realm, result]
        if result in ("success", "error"):
            tally.add(seconds)
        else:
            tally.number += 1

    def augmenter_answered(self, augmenter: Part, result: str, seconds: float) -> None:
        """An augmenter answered; C{result} is success or error."""
        self._augmentations[augmenter.name, augmenter.type, augmenter.realm, result].add(seconds)

    def request_began(self, method: str) -> None:
        """An HTTP request is being answered."""
        self._in_flight[(method,)].number += 1

    def request_ended(self, method: str) -> None:
        """It is answered, or its client has left."""
        self._in_flight[(method,)].number -= 1

    def request_answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """An HTTP request was answered."""
        self._http[route, method, str(status)].add(seconds)

    def handed_over(self) -> None:
        """A connection asked for more than verdicts, and went to the site."""
        self._handed_over[()].number += 1

    def turned_away(self) -> None:
        """A connection was one too many."""
        self._turned_away[()].number += 1

    def held_up(self, route: str) -> None:
        """A request for this route held the reactor up."""
        self._blocking[(route,)].number += 1

    def reloaded(self, result: str) -> None:
        """The configuration was read again; C{result} is success or failure."""
        self._reloads[(result,)].number += 1

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
        self._workers_lost[(reason,)].number += 1

    def counted(self) -> Counted:
        """All numbers as they are now, for another process to add up."""
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
        Add what another process has counted.

        @param ended: it is gone: what it did remains, how it fared does not.
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
            so_far = self._gauges[name][1]() if name in self._gauges else 0
            self.watch(name, about, partial(float, so_far + (0 if ended else value)))

    def collect(self) -> Iterator[Metric]:
        """The interface of a collector of C{prometheus_client}."""
        yield from map(_counter_family, self._counts.values())
        yield from map(_histogram_family, self._histograms.values())
        for name, (about, value) in self._gauges.items():
            yield GaugeMetricFamily(name, about, value=value())
        build = GaugeMetricFamily("authotron_build_info", "Version", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        yield from self._used()

    def _used(self) -> Iterator[Metric]:
        """What all processes use, under the names that every exporter has for one."""
        used = process_usage.together(self._children())
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


def _counter_family(counts: Counts) -> Metric:
    """Counts as C{prometheus_client} knows them."""
    kind = GaugeMetricFamily if counts.is_gauge else CounterMetricFamily
    family = kind(counts.name, counts.about, labels=counts.labels)
    for labels, tally in counts.values.items():
        family.add_metric(labels, tally.number)
    return family


def _histogram_family(histogram: Histogram) -> Metric:
    """Durations as C{prometheus_client} knows them."""
    family = HistogramMetricFamily(histogram.name, histogram.about, labels=histogram.labels)
    ends = [*(f"{bound:g}" for bound in BOUNDS), "+Inf"]
    for labels, durations in histogram.values.items():
        buckets = list(zip(ends, accumulate(durations.buckets), strict=True))
        family.add_metric(labels, buckets, durations.nanoseconds / 1e9)
    return family
