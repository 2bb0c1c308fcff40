"""The table of proxies and features in docs/proxies.md."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests import proxy_features
from tests.functional.proxies import contract
from tests.functional.proxies.features import cell, rows


class TableTests(SynchronousTestCase):
    """The table, and the tests from which it follows."""

    def test_current(self) -> None:
        """The page has the table of the tests."""
        page = proxy_features.PAGE.read_text(encoding="utf-8")
        self.assertTrue(page == proxy_features.current(page), "run make proxy-features")

    def test_proxies(self) -> None:
        """Every proxy with a shipped configuration has a column, and each has its own proxy."""
        shipped = {path.name for path in (proxy_features.PAGE.parents[1] / "etc").iterdir()}
        servers = {case.kind.server for case in proxy_features.cases()}
        known = {"nginx", "caddy", "haproxy", "traefik", "apache", "envoy"}
        self.assertEqual(servers, known)
        self.assertEqual(known - shipped, set())
        kinds = [case.kind for case in proxy_features.cases()]
        self.assertEqual(len(kinds), len(set(kinds)))

    def test_differences_are_declared(self) -> None:
        """A proxy that passes a test in another way says so in its cell."""
        for case in proxy_features.cases():
            for name, label in rows(contract.ProxyContract):
                own = getattr(case, name) is not getattr(contract.ProxyContract, name)
                with self.subTest(case.name, label=label):
                    self.assertEqual(own, hasattr(getattr(case, name), "cell"))
                    self.assertTrue(cell(contract.ProxyContract, case, name))

    def test_labels(self) -> None:
        """No two rows are called alike."""
        labels = [label for _, label in rows(contract.ProxyContract)]
        self.assertEqual(len(labels), len(set(labels)))
