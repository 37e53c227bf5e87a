"""docs/api.md with the signatures of the public interface, as they are: what a reader off the site has.

python docs/signatures.py > api.new && mv api.new docs/api.md

The page says which names there are and in which order; what stands below a name is replaced.
"""

import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import mcbert

PAGE = Path(__file__).with_name("api.md")
NAME = re.compile(r"- \[`mcbert\.(\w+)`\]\(\S+\)")
WIDTH = 106


def page(text: str) -> str:
    """Return the page with the signatures of the names that it lists."""
    kept = [line for line in text.splitlines() if not line.startswith("  ")]
    lines = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).splitlines()
    out: list[str] = []
    for line in lines:
        found = NAME.fullmatch(line)
        if found and out and out[-1] != "":
            out.append("")
        out.append(line)
        if found:
            out += ["", *(f"  {one}".rstrip() for one in entry(found[1]))]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).rstrip() + "\n"


def entry(name: str) -> list[str]:
    """Return what stands below a name: the first line of its docstring, its signatures."""
    of = getattr(mcbert, name)
    if not callable(of):
        return ["A folder, as a `pathlib.Path`."]
    first = (inspect.getdoc(of) or "").partition("\n")[0]
    return [first, "", "```text", *(line for one in signatures(name, of) for line in wrapped(one)), "```"]


def signatures(name: str, of: Any) -> Iterator[str]:
    """Yield the signature of a function; of a class those of its constructor and its methods."""
    if not inspect.isclass(of):
        yield f"{name}{arguments(of)}"
        return
    if hasattr(of, "get_params"):  # others are made by a class method
        yield f"{name}{arguments(of)}"
    for method, found in vars(of).items():
        if method.startswith("_") or method.endswith("_request"):
            continue
        if isinstance(found, property):
            yield f".{method}"
        elif isinstance(found, classmethod):
            yield f"{name}.{method}{arguments(getattr(of, method))}"
        elif inspect.isfunction(found):
            yield f".{method}{arguments(found)}"
        elif hasattr(found, "fn"):  # of `available_if`
            yield f".{method}{arguments(found.fn)}"


def arguments(of: Any) -> str:
    """Return the parameters with their defaults, without types: these are in the docstring."""
    signature = inspect.signature(of)
    parameters = [
        one.replace(annotation=one.empty, default=_plain(one.default))
        for one in signature.parameters.values()
        if one.name != "self"
    ]
    return str(inspect.Signature(parameters))


def _plain(default: Any) -> Any:
    return str(default) if isinstance(default, PurePath) else default


def wrapped(signature: str) -> list[str]:
    """Return a signature in lines of at most `WIDTH` characters."""
    return textwrap.wrap(signature, WIDTH, subsequent_indent="    ", break_on_hyphens=False)


if __name__ == "__main__":
    sys.stdout.write(page(PAGE.read_text(encoding="utf-8")))
