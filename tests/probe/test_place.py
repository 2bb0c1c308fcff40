"""URLs to attack."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.probe import place


class PlaceTests(SynchronousTestCase):
    """Reading a URL."""

    def test_parts(self) -> None:
        """Host, port and path are read; the path ends with a slash."""
        found = place.parse("https://app.example:8443/api")
        self.assertEqual((found.is_tls, found.host, found.port), (True, "app.example", 8443))
        self.assertEqual((found.authority, found.base), ("app.example:8443", "/api/"))
        self.assertEqual(place.parse("http://[::1]").port, 80)

    def test_refused(self) -> None:
        """What is not a URL of a proxy is refused, without repeating a password in it."""
        for url in (
            "app.example",
            "ftp://app.example/",
            "http://",
            "http://alice:s3cret@app.example/",
            "http://app.example/?q",
            "http://app.example/#f",
            "http://app.example/{path}",
            "http://app.example/a b",
            "http://app.example/\r\n",
            "http://app.example:port/",
            "http://app.example:70000/",
            "http://alice:s3cret",
            "http://[::1/",
        ):
            with self.subTest(url):
                error = self.assertRaises(ValueError, place.parse, url)
                self.assertNotIn("s3cret", str(error))

    def test_loopback(self) -> None:
        """Addresses of this machine alone are loopback addresses."""
        for address, expected in (
            ("127.0.0.1", True),
            ("127.8.8.8", True),
            ("::1", True),
            ("10.0.0.1", False),
            ("fe80::1%eth0", False),
            ("0.0.0.0", False),
        ):
            self.assertEqual(place.is_loopback(address), expected, address)
