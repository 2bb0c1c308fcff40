"""C{authotron explain} prints log events of the authentication."""

from __future__ import annotations

import contextlib
import io

from twisted.logger import LogEvent, LogLevel
from twisted.trial.unittest import SynchronousTestCase

from authotron.cli import explain


class EventsTests(SynchronousTestCase):
    """Each log event becomes one line."""

    def shown(self, **event: object) -> str:
        told: LogEvent = {"log_format": "it happened", "log_level": LogLevel.debug, **event}
        with contextlib.redirect_stdout(io.StringIO()) as output:
            explain._print_event(told)
        return output.getvalue()

    def test_prints_authentication_events_of_any_module_D7(self) -> None:
        """Events of the authentication are printed, whichever module logs them."""
        for name in ("auth.provider.refused", "auth.provider.broken", "augmenters.augmenter.added"):
            self.assertIn("it happened", self.shown(event=name, log_namespace="elsewhere"))

    def test_hides_other_events_D7(self) -> None:
        """Other events are not printed, even if the authenticator's module logs them."""
        self.assertEqual(self.shown(event="startup.server.started"), "")
        self.assertEqual(self.shown(log_namespace="authotron.gateway.authentication"), "")
