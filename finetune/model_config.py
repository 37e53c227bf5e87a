"""The config of MC-BERT: which layers feed the head, how they are pooled, how the head decides.

python -m pytest tests/finetune/test_model.py
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from transformers import AutoConfig, PreTrainedConfig

from mcbert.features.spec import FeatureSpec

Decision = Literal["linear", "pairwise"]


class MCBertConfig(PreTrainedConfig):
    """Config of `MCBertForSequenceClassification`.

    Parameters
    ----------
    encoder_config : PreTrainedConfig or dict
        The encoder's own config, its depth already the deepest layer used.
    layers : sequence of int
        Layers that feed the head, 0 (embeddings) to the encoder's depth.
    pooling : str
        Of all of `layers` ("max"), or one for each, joined by + ("max+mean"): see `features.spec`.
    dropout : float
        On the concatenated pooled states.
    decision : {"linear", "pairwise"}
        ``linear``: the head has a score for each label, which are the logits. ``pairwise``: it is
        one-vs-one, with a score for each pair of labels, (0, 1), (0, 2), ..., whose votes are the logits, as
        an SVM decides.
    standardised : bool
        Whether the head reads (states - feature_mean) / feature_scale: two buffers, fixed, saved with the
        weights.
    head_layers : int
        Hidden layers before the linear one, each as wide as the encoder, with GELU and dropout.
    probability_temperature : float
        What the head's scores, or votes, are divided by: softmax(logits) are then the probabilities.
    text_pairs : bool, optional
        Whether it was trained on pairs of texts; None where it is not known, or was on both.
    cut : bool
        Whether blocks of the encoder were dropped; its norm after the last block goes with them.

    Raises
    ------
    ValueError
        A value of another kind, or layers that the encoder lacks.
    """

    model_type = "mcbert"
    sub_configs: ClassVar[dict[str, Any]] = {"encoder_config": AutoConfig}

    def __init__(
        self,
        encoder_config: PreTrainedConfig | Mapping[str, Any] | None = None,
        *,
        layers: Sequence[int] = (1,),
        pooling: str = "max",
        dropout: float = 0.1,
        **kwargs: Any,
    ) -> None:
        if encoder_config is None:  # transformers builds a config without arguments to find what differs
            encoder_config = AutoConfig.for_model("bert", num_hidden_layers=1)
        elif isinstance(encoder_config, Mapping):
            encoder_config = AutoConfig.for_model(**encoder_config)
        self.encoder_config = encoder_config
        depth = getattr(encoder_config, "num_hidden_layers", None)
        accepted = f"a list of layers, 0 (embeddings) to {depth}"
        _require(_are_layers(layers), "layers", layers, accepted)
        self.layers = list(layers)
        self.pooling = pooling
        _ = self.features  # refuses a pooling that there is not, or not as many as layers
        _require(not _whole(depth) or max(layers) <= int(depth or 0), "layers", layers, accepted)
        self.dropout = dropout
        self.decision: Decision = kwargs.pop("decision", "linear")
        self.standardised: bool = kwargs.pop("standardised", False)
        self.head_layers: int = kwargs.pop("head_layers", 0)
        self.cut: bool = kwargs.pop("cut", False)
        self.probability_temperature: float = kwargs.pop("probability_temperature", 1.0)
        self.text_pairs: bool | None = kwargs.pop("text_pairs", None)
        for name, (holds, accepted) in CONFIG_CHECKS.items():
            _require(holds(getattr(self, name)), name, getattr(self, name), accepted)
        super().__init__(**kwargs)

    @property
    def features(self) -> FeatureSpec:
        """The columns that the head reads."""
        return FeatureSpec.of(self.layers, self.pooling)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_layers(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) > 0
        and all(_whole(layer) and layer >= 0 for layer in value)
    )


def _require(holds: bool, name: str, given: Any, accepted: str) -> None:
    if not holds:
        raise ValueError(f"{name}: got {given!r}, accepted: {accepted}")


CONFIG_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "dropout": (lambda value: _number(value) and 0 <= value < 1, "a number from 0 to below 1"),
    "decision": (lambda value: value in ("linear", "pairwise"), "linear, pairwise"),
    "standardised": (lambda value: isinstance(value, bool), "true, false"),
    "cut": (lambda value: isinstance(value, bool), "true, false"),
    "text_pairs": (lambda value: value is None or isinstance(value, bool), "true, false, null"),
    "head_layers": (lambda value: _whole(value) and value >= 0, "a whole number from 0"),
    "probability_temperature": (
        lambda value: _number(value) and 1e-6 <= value <= 1e6,
        "a number above 0, 1e-6 to 1e6",
    ),
}
"""Checks of a config's values and the words for what is accepted: a folder's config.json is input."""
