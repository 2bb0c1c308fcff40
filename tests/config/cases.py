"""What the tests of the configuration share: a small configuration, and how to load it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from authotron.config.check import Config
from authotron.config.file import load
from authotron.model.errors import ConfigError

ROOT = Path(__file__).parents[2]


STRONG = {"AOT_JWT__SECRET": "a secret that is long enough for HS256"}


BASE: dict[str, Any] = {
    "version": "2.0.0",
    "server": {"host": "127.0.0.1", "port": 8080},
    "jwt": {"iss": "gate", "secret": "a secret that is long enough for HS256"},
    "providers": [
        {
            "type": "plain",
            "name": "staff",
            "realm": "internal",
            "users": [{"username": "alice", "password": "wonder"}],
        }
    ],
}


def laid_over(base: Any, over: Any) -> Any:
    """Merge mappings and replace everything else; C{...} removes a key."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    merged = {**base, **{key: laid_over(base.get(key), value) for key, value in over.items()}}
    return {key: value for key, value in merged.items() if value is not ...}


class ConfigCase(SynchronousTestCase):
    """Loads a configuration, or returns its problems."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def load(self, content: Any, **environ: str) -> Config:
        path = self.folder / "config.yaml"
        text = content if isinstance(content, str) else yaml.dump(content, Dumper=yaml.CSafeDumper)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return load(path, environ)

    def changed(self, **over: Any) -> Config:
        return self.load(laid_over(BASE, over))

    def problems(self, content: Any, **environ: str) -> list[str]:
        error = self.assertRaises(ConfigError, self.load, content, **environ)
        return [str(evolve(problem, origin="")) for problem in error.problems]

    def problem(self, **over: Any) -> str:
        [problem] = self.problems(laid_over(BASE, over))
        return problem
