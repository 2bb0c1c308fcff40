"""What the documentation shows is there, and works."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import yaml
from twisted.trial.unittest import SynchronousTestCase

from authotron.cli.main import main
from authotron.config.section import read
from authotron.model.identity import Credential
from authotron.plugin.interfaces import IAugmenter, IProvider
from authotron.testing.contracts import AugmenterContract, ProviderContract
from authotron.testing.worlds import clock_at, world
from tests.config.test_check import BASE, ROOT, ConfigCase, laid_over

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
MARK = "<!-- not a configuration -->"
SUNDAY = 1_700_352_000.0
"""19 November 2023."""
RIVALS = {"secret_file": "secret", "listen": "port", "bind_address": "server"}
"""Keys that cannot stand beside another one, which the base has."""


def prose(page: Path) -> str:
    """A page without its blocks of code, in which brackets mean something else."""
    return re.sub(
        r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )


def links(page: Path) -> Iterator[str]:
    """Where it leads, but for other sites."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(page: Path) -> set[str]:
    """The names of its headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def configurations() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every block of YAML that is a mapping, and where it stands."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in re.finditer(r"^```yaml\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
            content = yaml.safe_load(found[1])
            if isinstance(content, dict) and not text[: found.start()].rstrip().endswith(MARK):
                yield f"{page.name}:{text.count(chr(10), 0, found.start()) + 1}", content


def fitting(content: Any) -> Any:
    """The same without files elsewhere on a machine; it takes away what cannot stand beside it."""
    if isinstance(content, list):
        return [laid_over({}, fitting(value)) for value in content]
    if not isinstance(content, dict):
        return content
    taken = {RIVALS[key]: ... for key in content if key in RIVALS}
    kept = {key: value for key, value in content.items() if not is_elsewhere(key, value)}
    return {**taken, **{key: fitting(value) for key, value in kept.items()}}


def is_elsewhere(key: object, value: object) -> bool:
    return str(key).endswith("_file") and Path(str(value)).is_absolute()


def secret_files(content: Any) -> Iterator[str]:
    """The files beside the configuration that it names."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        if isinstance(value, (dict, list)):
            yield from secret_files(value)
        elif str(key).endswith("_file"):
            yield str(value)


class LinksTests(SynchronousTestCase):
    """Links between pages, and to files."""

    def test_files(self) -> None:
        """Each leads to a file or a folder that is there."""
        missing = [
            f"{page.name}: {target}"
            for page in PAGES
            for target in links(page)
            if not (page.parent / target.partition("#")[0]).exists()
        ]
        self.assertEqual(missing, [])

    def test_headings(self) -> None:
        """Where a heading is named, the page has it."""
        for page in PAGES:
            for target in links(page):
                path, _, heading = target.partition("#")
                if heading:
                    known = anchors(page.parent / path if path else page)
                    self.assertIn(heading, known, f"{page.name}: {target}")

    def test_index(self) -> None:
        """The index leads to every page."""
        index = ROOT / "docs" / "README.md"
        pages = {page.name for page in index.parent.glob("*.md")} - {index.name}
        self.assertEqual(pages - set(links(index)), set())

    def test_navigation(self) -> None:
        """The navigation of the site (website/mkdocs.yml) leads to every page of docs/."""
        text = (ROOT / "website" / "mkdocs.yml").read_text(encoding="utf-8")
        pages = {page.name for page in (ROOT / "docs").glob("*.md")}
        self.assertEqual(set(re.findall(r": ([\w-]+\.md)$", text, flags=re.MULTILINE)), pages)

    def test_pictures(self) -> None:
        """Every picture that a page shows by HTML is there."""
        for page in PAGES:
            for target in re.findall(r' (?:src|srcset)="([^"]+)"', prose(page)):
                self.assertTrue((page.parent / target).is_file(), f"{page.name}: {target}")


