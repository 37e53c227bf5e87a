"""Sentence embeddings: siamese fine-tuning, export to sentence-transformers, encoding with any model."""
