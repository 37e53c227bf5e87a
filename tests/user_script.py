"""What a user's own script may say: `mypy --strict` takes it, and it runs on the samples."""

import sys
from pathlib import Path

import mcbert


def german_labels(encoder: Path, cache: Path) -> list[str]:
    """Label two German texts by a search over two layers."""
    intents = mcbert.SAMPLES / "intents"
    tables = {"de": intents / "translations" / "de.csv"}
    corpus = mcbert.prepare_corpus(intents / "raw.csv", translations=tables, top_labels=4)
    states = mcbert.extract(corpus, encoder, layers=[6, 8], cache=cache)
    search = mcbert.LayerSearch(layers=[6, 8], classifiers=["ridge"]).fit(states, corpus)
    vectors = mcbert.PooledStates(encoder, layers=[8], cache=cache).transform(["Wo ist mein Paket?"])
    labels: list[str] = search.predict(["Wo ist mein Paket?", "Ich will mein Geld."]).tolist()
    return labels[: len(vectors) + 1]


if __name__ == "__main__":
    sys.stdout.write(f"{german_labels(mcbert.SAMPLES / 'encoder', Path(sys.argv[1]))}\n")
