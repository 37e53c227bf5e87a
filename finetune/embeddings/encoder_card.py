"""The README.md of a sentence encoder's folder: the run's own words, what the vectors are, how to use it.

python -m pytest tests/finetune/embeddings/test_sentence_transformer.py
"""

from __future__ import annotations

from collections.abc import Sequence

FRONT = """library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags:
- sentence-transformers
- sentence-similarity
- feature-extraction"""
_TRUST = {
    False: "The folder consists of modules of sentence-transformers alone.",
    True: "sentence-transformers has no module that concatenates layers, so that `layer_pooling.py` in this "
    "folder is one: read it, then load the folder with `trust_remote_code=True`, without which the library "
    "refuses it.",
}


def describe_encoder(
    card: str, layers: Sequence[int], poolings: Sequence[str], *, dimension: int, max_length: int
) -> str:
    """Return the model card, Markdown.

    Parameters
    ----------
    card : str
        What the model is, its training and scores; front matter of its own is kept, after what the library
        asks for.
    layers, poolings : sequences
        What the vectors consist of.
    dimension : int
        Length of a vector.
    max_length : int
        Tokens kept of a text.
    """
    own, body = _parted(card)
    several = len(layers) > 1
    joined = ", concatenated: " if several else ""
    parts = [f"layer {k} by {one}" for k, one in zip(layers, poolings, strict=True)]
    trust = ", trust_remote_code=True" if several else ""
    return f"""---
{FRONT}{own}
---

{body.strip()}

## Vectors

{dimension} columns, float32, not scaled to length 1, to be compared by cosine: hidden states pooled over all
tokens, special ones included{joined or ": "}{"; ".join(parts)} (layer 0 the embeddings).
Texts are cut after {max_length} tokens.

## Use

{_TRUST[several]}

    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer("THIS_FOLDER"{trust})
    vectors = model.encode(["...", "..."])
    model.similarity(vectors, vectors)

The same vectors without sentence-transformers, a table at a time:

    python -m mcbert embed --model THIS_FOLDER --input texts.csv --output vectors.npy
"""


def _parted(card: str) -> tuple[str, str]:
    """Return the front matter's lines, each after a line end, and the rest."""
    if not card.startswith("---\n"):
        return "", card
    front, _, body = card.removeprefix("---\n").partition("\n---\n")
    return f"\n{front.strip()}", body
