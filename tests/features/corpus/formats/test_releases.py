import gzip
import json

import pytest

from mcbert.features.corpus.corpus import read_corpus
from mcbert.features.corpus.errors import BadRows, CorpusError
from mcbert.features.corpus.formats.releases import RELEASES, release_files
from mcbert.features.corpus.settings import CorpusSettings

NLI_HEADER = (
    "gold_label sentence1_binary_parse sentence2_binary_parse sentence1_parse sentence2_parse sentence1 "
    "sentence2 promptID pairID genre label1 label2 label3 label4 label5"
).split()
XNLI_HEADER = ["language", *NLI_HEADER, "sentence1_tokenized", "sentence2_tokenized", "match"]


def put(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def nli_row(label, first, second, pair, **more):
    return {"gold_label": label, "sentence1": first, "sentence2": second, "pairID": pair, **more}


def jsonl(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def tsv(header, rows):
    lines = [header, *([str(row.get(name, "")) for name in header] for row in rows)]
    return "".join("\t".join(line) + "\n" for line in lines)


TRAIN = [
    nli_row("neutral", "a \u2028 b", 'he said "no', "1n"),
    nli_row("-", "a", "c", "1x"),
    nli_row("entailment", "p", "q", "2e"),
]


def multinli(root, form=".jsonl"):
    rows = {"train": TRAIN, "dev_matched": TRAIN[:1], "dev_mismatched": TRAIN[2:]}
    for stem, part in rows.items():
        text = jsonl(part) if form == ".jsonl" else tsv(NLI_HEADER, part)
        put(root, f"multinli_1.0/multinli_1.0_{stem}{form}", text)


def xnli(root, form=".tsv"):
    rows = [
        nli_row("contradiction", "x", 'y"', "1", language="de"),
        nli_row("neutral", "p", "q", "1", language="en"),
        nli_row("neutral", "u", "v", "1", language="ur"),
    ]
    for split in ("dev", "test"):
        put(root, f"XNLI-1.0/xnli.{split}{form}", tsv(XNLI_HEADER, rows) if form == ".tsv" else jsonl(rows))


def read(root, name, bad=None, **settings):
    return read_corpus(CorpusSettings(path=str(root), format=name, **settings), bad)


@pytest.mark.parametrize("form", [".jsonl", ".txt"])
def test_multinli_in_both_official_forms(tmp_path, form, caplog):
    caplog.set_level("INFO")
    multinli(tmp_path, form)
    frame = read(tmp_path, "multinli")
    assert frame["id"].tolist() == ["train-1n", "train-2e", "dev-1n", "test-2e"]
    assert frame["text"].tolist() == ["a \u2028 b", "p", "a \u2028 b", "p"]
    assert frame["text_pair"].tolist() == ['he said "no', "q", 'he said "no', "q"]
    assert frame["label"].tolist() == ["neutral", "entailment", "neutral", "entailment"]
    assert set(frame["language"]) == {"en"}
    assert f"multinli_1.0_train{form}: 1 pairs without a gold label left out" in caplog.text


@pytest.mark.parametrize("form", [".jsonl", ".txt"])
def test_snli_in_both_official_forms(tmp_path, form):
    for split in ("train", "dev", "test"):
        text = jsonl(TRAIN) if form == ".jsonl" else tsv(NLI_HEADER, TRAIN)
        put(tmp_path, f"snli_1.0/snli_1.0_{split}{form}", text)
    frame = read(tmp_path, "snli")
    assert frame["id"].tolist() == [f"{s}-{p}" for s in ("train", "dev", "test") for p in ("1n", "2e")]


def test_trailing_annotator_labels_may_be_missing(tmp_path):
    multinli(tmp_path, ".txt")
    path = tmp_path / "multinli_1.0/multinli_1.0_train.txt"
    path.write_text(path.read_text().replace("\t\t\t\t\t\t\n", "\n"))
    assert read(tmp_path, "multinli")["id"].tolist()[:2] == ["train-1n", "train-2e"]


@pytest.mark.parametrize("form", [".tsv", ".jsonl"])
def test_xnli_joins_multinli_train(tmp_path, form):
    multinli(tmp_path)
    xnli(tmp_path, form)
    frame = read(tmp_path, "xnli", languages=("en", "de"))
    assert frame["split"].tolist() == ["train", "train", "dev", "dev", "test", "test"]
    assert frame["label"].tolist() == ["neutral", "entailment", *["contradiction", "neutral"] * 2]
    assert frame["id"].tolist()[2:] == ["dev-1-de", "dev-1-en", "test-1-de", "test-1-en"]
    assert frame["text_pair"].tolist()[2:4] == ['y"', "q"]
    assert frame["_line"].tolist() == [1, 3, 2, 3, 2, 3] if form == ".tsv" else [1, 3, 1, 2, 1, 2]


def test_xnli_mt_trains_on_the_translation_into_the_source_language(tmp_path):
    xnli(tmp_path)
    rows = "premise\thypo\tlabel\nwas\twie\tcontradictory\nja\tnein\tneutral\n"
    put(tmp_path, "XNLI-MT-1.0/multinli/multinli.train.de.tsv", rows)
    frame = read(tmp_path, "xnli-mt", languages=("de", "en"), source_language="de")
    train = frame[frame["split"] == "train"]
    assert train["id"].tolist() == ["train-1", "train-2"]
    assert train["label"].tolist() == ["contradiction", "neutral"]
    assert set(train["language"]) == {"de"}


@pytest.mark.parametrize("name", ["AllNLI.tsv.gz", "AllNLI.tsv"])
def test_allnli(tmp_path, name):
    header = ["split", "dataset", "filename", "sentence1", "sentence2", "label"]
    rows = [
        ["train", "AllNLI", "MNLI.train.gz", "a", '"b', "neutral"],
        ["dev", "AllNLI", "SNLI.dev.gz", "c", "d", "contradiction"],
        ["test", "AllNLI", "SNLI.test.gz", "e", "f", "entailment"],
    ]
    put(tmp_path, name, "".join("\t".join(row) + "\n" for row in (header, *rows)))
    frame = read(tmp_path, "allnli")
    assert frame["id"].tolist() == ["train-1", "dev-2", "test-3"]
    assert frame["text_pair"].tolist() == ['"b', "d", "f"]


def test_the_archives_own_folders_may_be_missing(tmp_path):
    put(tmp_path, "snli_1.0_train.jsonl", jsonl(TRAIN))
    put(tmp_path, "snli_1.0_dev.jsonl", jsonl(TRAIN))
    put(tmp_path, "snli_1.0_test.txt", tsv(NLI_HEADER, TRAIN))
    assert len(read(tmp_path, "snli")) == 6
    xnli(tmp_path)
    put(tmp_path, "multinli/multinli.train.en.tsv", "premise\thypo\tlabel\na\tb\tneutral\n")
    settings = CorpusSettings(path=str(tmp_path), format="xnli-mt", languages=("en",))
    assert [p.name for p in release_files(settings)] == [
        "multinli.train.en.tsv",
        "xnli.dev.tsv",
        "xnli.test.tsv",
    ]


@pytest.mark.parametrize("name", list(RELEASES))
def test_a_release_that_is_not_there_says_where_to_get_it(tmp_path, name):
    said = (
        rf"^{tmp_path}.*: no such file; unpack .*\(.*[a-z]/.*\) into one folder and set corpus\.path to it$"
    )
    with pytest.raises(CorpusError, match=said):
        read(tmp_path, name, languages=("en",))


def test_a_language_that_is_not_there(tmp_path):
    multinli(tmp_path)
    xnli(tmp_path)
    with pytest.raises(CorpusError, match=r"xnli\.dev\.tsv: column language: .*fr, sw; present: de, en, ur"):
        read(tmp_path, "xnli", languages=("en", "fr", "sw"))
    with pytest.raises(CorpusError, match=r"column language: no rows for de; present: en"):
        read(tmp_path, "multinli", languages=("en", "de"))


SPOILT = [
    ("{", "row 2 (line 2): not JSON: "),
    (
        '{"gold_label": "neutral", "sentence1": "a", "pairID": "3n"}',
        "row 2 (line 2): column sentence2: the key is mis",
    ),
    (
        jsonl([nli_row("maybe", "a", "b", "3n")]),
        "row 2 (line 2): column gold_label: got 'maybe', accepted: contra",
    ),
    (jsonl([nli_row("neutral", None, "b", "3n")]), "row 2 (line 2): column sentence1: got None"),
]


@pytest.mark.parametrize(("line", "said"), SPOILT)
def test_a_malformed_line_of_json_is_named_or_left_out(tmp_path, line, said):
    multinli(tmp_path)
    path = tmp_path / "multinli_1.0/multinli_1.0_train.jsonl"
    lines = path.read_text().split("\n")
    path.write_text("\n".join([lines[0], line.strip(), *lines[1:]]))
    with pytest.raises(CorpusError) as error:
        read(tmp_path, "multinli")
    assert str(error.value).startswith(f"{path}: {said}")
    bad = BadRows("skip")
    assert read(tmp_path, "multinli", bad)["id"].tolist() == ["train-1n", "train-2e", "dev-1n", "test-2e"]
    assert bad.count == 1


def test_a_malformed_line_of_tab_separated_fields_is_named(tmp_path):
    multinli(tmp_path)
    xnli(tmp_path)
    path = tmp_path / "XNLI-1.0/xnli.dev.tsv"
    path.write_text(path.read_text().replace("\tp\tq", "\tp\tq\tr"))
    with pytest.raises(CorpusError, match=r"xnli\.dev\.tsv: row 2 \(line 3\): 20 fields, accepted: 19"):
        read(tmp_path, "xnli", languages=("en",))
    path.write_text(path.read_text().replace("pairID", "pair"))
    with pytest.raises(
        CorpusError, match=r"xnli\.dev\.tsv: column 'pairID' is missing \(did you mean 'pair'\?\)"
    ):
        read(tmp_path, "xnli", languages=("en",))


HEADER = "id,premise,hypothesis,label\n"


@pytest.mark.parametrize("end", ["", ".gz"])
def test_plain_pairs_are_csv_with_quotes_in_the_source_language(tmp_path, end):
    put(tmp_path, f"train.csv{end}", HEADER + '7,"a, ""b""",c,entailment\n8,d,e,-\n')
    put(tmp_path, f"dev.csv{end}", HEADER + "7,f,g,contradictory\n")
    frame = read(tmp_path, "nli", source_language="fr")
    assert frame["id"].tolist() == ["train-7", "dev-7"]
    assert frame["text"].tolist() == ['a, "b"', "f"]
    assert frame["label"].tolist() == ["entailment", "contradiction"]
    assert set(frame["language"]) == {"fr"}


def test_plain_pairs_may_have_test_rows_but_must_have_dev(tmp_path):
    put(tmp_path, "train.csv", HEADER + "1,a,b,neutral\n")
    with pytest.raises(CorpusError, match=r"dev\.csv: no such file"):
        read(tmp_path, "nli")
    for split in ("dev", "test"):
        put(tmp_path, f"{split}.csv", HEADER + "1,a,b,neutral\n")
    assert read(tmp_path, "nli")["split"].tolist() == ["train", "dev", "test"]


def test_plain_pairs_name_line_and_column(tmp_path):
    put(tmp_path, "train.csv", HEADER + "1,a,b,maybe\n")
    put(tmp_path, "dev.csv", HEADER + "1,a,b,neutral\n")
    with pytest.raises(CorpusError, match=r"train\.csv: row 1 \(line 2\): column label: got .maybe."):
        read(tmp_path, "nli")
    put(tmp_path, "train.csv", "id,premise,label\n1,a,neutral\n")
    with pytest.raises(CorpusError, match="column 'hypothesis' is missing"):
        read(tmp_path, "nli")
