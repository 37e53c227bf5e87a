"""One Python file that a model's folder carries, so that transformers loads it where this project is not.

    AutoModelForSequenceClassification.from_pretrained("models/mcbert", trust_remote_code=True)

The file is `finetune.model` and its config with `features.spec`, and pooling and stack of `features.encoder`,
in it, without what only training needs. With this project imported transformers takes the project's own
classes instead, and runs no code of a folder.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType

from mcbert.features import spec
from mcbert.features.encoder import pooling, stack
from mcbert.finetune import model, model_config

FILE = "modeling_mcbert.py"
AUTO_MAP = {
    "AutoConfig": "modeling_mcbert.MCBertConfig",
    "AutoModel": "modeling_mcbert.MCBertModel",
    "AutoModelForSequenceClassification": "modeling_mcbert.MCBertForSequenceClassification",
}
ONLY_TRAINING = ("from_encoder", "label_names")
ONLY_EXTRACTION = ("pool_sorted", "VERSION")
ONLY_HERE = ("first_parts", "block_parts", "cut", "cut_config")
HEADER = '''"""MC-BERT: an encoder whose chosen layers are pooled, concatenated, and classified.

AutoModelForSequenceClassification.from_pretrained(FOLDER, trust_remote_code=True)
"""
'''


def modelling_source() -> str:
    """Return the file's text: it imports torch and transformers, and nothing of this project."""
    parts = {
        spec: (),
        pooling: ONLY_EXTRACTION,
        stack: ONLY_HERE,
        model_config: (),
        model: ONLY_TRAINING,
    }
    return self_contained(HEADER, parts)


def self_contained(header: str, modules: Mapping[ModuleType, Sequence[str]]) -> str:
    """Return modules of this project as the text of one that imports nothing of it.

    Parameters
    ----------
    header : str
        Its docstring.
    modules : mapping of module to names
        What it consists of, and what of each is left out.
    """
    pieces = [piece for one, names in modules.items() for piece in _pieces(inspect.getsource(one), names)]
    code = "\n\n\n".join(text for text, is_import in pieces if not is_import)
    imports = _needed((text for text, is_import in pieces if is_import), _names(ast.parse(code)))
    return "\n".join([header, "from __future__ import annotations", "", *imports, "", "", code, ""])


def _pieces(source: str, leave_out: Sequence[str]) -> list[tuple[str, bool]]:
    """Return a module's statements, each with whether it imports; no docstring, no registrations."""
    found = []
    for node in ast.parse(source).body:
        if getattr(node, "name", None) in leave_out or isinstance(node, ast.Expr):
            continue
        if isinstance(node, ast.Assign) and {t.id for t in node.targets if isinstance(t, ast.Name)} & {
            *leave_out
        }:
            continue
        found.append((_text(source, node, leave_out), isinstance(node, ast.Import | ast.ImportFrom)))
    return found


def _text(source: str, node: ast.stmt, leave_out: Sequence[str]) -> str:
    """Return a statement's lines; of a class, without the methods to leave out."""
    lines = source.splitlines()
    dropped: set[int] = set()
    for part in node.body if isinstance(node, ast.ClassDef) else ():
        if isinstance(part, ast.FunctionDef) and part.name in leave_out:
            dropped |= set(
                range(_first_line(part) - 1, (part.end_lineno or 0) + 1)
            )  # and the blank line before
    kept = [line for k, line in enumerate(lines, start=1) if k not in dropped and _within(k, node)]
    return "\n".join(kept).rstrip()


def _within(line: int, node: ast.stmt) -> bool:
    return _first_line(node) <= line <= (node.end_lineno or 0)


def _first_line(node: ast.stmt) -> int:
    decorators = node.decorator_list if isinstance(node, ast.ClassDef | ast.FunctionDef) else []
    return min([node.lineno, *(one.lineno for one in decorators)])


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _needed(imports: Iterable[str], names: set[str]) -> list[str]:
    """Return import lines, sorted, of the names that are used and not of this project."""
    plain, parts = set(), dict[str, set[str]]()
    for text in imports:
        node = ast.parse(text).body[0]
        if isinstance(node, ast.Import):
            plain |= {f"import {one.name}" for one in node.names if one.name.split(".")[0] in names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("mcbert"):
            parts.setdefault(node.module, set()).update({one.name for one in node.names} & names)
    taken = [f"from {module} import {', '.join(sorted(some))}" for module, some in parts.items() if some]
    return [*sorted(plain), *sorted(taken)]
