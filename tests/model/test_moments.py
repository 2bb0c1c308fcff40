"""Moments in requests and on command lines."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.model.moments import parse_moment

NOW = 1_800_000_000.0


class MomentTests(SynchronousTestCase):
    """What counts as a moment."""

    def test_accepted(self) -> None:
        """A moment is a date with a time zone, C{now}, a signed duration, or a number."""
        cases: list[tuple[object, float]] = [
            ("2027-01-15T08:00:00Z", NOW),
            ("2027-01-15T09:00:00+01:00", NOW),
            ("now", NOW),
            ("+90s", NOW + 90),
            ("-5m", NOW - 300),
            ("+24h", NOW + 86_400),
            ("+30d", NOW + 30 * 86_400),
            (1_700_000_000, 1_700_000_000.0),
            (1.5, 1.5),
        ]
        for given, expected in cases:
            self.assertEqual(parse_moment(given, NOW), expected, given)

    def test_refused(self) -> None:
        """Anything else is no moment, and the error says how to write one."""
        odd: list[object] = [None, True, [], {}, "", "tomorrow", "24h", "+24", "+1w", "+ 1h"]
        odd += ["2027-01-15T08:00:00", "-99999999d", "+999999999d", -1, 1e300, float("nan")]
        odd += ["+\u0661h", "+1e3s"]
        for given in odd:
            self.assertRaises(ValueError, parse_moment, given, NOW)
