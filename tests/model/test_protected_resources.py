"""Which protected resource a request is for."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.model.errors import Flaw, UnusableFact
from authotron.model.protected_resources import ProtectedResource, ProtectedResources
from authotron.model.request import Facts

API = "https://api.example.org"
RESOURCES = ProtectedResources(
    [
        ProtectedResource(url)
        for url in (API, f"{API}/v1", f"{API}/v1/deep", "https://[::1]:8443", "http://localhost:81")
    ]
)


class ProtectedResourcesTests(SynchronousTestCase):
    """Requests and their resources."""

    def url(self, host: str, path: str = "/", port: int | None = None) -> str:
        found = RESOURCES.of_request(Facts(host=host, path=path, port=port))
        return found.url if found else ""

    def test_longest_path(self) -> None:
        """Of several resources at a host the one with the longest path counts."""
        for path, expected in (
            ("/", API),
            ("/v1", f"{API}/v1"),
            ("/v1/x", f"{API}/v1"),
            ("/v1/deep/x", f"{API}/v1/deep"),
            ("/v12", API),
            ("/V1", API),
        ):
            self.assertEqual(self.url("api.example.org", path), expected)

    def test_port(self) -> None:
        """A port must fit if the proxy states it; the usual port is that of the scheme."""
        for host, port, expected in (
            ("api.example.org", None, API),
            ("api.example.org", 443, API),
            ("api.example.org", 80, ""),
            ("[::1]", 8443, "https://[::1]:8443"),
            ("[::1]", 443, ""),
            ("localhost", 81, "http://localhost:81"),
            ("other.example.org", None, ""),
        ):
            self.assertEqual(self.url(host, port=port), expected)

    def test_unknown_facts(self) -> None:
        """A request of an unknown host has no resource; an unknown path counts as the root."""

        def read(fact: str) -> object:
            raise UnusableFact(fact, Flaw.MISSING)

        self.assertIsNone(RESOURCES.of_request(Facts(read)))
        found = RESOURCES.of_request(Facts(read, host="api.example.org", port=None))
        self.assertEqual(found and found.url, API)

    def test_metadata(self) -> None:
        """The path of the resource stands behind the well-known path (RFC 9728 section 3.1)."""
        found = ProtectedResource(f"{API}/v1")
        path = "/.well-known/oauth-protected-resource/v1"
        self.assertEqual(found.metadata_url, f"{API}{path}")
        facts = Facts(host="api.example.org", port=None)
        self.assertEqual(RESOURCES.with_metadata_at(path, facts), found)
        self.assertIsNone(RESOURCES.with_metadata_at(f"{path}/other", facts))
