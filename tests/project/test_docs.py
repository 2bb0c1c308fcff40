"""The examples and links of the documentation work."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import yaml
from twisted.trial.unittest import SynchronousTestCase

from authotron.cli.main import main
from authotron.config.plugins import API_VERSION
from authotron.plugin import public
from tests.config.cases import BASE, ROOT, ConfigCase, laid_over
from tests.mtls.issuing import root

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
MARK = "<!-- not a configuration -->"
CERTIFICATE = root().pem.decode()
SUNDAY = 1_700_352_000.0
"""19 November 2023."""
RIVALS = {"secret_file": "secret", "listen": "port", "bind_address": "server"}
"""Keys that cannot stand beside another one, which the base has."""


@cache
def prose(page: Path) -> str:
    """Return a page without its blocks of code, in which brackets have another meaning."""
    return re.sub(
        r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )


def links(page: Path) -> Iterator[str]:
    """Yield the targets of links of a page, except for links to other sites."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not re.match(r"[a-z]+:", target):
            yield target


@cache
def anchors(page: Path) -> set[str]:
    """Return the names of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def configurations() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every YAML block that is a mapping, with its page and line."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in re.finditer(r"^```yaml\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
            content = yaml.load(found[1], yaml.CSafeLoader)
            if isinstance(content, dict) and not text[: found.start()].rstrip().endswith(MARK):
                yield f"{page.name}:{text.count(chr(10), 0, found.start()) + 1}", content


def fitting(content: Any) -> Any:
    """Return an example without absolute paths, for the base without keys that it excludes."""
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
    """Yield the files that a configuration names."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        if isinstance(value, list) and str(key).endswith("_files"):
            yield from value
        elif isinstance(value, (dict, list)):
            yield from secret_files(value)
        elif str(key).endswith("_file"):
            yield str(value)


class LinksTests(SynchronousTestCase):
    """Links between pages, and to files."""

    def test_files(self) -> None:
        """Every link leads to an existing file or folder."""
        missing = [
            f"{page.name}: {target}"
            for page in PAGES
            for target in links(page)
            if not (page.parent / target.partition("#")[0]).exists()
        ]
        self.assertEqual(missing, [])

    def test_headings(self) -> None:
        """Every link to a heading leads to an existing heading."""
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
    """The page for operators who move from auth-o-tron."""

    def test_what_widens_comes_first_S_LDAPFILTER(self) -> None:
        """Page and section "Moving" both begin with the LDAP filters that begin to give roles."""
        page = (ROOT / "docs/differences.md").read_text(encoding="utf-8")
        first = page.split("\n## ")[1]
        moving = page.partition("\n## Moving\n")[2].partition("\n2. ")[0]
        for text in (first, moving):
            self.assertRegex(text, r"filter[^.]*\bin\W+parentheses")
            self.assertIn("roles", text)


class ChangelogTests(SynchronousTestCase):
    """The changelog, which operators read before an upgrade."""

    def test_once(self) -> None:
        """Each heading and each change of a version is listed once, and "Upgrading" comes first."""
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
    """Configurations in the documentation."""

    def test_load(self) -> None:
        """Every configuration that is not marked loads, laid over a small base."""
        shown = list(configurations())
        self.assertGreater(len(shown), 10)
        for place, content in shown:
            with self.subTest(place):
                over = fitting(content)
                for name in secret_files(over):
                    is_certificate = name.endswith(".pem")
                    text = (
                        CERTIFICATE
                        if is_certificate
                        else "a-secret-that-is-long-enough-for-HS256\n"
                    )
                    (self.folder / name).write_text(text)
                base = {**{key: {} for key in content}, **BASE}
                self.load(laid_over(base, over))


class CommandsTests(SynchronousTestCase):
    """The page of the command line."""

    def test_known(self) -> None:
        """Every command that has a heading exists."""
        text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
        shown = re.findall(r"^## authotron (.+)$", text, flags=re.MULTILINE)
        self.assertGreater(len(shown), 5)
        for words in shown:
            command: click.Command | None = main
            for word in words.split():
                assert isinstance(command, click.Group), words
                command = command.get_command(click.Context(command), word)
            self.assertIsNotNone(command, words)


