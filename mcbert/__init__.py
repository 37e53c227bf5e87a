"""Zero-shot cross-lingual classifiers and sentence embeddings from multilingual encoders."""

__version__ = "0.1.0"
