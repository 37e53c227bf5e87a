from html.parser import HTMLParser

import pytest

from mcbert.results.report import report
from mcbert.results.report.headings import heading
from mcbert.results.schema import CORPUS, TABLES

NOT_OF_A_TABLE = {"file", "bytes", "SHA-256"}


class Headings(HTMLParser):
    """The headings of columns with their titles; those over a group of columns left out."""

    def __init__(self, html):
        super().__init__()
        self.found, self.open = [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.open = tag == "th" and dict(attrs)["scope"] == "col"
        if self.open:
            self.found.append(["", dict(attrs).get("title", ""), dict(attrs).get("class", "").split()])

    def handle_data(self, data):
        if self.open:
            self.found[-1][0] += data

    def handle_endtag(self, tag):
        self.open = False if tag == "th" else self.open


def untitled(html):
    """Give the words of headings without a title; the others' must be of a declared column."""
    declared = {f"{table.file_name}, {column.name}": column for table in TABLES for column in table.columns}
    for words, title, classes in Headings(html).found:
        if title:
            place, _, meaning = title.partition(": ")
            column = declared[place.partition(" (")[0].removesuffix(", counted")]
            assert meaning == column.meaning
            number = column.dtype in ("int", "float") or ", counted" in place
            assert ("n" in classes) == number or words.startswith("mean against")
    return {words for words, title, _ in Headings(html).found if not title}


def test_every_heading_of_the_report_says_what_the_schema_declares(run_dir):
    html = report.build(run_dir)[0].read_text(encoding="utf-8")
    assert untitled(html) == NOT_OF_A_TABLE
    assert len(Headings(html).found) > 60


def test_a_unit_is_the_declared_one_as_the_report_shows_it():
    assert [heading(place).unit for place in ("corpus.n_texts", "corpus.tokens_max", "corpus.unknown_share",
                                              "table1.versus_baseline", "sts.spearman")] == [
        CORPUS.column("n_texts").unit, "tokens", "%", "points", "-1 to 1"]  # fmt: skip


def test_a_title_cannot_leave_its_attribute():
    assert (
        '"' not in heading("corpus.n_texts").attributes('a"b').replace(' class="n a&#34;b" title="', "")[:-1]
    )


@pytest.mark.parametrize("place", ["corpus.n_words", "nothing.n_texts", "n_texts", "gridsearch.dev_f2_en"])
def test_what_is_not_declared_is_refused(place):
    with pytest.raises(ValueError, match=f"heading {place}: not declared in results.schema; accepted: "):
        heading(place)
