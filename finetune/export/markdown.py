"""What all cards share: metadata that the hub reads, text that stays text, the encoder's licence.

python -m pytest tests/finetune/export/test_markdown.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

PROTOCOLS = {
    "last": "the last epoch is taken and nothing is chosen by scores",
    "source-dev": "chosen by dev texts of the source language alone",
    "target-dev": "chosen by dev texts of the target languages: an oracle, which true zero-shot use lacks",
}
_LICENCE = re.compile(r"\A---\n(?:(?!---\n).*\n)*?license: *([\w.-]+)\n(?:.*\n)*?---\n")


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is, in a line and in a cell of a table."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", " ".join(text.split()))


def with_prompt(card: str, prompt: str) -> str:
    """Return a card that ends with the model's prompt, where it has one."""
    if not prompt:
        return card
    return f"""{card.rstrip()}

## Prompt

Each text was read after `{json.dumps(prompt, ensure_ascii=False)}`. mcbert's `predict` and `embed` put it
there, and sentence-transformers does where the folder names it; other code has to before it tokenises.
`tokenizer_config.json` holds it under `mcbert_prompt`.
"""


def with_pairs(card: str, pairs: bool | None) -> str:
    """Return a card that ends with what the model reads, pairs or single texts, where that is known."""
    if pairs is None:
        return card
    reads = "pairs of texts: `text` and `text_pair` together" if pairs else "single texts, no pairs"
    return f"{card.rstrip()}\n\n## What it reads\n\nTrained on {reads}.\n"


def front_matter(fields: Mapping[str, object]) -> str:
    """Return metadata as YAML between its lines; what is empty is left out.

    Parameters
    ----------
    fields : mapping
        Values that JSON can hold, which YAML reads too.
    """
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items() if value]
    return "\n".join(["---", *lines, "---"])


def table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table; cells are escaped."""
    lines = [names, ["---"] * len(names), *([escaped(str(cell)) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def measured(name: str, metric: str, scores: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the hub's `model-index` of a classifier.

    Parameters
    ----------
    name : str
        Of the model.
    metric : str
        By the hub's name, such as accuracy.
    scores : mapping of str to float
        By language, on test texts; without any there is no index.
    """
    results = [
        {
            "task": {"type": "text-classification"},
            "dataset": {"name": f"test texts of the run, {language}", "type": "test", "config": language},
            "metrics": [{"type": metric, "value": round(float(score), 6)}],
        }
        for language, score in scores.items()
    ]
    return [{"name": name, "results": results}] if results else []


def is_of_hub(folder: Path) -> bool:
    """Whether an encoder's folder is one of the hub's cache, so that its name is one of the hub."""
    return any(part.startswith("models--") for part in folder.parts)


def licence(encoder: str, folder: Path) -> str:
    """Say under which licence the encoder stands, as far as its folder tells.

    Parameters
    ----------
    encoder : str
        Its name, as stamped on results.
    folder : Path
        Where it lies.
    """
    card = folder / "README.md"
    found = _LICENCE.match(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else None
    if found:
        said = f"Encoder: {escaped(encoder)}, licence {escaped(found[1])} by its card."
    elif is_of_hub(folder):
        said = (
            f"Encoder: {escaped(encoder)}, under the licence of its card, https://huggingface.co/{encoder}."
        )
    else:
        said = f"Encoder: {escaped(encoder)}, whose folder names no licence."
    return f"{said} The licence of the training texts is not known to the run that wrote this card."
