"""Tests of L{authotron.plugin}, the one import of plugins of other packages."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Literal

from twisted.trial.unittest import SynchronousTestCase

from authotron import plugin
from authotron.config import plugins
from authotron.config.plugins import PluginConfig
from authotron.model.errors import ConfigError
from authotron.plugin import public


class PublicNamesTests(SynchronousTestCase):
    """Names that are imported when they are asked for."""

    def test_all_names(self) -> None:
        """Every public name can be imported from C{authotron.plugin}."""
        for name in public.__all__:
            self.assertIs(getattr(plugin, name), getattr(public, name))

    def test_unknown_name(self) -> None:
        """A name that does not exist is an C{AttributeError}, as of every module."""
        for name in ("nothing", "_nothing", "__wrapped__"):
            self.assertFalse(hasattr(plugin, name))


class Config(PluginConfig):
    """`type: sample`: a plugin of another package."""

    type: Literal["sample"]


class VersionTests(SynchronousTestCase):
    """The version of the interface that a plugin is written for."""

    def load(self, **names: object) -> ModuleType:
        """Load the type C{sample}, whose module has C{names}."""
        module = ModuleType("sample")
        vars(module).update(Config=Config, make=plugins.load, **names)
        self.patch(sys, "modules", {**sys.modules, "sample": module})
        point = EntryPoint("sample", "sample", "authotron.providers")
        self.patch(plugins, "entry_points", lambda _group: (point,))
        return plugins.load("providers", "sample", "providers[0]")

    def test_same_version(self) -> None:
        """A plugin of the current version, or without a version, is loaded."""
        self.assertEqual(self.load().__name__, "sample")
        self.assertEqual(self.load(API_VERSION=plugins.API_VERSION).__name__, "sample")

    def test_other_version(self) -> None:
        """A plugin of another version is an error of the configuration that names both versions."""
        error = self.assertRaises(ConfigError, self.load, API_VERSION=99)
        [problem] = error.problems
        self.assertEqual(problem.path, "providers[0].type")
        self.assertIn("version 99 of the plugin interface", problem.message)
        self.assertIn(f"version {plugins.API_VERSION}", problem.message)