class SampleTests(SynchronousTestCase):
    """The page docs/extending.md and the package examples/authotron-robots."""

    PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")

    def test_same_code(self) -> None:
        """The page shows every file of the sample package, as it is."""
        pattern = r"^<!-- (examples/\S+) -->\n(?:<!-- [^\n]* -->\n)?```\w+\n(.*?)^```$"
        shown = dict(re.findall(pattern, self.PAGE, flags=re.MULTILINE | re.DOTALL))
        folder = ROOT / "examples" / "authotron-robots"
        found = [*folder.glob("*.toml"), *folder.glob("*.yaml"), *folder.glob("*/**/[a-z]*.py")]
        paths = {path.relative_to(ROOT).as_posix(): path for path in found if is_source(path)}
        self.assertEqual(set(shown), set(paths))
        for name, text in shown.items():
            self.assertEqual(text, paths[name].read_text(encoding="utf-8"), name)

    def test_tree_W_IMPORT(self) -> None:
        """The tree on the page lists every file of the sample package, also the empty files."""
        tree = self.PAGE.partition("```text\nauthotron-robots/\n")[2].partition("```")[0]
        listed, folders = set[str](), [""]
        for line in tree.splitlines():
            name, depth = line.split()[0], (len(line) - len(line.lstrip())) // 2
            folders[depth:] = [folders[depth - 1] + name]
            listed |= set() if name.endswith("/") else {folders[depth]}
        folder = ROOT / "examples" / "authotron-robots"
        files = [path for path in folder.rglob("*") if path.is_file() and is_of_package(path)]
        found = {path.relative_to(folder).as_posix() for path in files}
        self.assertEqual(listed, found - {"README.md"})
        empty = {name for name in listed if (folder / name).read_text("utf-8").count("\n") <= 1}
        touched = self.PAGE.partition("\ntouch ")[2].partition("\n")[0].split()
        self.assertEqual(set(touched), empty)

    def test_public_names(self) -> None:
        """The sample imports public names of authotron alone; the page names no others."""
        imported = re.findall(r"^from (authotron(?:\.\S+)?) import", self.PAGE, flags=re.MULTILINE)
        allowed = r"authotron\.(plugin|testing\.\w+)$"
        self.assertEqual([name for name in imported if not re.match(allowed, name)], [])
        modules = map(import_module, re.findall(r"`(authotron\.testing\.\w+)`", self.PAGE))
        known = {
            *public.__all__,
            *vars(builtins),
            *(name for each in modules for name in vars(each)),
        }
        named = set(re.findall(r"`([A-Z][A-Za-z]*[a-z]\w*)[`(]", self.PAGE))
        self.assertEqual(named - known, {"Config", "Authorization"})

    def test_version(self) -> None:
        """The page says which version the interface of plugins has."""
        self.assertIn(f"a number: **{API_VERSION}**", self.PAGE)


class BackendsTests(SynchronousTestCase):
    """The pages for backends, and the examples in examples/backends."""

    def test_same_code(self) -> None:
        """Every example, in Python and in other languages, is shown on a page, as it is."""
        pattern = r"^<!-- (examples/(?:backends|verify)/\S+) -->\n```\w+\n(.*?)^```$"
        shown = {
            name: code
            for page in (ROOT / "docs").glob("backends-*.md")
            for name, code in re.findall(
                pattern, page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
            )
        }
        folder = ROOT / "examples"
        kinds = ("go", "mjs", "java", "xml", "rs", "toml")
        others = [path for kind in kinds for path in folder.glob(f"verify/*/**/*.{kind}")]
        examples = [*folder.glob("backends/*.py"), *others]
        code = {each.relative_to(ROOT).as_posix(): each.read_text("utf-8") for each in examples}
        self.assertEqual(shown, code)


def is_of_package(path: Path) -> bool:
    """Return whether a file is part of a package, and not the result of a build or a test."""
    made = ("build", "dist", "__pycache__", "_trial_temp")
    return not any(part in made or part.endswith(".egg-info") for part in path.parts)


def is_source(path: Path) -> bool:
    return "build" not in path.parts and path.read_text(encoding="utf-8").count("\n") > 1


class EventsTests(SynchronousTestCase):
    """The page of the log."""

    def test_all(self) -> None:
        """Every event that the code logs is on the page."""
        page = (ROOT / "docs" / "logging.md").read_text(encoding="utf-8")
        sources = [path.read_text(encoding="utf-8") for path in (ROOT / "authotron").rglob("*.py")]
        logged = {name for text in sources for name in re.findall(r'event="([a-z._]+)"', text)}
        self.assertGreater(len(logged), 30)
        self.assertEqual([name for name in sorted(logged) if f"`{name}`" not in page], [])
