"""The examples of the documents, and the sample configuration, can be loaded."""

from __future__ import annotations

import yaml

from tests.config.cases import BASE, ROOT, STRONG, ConfigCase, laid_over

EXAMPLES = sorted((ROOT / "tests" / "examples").glob("*.yaml"))


class ExamplesTests(ConfigCase):
    """The examples in tests/examples."""

    def test_every_example_loads(self) -> None:
        """
        Every example can be loaded, fragments over a small base; the one that must fail
        fails.
        """
        self.assertGreater(len(EXAMPLES), 25)
        for path in EXAMPLES:
            with self.subTest(path.name):
                content = laid_over(BASE, yaml.safe_load(path.read_text()))
                if "fails" in path.name:
                    self.assertIn("8080", self.problems(content, **STRONG)[0])
                else:
                    self.load(content, **STRONG)

    def test_well_known_secret_is_rejected_T78(self) -> None:
        """The well-known secret of an example is rejected."""
        path = next(path for path in EXAMPLES if "complete" in path.name)
        problems = self.problems(laid_over(BASE, yaml.safe_load(path.read_text())))
        self.assertTrue(problems[0].startswith("jwt.secret: "))
        self.assertIn("placeholder", problems[0])
