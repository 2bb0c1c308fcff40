"""The series that the metrics show, as dashboards for auth-o-tron expect them."""

from __future__ import annotations

import re

from attrs import define
from twisted.trial.unittest import SynchronousTestCase

from authotron.gateway.outcomes import RESULTS
from authotron.telemetry.metrics import Metrics


@define
class Part:
    """A provider or an augmenter, as far as metrics know it."""

    name: str
    type: str
    realm: str


class SeriesTests(SynchronousTestCase):
    """Series that exist before the first event."""

    def setUp(self) -> None:
        self.metrics = Metrics()
        self.metrics.expect(
            [Part("staff", "plain", "internal")], [Part("groups", "ldap", "corp")], RESULTS
        )

    def text(self) -> str:
        return self.metrics.text()[0].decode()

    def bounds(self, name: str) -> list[str]:
        """Return the bounds of the first histogram of a family."""
        found = re.findall(rf'^{name}_bucket{{[^}}]*?le="([^"]*)"', self.text(), re.MULTILINE)
        return list(dict.fromkeys(found))

    def test_realm_of_an_augmenter_H_SERIES(self) -> None:
        """A realm that only an augmenter names has a series of successes, at zero."""
        for realm in ("internal", "corp", "unknown"):
            sample = f'auth_requests_total{{realm="{realm}",result="success"}} 0.0'
            self.assertIn(sample, self.text())

    def test_success_in_the_realm_of_an_augmenter_H_SERIES(self) -> None:
        """A success in a realm that only an augmenter names is counted under its realm."""
        self.metrics.request_authenticated("success", "corp", 0.01)
        self.assertIn('auth_requests_total{realm="corp",result="success"} 1.0', self.text())

    def test_unknown_realms_take_no_memory(self) -> None:
        """Requests of realms without a provider are counted as one realm at once."""
        self.metrics.expect((), (), ("success",))
        for number in range(50):
            self.metrics.decision_sent("success", f"r{number}", "/auth", "GET", 200, 0.01)
        self.assertEqual(len(self.metrics._sent), 1)
        self.assertIn('auth_requests_total{realm="unknown",result="success"} 50.0', self.text())

    def test_threads_H_SERIES(self) -> None:
        """The number of threads is shown."""
        self.assertRegex(self.text(), r"(?m)^process_threads [1-9]")

    def test_bounds_of_histograms_H_SERIES(self) -> None:
        """The bounds of histograms are those of auth-o-tron, which differ between families."""
        common = ["0.001", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5"]
        self.metrics.request_answered("/authenticate", "GET", 200, 0.01)
        for name, more in (
            ("auth_duration_seconds", ["5", "10"]),
            ("authotron_http_request_duration_seconds", ["5", "10"]),
            ("auth_provider_duration_seconds", ["5"]),
            ("augmenter_duration_seconds", []),
        ):
            self.assertEqual(self.bounds(name), [*common, *more, "+Inf"], name)

    def test_long_durations_H_SERIES(self) -> None:
        """A duration above the largest bound is counted in the last bucket."""
        self.metrics.augmenter_answered(Part("groups", "ldap", "corp"), "success", 4.0)
        labels = 'augmenter_type="ldap",le="{}",realm="corp"'
        for bound, count in (("2.5", 0), ("+Inf", 1)):
            sample = f"augmenter_duration_seconds_bucket{{{labels.format(bound)}}} {count}.0"
            self.assertIn(sample, self.text())
