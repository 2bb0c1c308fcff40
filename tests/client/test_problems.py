"""Which requests need no user."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from authotron.client.problems import is_excluded, open_paths


class OpenPathsTests(SynchronousTestCase):
    """Paths that are excluded."""

    def excluded(self, path: str, *paths: str) -> bool:
        return is_excluded(path, open_paths(paths))

    def test_itself(self) -> None:
        """A path stands for itself, one that ends in a slash for all below it as well."""
        self.assertTrue(self.excluded("/health", "/health"))
        self.assertTrue(self.excluded("/static/a/b", "/health", "/static/"))
        for path in ("/health/", "/healthy", "/", "", "/static", "health"):
            self.assertFalse(self.excluded(path, "/health", "/static/"), path)

    def test_home_page(self) -> None:
        """The home page can be open without the rest of the service."""
        self.assertTrue(self.excluded("/", "/"))
        self.assertFalse(self.excluded("/reports", "/"))

    def test_ambiguous(self) -> None:
        """A path that a server may read otherwise is not excluded."""
        for path in ("/static/../x", "/static/%2e%2e/x", "/static//x", "/static/\\..\\x"):
            self.assertFalse(self.excluded(path, "/static/"), path)

    def test_string(self) -> None:
        """A string is one path, not a list of its letters; what is not a path is a mistake."""
        self.assertFalse(is_excluded("/reports", open_paths("/health")))
        self.assertTrue(is_excluded("/health", open_paths("/health")))
        self.assertRaises(ValueError, open_paths, ["health"])
        self.assertRaises(ValueError, open_paths, "")
