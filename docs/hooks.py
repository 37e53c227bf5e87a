"""Hooks of mkdocs: the pages outside docs/, the notebook and the docstrings as pages of the site.

The files are written for GitHub; links between them are rewritten for where the site has them.

make site
"""

import json
import posixpath
import re
from collections.abc import Container
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "results/README.md": "columns.md",
    "docs/tutorial.ipynb": "tutorial.md",
} | {f"samples/{name}/README.md": f"samples/{name}.md" for name in ("intents", "nli", "sts", "encoder")}
"""File of the checkout -> page of the site. Any other file of docs/ is where it is there."""

LINK = re.compile(r"^```.*?^```|(!?)\[([^\[\]]*)\]\(([^)\s]+)\)", re.DOTALL | re.MULTILINE)
NAME = re.compile(r"^- \[`([\w.]+)`\]\(\S+\)$", re.MULTILINE)
BELOW = re.compile(r"^  .*\n", re.MULTILINE)  # signatures: docs/signatures.py; the docstrings have them, too
TEMPLATE = re.compile(r"^<!-- .*?-->\n", re.DOTALL | re.MULTILINE)  # of a table: .ci/figures.py
NOTEBOOK = "[Download this page as a notebook](tutorial.ipynb).\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages whose files are not Markdown in docs/."""
    for source, place in ELSEWHERE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        content = text if source.endswith(".md") else page_of_cells(json.loads(text)["cells"])
        files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite a page's links; show a name's docstring where the file links to its module."""
    place = page.file.src_uri
    if place == "api.md":
        markdown = NAME.sub(r"::: \1", BELOW.sub("", markdown))
    if place == "tutorial.md":
        return markdown
    sources = {place: source for source, place in ELSEWHERE.items()}
    return relinked(TEMPLATE.sub("", markdown), sources.get(place, f"docs/{place}"), place, files.src_uris)


def page_of_cells(cells: list[dict[str, str | list[str]]]) -> str:
    """Return a notebook's cells as Markdown."""
    texts = [("".join(cell["source"]), cell["cell_type"]) for cell in cells]
    shown = [text if kind == "markdown" else f"```python\n{text}\n```" for text, kind in texts]
    return "\n\n".join([shown[0], NOTEBOOK, *shown[1:]])


def relinked(text: str, source: str, place: str, known: Container[str]) -> str:
    """Return Markdown with its links as the site needs them.

    Parameters
    ----------
    text : str
        Markdown of the file `source`, a path in the checkout.
    source, place : str
        The file and where the site has it.
    known : container of str
        Every file of the site. A link to any other file of the checkout becomes its text.
    """

    def link(match: re.Match[str]) -> str:
        image, words, target = match.groups()
        path, hash_sign, anchor = (target or "").partition("#")
        if not path or ":" in path:  # a block of code, this page, another site
            return match[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        there = ELSEWHERE.get(file, file.removeprefix("docs/"))
        if there not in known:
            return words
        return f"{image}[{words}]({posixpath.relpath(there, posixpath.dirname(place))}{hash_sign}{anchor})"

    return LINK.sub(link, text)
