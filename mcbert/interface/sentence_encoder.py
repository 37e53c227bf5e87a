"""SentenceEncoder: texts to vectors with a saved model or a plain encoder.

python -m pytest tests/test_interface.py
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

from mcbert.interface.arguments import cache_folder, made, named_arguments, whole_numbers

if TYPE_CHECKING:
    import numpy as np

    from mcbert.finetune.embeddings import sentence_encoder


class SentenceEncoder:
    """Vectors of texts; made by `from_pretrained`.

    Attributes
    ----------
    name : str
        The model, as it was asked for.
    dimension : int
        Length of a vector.

    Examples
    --------
    >>> import mcbert
    >>> encoder = mcbert.SentenceEncoder.from_pretrained(
    ...     mcbert.SAMPLES / "encoder", layers=[8], pooling="mean"
    ... )
    >>> encoder.encode(["Where is my parcel?", "Wo ist mein Paket?"]).shape == (2, encoder.dimension)
    True
    """

    def __init__(self, encoder: sentence_encoder.SentenceEncoder) -> None:
        self._encoder = encoder
        self.name, self.dimension = encoder.name, encoder.dimension

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        layers: Sequence[int] | None = None,
        pooling: str | None = None,
        cache: str | os.PathLike[str] | None = None,
        **settings: Any,
    ) -> Self:
        """Open a model that turns texts into vectors.

        Parameters
        ----------
        name : str or path
            A folder that this project wrote, a classifier's included, or of a plain encoder or of
            sentence-transformers; or a hub name.
        layers : sequence of int, optional
            Layers to pool and concatenate, 0 the embeddings; a plain encoder needs them.
        pooling : str, optional
            With `layers`: max, mean, cls, last, or one of them for each layer, joined by +.
        cache : str or path, optional
            Folder of all feature caches, which keeps the verdicts on plain encoders.
        **settings
            ``precision``, ``tokens_per_batch``, ``max_length``, ``prompt``, ``prompt_name``, ``revision``,
            ``remote_code``.

        Raises
        ------
        ValueError
            No such model, a damaged one, layers that it lacks; the message names the argument.
        """
        from mcbert.finetune.embeddings.opening import open_sentence_encoder
        from mcbert.finetune.embeddings.sentence_encoder import EncodeSettings

        with named_arguments():
            encoder = open_sentence_encoder(
                os.fspath(name),
                layers=None if layers is None else whole_numbers("layers", layers),
                pooling=pooling,
                settings=made(EncodeSettings, **settings),
                key="name",
                verdicts=cache_folder(cache) / "encoders",
            )
        return cls(encoder)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Encode texts.

        Parameters
        ----------
        texts : sequence of str
            All are held at once.

        Returns
        -------
        ndarray
            (n_texts, dimension), float32, in the order of the texts.

        Raises
        ------
        ValueError
            Something that is no text; a text whose vector is not finite.
        """
        return self._encoder.encode(texts)

    def stream(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        """Encode any number of texts, 4,096 at a time; memory does not grow with them.

        Yields
        ------
        ndarray
            (at most 4,096, dimension), float32, in the order of the texts.
        """
        return self._encoder.stream(texts)
