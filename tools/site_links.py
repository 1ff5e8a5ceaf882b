"""Pages that lie beside `docs/` in the repository become pages of the site here.

The repository's README is the site's first page, and `docs/README.md` its list of all pages.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
# A page as the repository has it -> its name on the site.
PAGES = {
    "README.md": "index.md",
    "docs/README.md": "all-pages.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": "licence.md",
    "plugins/example/README.md": "example-plugin.md",
}
_LINK = re.compile(r"\]\((?!\w+://)([^)#\s]+)")


def on_files(files: Files, *, config: Any) -> Files:
    """Take the pages in under their names on the site."""
    listing = files.get_file_from_path("README.md")
    assert listing is not None
    files.remove(listing)
    for source, name in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=_moved(text, source, name)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Point links that leave `docs/` to where the pages are on the site."""
    name = page.file.src_uri
    return markdown if name in PAGES.values() else _moved(markdown, f"docs/{name}", name)


def _moved(text: str, source: str, name: str) -> str:
    """A page's links, of the repository, as links of the site."""

    def link(match: re.Match[str]) -> str:
        target = (ROOT / source).parent.joinpath(match[1]).resolve()
        if not target.is_relative_to(ROOT):
            return match[0]
        where = target.relative_to(ROOT).as_posix()
        on_site = PAGES.get(where, where.removeprefix("docs/"))
        return f"]({'../' * name.count('/')}{on_site}"

    return _LINK.sub(link, text)
