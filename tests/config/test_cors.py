"""The section C{cors}."""

from __future__ import annotations

from typing import Any

from authotron.model.errors import ConfigError
from tests.config.cases import ConfigCase
from tests.proxy_examples import gateway


class CorsTests(ConfigCase):
    """Origins, and what becomes of their preflights."""

    def problem(self, **cors: Any) -> str:
        with self.assertRaises(ConfigError) as raised:
            gateway(cors=cors)
        return str(raised.exception)

    def test_origins(self) -> None:
        """Origins are accepted as browsers send them."""
        for origin in (
            "https://app.example.org",
            "http://localhost:3000",
            "https://[::1]:8443",
            "https://xn--bcher-kva.example",
        ):
            found = gateway(cors={"origins": [origin]}).config.file.cors
            self.assertEqual(found.origins, (origin,))

    def test_not_origins(self) -> None:
        """What no browser sends, or could mean more to a proxy, is a problem."""
        for origin in (
            "*",
            "null",
            "app.example.org",
            "https://app.example.org/",
            "https://App.example.org",
            "https://app.example.org:443",
            "http://app.example.org:80",
            'https://a";return 200;#',
            "https://a b",
            "https://a\n",
            "https://$host",
        ):
            with self.subTest(origin):
                self.assertIn("cors.origins[0]", self.problem(origins=[origin]))

    def test_either(self) -> None:
        """The proxy answers preflights, or passes them on."""
        found = self.problem(origins=["https://a.example"], pass_preflights=True)
        self.assertIn("cors.pass_preflights: is true beside origins", found)
