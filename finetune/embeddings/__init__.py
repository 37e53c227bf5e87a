"""Sentence embeddings: training, encoding with any model, export, STS and Tatoeba, vectors, neighbours."""