class MovingTests(SynchronousTestCase):
    """What an operator reads before moving from auth-o-tron."""

    def test_what_widens_comes_first_S_LDAPFILTER(self) -> None:
        """Page and section "Moving" both begin with the LDAP filters that begin to give roles."""
        page = (ROOT / "docs/differences.md").read_text(encoding="utf-8")
        first = page.split("\n## ")[1]
        moving = page.partition("\n## Moving\n")[2].partition("\n2. ")[0]
        for text in (first, moving):
            self.assertRegex(text, r"filter[^.]*\bin\W+parentheses")
            self.assertIn("roles", text)


class ChangelogTests(SynchronousTestCase):
    """What an operator reads before an upgrade."""

    def test_once(self) -> None:
        """Of a version each heading and each change stands there once; upgrading comes first."""
        text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        for version in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
            headings = re.findall(r"^### (.+)$", version, flags=re.MULTILINE)
            changes = re.findall(r"^- (.+?)(?=^[-#]|\Z)", version, flags=re.MULTILINE | re.DOTALL)
            begun = [" ".join(each.split())[:60] for each in changes]
            for found in (headings, begun):
                self.assertEqual([each for each in found if found.count(each) > 1], [])
            if "Upgrading" in headings:
                self.assertEqual(headings[0], "Upgrading")


class ConfigurationsTests(ConfigCase):
    """Configurations that are shown."""

    def test_load(self) -> None:
        """Each loads, a fragment laid over a small base; others are marked."""
        shown = list(configurations())
        self.assertGreater(len(shown), 10)
        for place, content in shown:
            with self.subTest(place):
                over = fitting(content)
                for name in secret_files(over):
                    (self.folder / name).write_text("a-secret-that-is-long-enough-for-HS256\n")
                base = {**{key: {} for key in content}, **BASE}
                self.load(laid_over(base, over))


class CommandsTests(SynchronousTestCase):
    """The page of the command line."""

    def test_known(self) -> None:
        """Each command that has a heading is there."""
        text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
        shown = re.findall(r"^## authotron (.+)$", text, flags=re.MULTILINE)
        self.assertGreater(len(shown), 5)
        for words in shown:
            command: click.Command | None = main
            for word in words.split():
                assert isinstance(command, click.Group), words
                command = command.get_command(click.Context(command), word)
            self.assertIsNotNone(command, words)


class ExampleCase(SynchronousTestCase):
    """The modules in the page about parts of one's own."""

    def example(self, opening: str) -> ModuleType:
        """The one that begins with these words."""
        page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
        sources = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
        [source] = [each for each in sources if each.startswith(f'"""{opening}')]
        path = Path(self.mktemp()).with_suffix(".py")
        path.write_text(source, encoding="utf-8")
        spec = spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[path.stem] = module_from_spec(spec)  # pydantic looks for it there
        self.addCleanup(sys.modules.pop, path.stem)
        spec.loader.exec_module(module)
        return module

    def part(self, opening: str, **given: Any) -> Any:
        module = self.example(opening)
        section = read(module.Config, {"name": "it", "realm": "here", **given})
        return module.make(section, world(clock_at(SUNDAY)))


class RobotsTests(ProviderContract, ExampleCase):
    """The provider is one."""

    def provider(self) -> IProvider:
        robots = [{"name": "harvester", "key": "secret"}]
        provider: IProvider = self.part("Robots", type="robots", robots=robots)
        return provider

    def good(self) -> Credential:
        return Credential("bearer", "secret")

    def bad(self) -> Credential:
        return Credential("bearer", "guess")


class WeekdayTests(AugmenterContract, ExampleCase):
    """The augmenter is one. It is Sunday."""

    def augmenter(self) -> IAugmenter:
        augmenter: IAugmenter = self.part("A role", type="weekday", role="worker")
        return augmenter


class EventsTests(SynchronousTestCase):
    """The page of the log."""

    def test_all(self) -> None:
        """Each event that is told stands there."""
        page = (ROOT / "docs" / "logging.md").read_text(encoding="utf-8")
        sources = [path.read_text(encoding="utf-8") for path in (ROOT / "authotron").rglob("*.py")]
        told = {name for text in sources for name in re.findall(r'event="([a-z._]+)"', text)}
        self.assertGreater(len(told), 30)
        self.assertEqual([name for name in sorted(told) if f"`{name}`" not in page], [])
