import pytest

from mcbert.features.corpus.language_codes import bcp47, language_twins


@pytest.mark.parametrize(
    ("form", "codes"),
    [
        ("zh", ["zh", "ZH", "zh-CN", "zh_Hans", "zh-Hans-CN", "zho", "zho_Hans", "chi", "cmn"]),
        ("zh-Hant", ["zh-TW", "zh_Hant", "zh-Hant-TW", "zho_Hant"]),
        ("zh-Hant-HK", ["zh-HK", "zh_hk"]),
        ("en", ["en", "EN", "eng", "en-US", "en_us", "eng_Latn", " en "]),
        ("en-GB", ["en-GB", "en_gb"]),
        ("de", ["deu", "ger", "de-DE", "deu_Latn"]),
        ("he", ["he", "iw", "heb_Hebr"]),
        ("pt", ["pt", "pt-PT"]),
        ("pt-BR", ["pt-br"]),
        ("sr-Latn", ["sr-Latn", "srp_Latn"]),
        ("sr", ["srp_Cyrl"]),
        ("ks-Arab", ["kas_Arab"]),
        ("es-419", ["es-419"]),
        ("de-1996", ["de-1996"]),
        ("klingonish", ["klingonish"]),
        ("", [""]),
    ],
)
def test_codes_that_mean_the_same(form, codes):
    assert {bcp47(code) for code in codes} == {form}


def test_only_codes_that_mean_the_same_are_twins():
    assert (
        language_twins(["en", "de", "de-CH", "pt", "pt-BR", "zh-cn", "zh-tw", "zh-hk", "sr", "sr-Latn"]) == {}
    )
    assert language_twins(["zh", "de", "zh-CN", "ZH"]) == {"zh": "zh", "zh-CN": "zh", "ZH": "zh"}
