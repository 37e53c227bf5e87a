"""Sentence encoders side by side: likeness judged and translations found."""
