"""
Make pages of the files outside docs/ to which pages link: links lead to them as in the repository.

Markdown becomes a page as it is, other text a page with its source, and a folder a list of its
files. A large file is copied. MkDocs calls the functions that begin with C{on_}.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
SECTION = "Repository"
FOLDER = "repository"
LARGEST = 40_000
"""Bytes of a file that is shown as a page. Larger ones are copied."""
LANGUAGES = {".py": "python", ".conf": "nginx", ".service": "ini", ".socket": "ini", "": "text"}
FENCED = re.compile(r"^( *)(`{3,})[^\n]*\n.*?^\1\2 *$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?P<before>\]\(|\b(?:src|srcset)=\")(?P<target>[^)\s\"#]+)(?P<rest>[^)\s\"]*)")
FOREIGN = re.compile(
    r"<(?:script|img|iframe|source|object|embed)\b[^>]*?\b(?:src|srcset|data)=\"?(?:https?:)?//"
    r"|<link\b[^>]*rel=\"?(?:stylesheet|preload|preconnect|icon)\b[^>]*href=\"?(?:https?:)?//"
    r"|<link\b[^>]*href=\"?(?:https?:)?//[^>]*rel=\"?(?:stylesheet|preload|preconnect|icon)\b"
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file outside docs/ that a page links to, directly or through another."""
    pages = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    seen = set(pages)
    for path in pages:
        if (ROOT / path).suffix != ".md":
            continue
        for target in sorted(_targets(path) - seen):
            if target.startswith("docs/") or not (ROOT / target).exists():
                continue  # MkDocs reports a link that is broken
            seen.add(target)
            pages.append(target)
            files.append(_file(target, config))
    added = sorted(_site_path(path) for path in pages if not path.startswith("docs/"))
    config.nav.append({SECTION: [{_title(path): path} for path in added if path.endswith(".md")]})
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to pages of the site, and indent lists as Python-Markdown demands."""
    here = _repository_path(page.file.src_uri)

    def retarget(match: re.Match[str]) -> str:
        target = match["target"]
        if not _is_local(target):
            return match[0]
        there = posixpath.normpath(posixpath.join(posixpath.dirname(here), target))
        site = _site_path(there) if (ROOT / there).exists() else target
        is_markdown = match["before"] == "]("
        base = posixpath.dirname(page.file.src_uri if is_markdown else page.file.dest_uri)
        relative = posixpath.relpath(site, base or ".") if site != target else target
        return match["before"] + relative + match["rest"]

    return _outside_code(lambda text: _indent(LINK.sub(retarget, text)), markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse a page that loads anything from another server."""
    if found := FOREIGN.search(output):
        raise PluginError(f"{page.file.src_uri} loads a file from elsewhere: {found[0]}")
    return output


def _targets(path: str) -> set[str]:
    """The files of the repository to which a Markdown file links."""
    text = FENCED.sub("", (ROOT / path).read_text(encoding="utf-8"))
    folder = posixpath.dirname(path)
    return {
        posixpath.normpath(posixpath.join(folder, match["target"]))
        for match in LINK.finditer(text)
        if _is_local(match["target"])
    }


def _is_local(target: str) -> bool:
    return not re.match(r"[a-z]+:|/", target)


def _site_path(path: str) -> str:
    """Where the site has a file of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path == "docs":
        return "README.md"
    is_page = not _is_large(path) and not path.endswith(".md")
    return f"{FOLDER}/{path}.md" if is_page else f"{FOLDER}/{path}"


def _repository_path(site: str) -> str:
    """The file of the repository that a page is made from; for a page of source with C{.md}."""
    return site.removeprefix(f"{FOLDER}/") if site.startswith(f"{FOLDER}/") else f"docs/{site}"


def _title(site: str) -> str:
    path = _repository_path(site)
    return path if (ROOT / path).exists() else path.removesuffix(".md")


def _is_large(path: str) -> bool:
    return (ROOT / path).is_file() and (ROOT / path).stat().st_size > LARGEST


def _file(path: str, config: MkDocsConfig) -> File:
    """What the site has of a file outside docs/."""
    source = ROOT / path
    if source.suffix == ".md" or _is_large(path):
        return File.generated(config, _site_path(path), abs_src_path=str(source))
    if source.is_dir():
        names = sorted(each.name for each in source.iterdir() if each.name != "__pycache__")
        content = "\n".join(["In this folder:", "", *(f"* `{name}`" for name in names)])
    else:
        language = LANGUAGES.get(source.suffix, source.suffix[1:])
        content = f"`````{language}\n{source.read_text(encoding='utf-8')}\n`````"
    return File.generated(config, _site_path(path), content=f"# {path}\n\n{content}\n")


def _outside_code(change: Callable[[str], str], markdown: str) -> str:
    """Change the text between blocks of code."""
    parts, end = [], 0
    for block in FENCED.finditer(markdown):
        parts += [change(markdown[end : block.start()]), block[0]]
        end = block.end()
    return "".join([*parts, change(markdown[end:])])


def _indent(text: str) -> str:
    """Indent what belongs to a list item by four columns, as Python-Markdown demands."""
    return re.sub(r"^ {2,3}(?=\S)", "    ", text, flags=re.MULTILINE)
