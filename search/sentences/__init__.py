"""Sentence vectors: translations found, likeness judged, nearest neighbours."""
