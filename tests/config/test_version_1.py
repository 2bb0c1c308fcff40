"""Configurations of version 1.0.0."""

from __future__ import annotations

from typing import Any

from tests.config.cases import BASE, ConfigCase, laid_over


class Version1Tests(ConfigCase):
    """Version 1.0.0."""

    def older(self, **over: Any) -> dict[str, Any]:
        base = laid_over(
            BASE, {"version": "1.0.0", "server": ..., "bind_address": "127.0.0.1:8080"}
        )
        merged: dict[str, Any] = laid_over(base, over)
        return merged

    def test_bind_address_becomes_host_and_port(self) -> None:
        """C{bind_address} becomes host and port; metrics are on port 9090."""
        file = self.load(self.older(bind_address="[::1]:81")).file
        self.assertEqual((file.server.host, file.server.port), ("::1", 81))
        self.assertEqual((file.metrics.enabled, file.metrics.port), (True, 9090))

    def test_bind_address_of_ipv6_needs_no_brackets_O_VALUE(self) -> None:
        """An IPv6 address needs no brackets; the port stands behind the last colon."""
        for address, meant in (
            ("::1:8080", ("::1", 8080)),
            (":::8080", ("::", 8080)),
            ("[::]:8080", ("::", 8080)),
            ("localhost:08080", ("localhost", 8080)),
            ("127.0.0.1:+8080", ("127.0.0.1", 8080)),
        ):
            server = self.load(self.older(bind_address=address)).file.server
            self.assertEqual((server.host, server.port), meant)

    def test_variables_of_version_2_are_ignored_O_ENV(self) -> None:
        """Variables of C{server} are ignored with a warning in version 1.0.0."""
        found = self.load(self.older(), AOT_SERVER__PORT="8081")
        self.assertEqual(found.file.server.port, 8080)
        self.assertIn("AOT_SERVER__PORT: ignored", str(found.warnings))
        found = self.load(self.older(), AOT_BIND_ADDRESS=" 127.0.0.1:8082\n")
        self.assertEqual(found.file.server.port, 8082)
        found = self.load(BASE, AOT_BIND_ADDRESS="127.0.0.1:8082")
        self.assertEqual(found.file.server.port, 8080)
        self.assertIn("AOT_BIND_ADDRESS: ignored", str(found.warnings))

    def test_metrics_section_is_ignored(self) -> None:
        """A metrics section is ignored, with a warning."""
        found = self.load(self.older(metrics={"enabled": False}))
        self.assertTrue(found.file.metrics.enabled)
        self.assertIn("metrics", "\n".join(found.warnings))

    def test_invalid_bind_address_is_a_problem(self) -> None:
        """An invalid C{bind_address} is a problem."""
        for address in (
            ":8080",
            "localhost",
            "127.0.0.1:http",
            8080,
            "localhost:",
            "x:-1",
            "x: 80",
        ):
            with self.subTest(repr(address)):
                [problem] = self.problems(self.older(bind_address=address))
                self.assertIn("bind_address", problem)
