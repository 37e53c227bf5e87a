"""Normal forms of texts, labels and language codes, so that differently written ones compare equal.

Also the casing of earlier experiments: what tokenisers did to cased models' texts when told to lower-case
them. A tokenizer's own config says what its model was trained on, and is what everything else here follows;
`lowered` is for comparing with figures that were made otherwise.

python -m pytest tests/features/corpus/test_normal_forms.py
"""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

_BLOCK = 65_536  # texts written in their normal form at once
_NOT_SEEN = str.maketrans(
    "", "", "\u00ad\u200b\u2060\ufeff"
)  # soft hyphen, zero-width space, word joiner, mark
_PAIR = "\0"  # between the two texts of a pair; no blank, which would be collapsed


def normal_form(text: str) -> str:
    """Return a text as it is compared: NFKC, without case, blanks collapsed and none at the ends.

    >>> normal_form("  Where IS\u00a0it? ")
    'where is it?'
    """
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_NOT_SEEN)
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def without_ending(text: str) -> str:
    """Return a normal form without the punctuation at its end; what is nothing else stays as it is.

    >>> without_ending("where is it ?!"), without_ending("?!")
    ('where is it', '?!')
    """
    return text.rstrip(_punctuation()) or text


@functools.cache
def _punctuation() -> str:
    kinds = ("Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Zs")
    return "".join(c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) in kinds)


def same_texts(table: pd.DataFrame, *, ending: bool) -> np.ndarray:
    """Return a number for each text (with its second text), the same for equal ones, int64 (n_rows,).

    Parameters
    ----------
    table : DataFrame
        Columns text and perhaps text_pair.
    ending : bool
        Texts that differ only in punctuation at the end are different.

    Notes
    -----
    Normal forms are made a block at a time; a 64-bit hash of each is kept, so that the table is not held
    twice. Of a million texts, two different ones share a hash with a probability of 3e-8.
    """
    pairs = table["text_pair"] if "text_pair" in table.columns else None
    hashes = np.empty(len(table), dtype=np.uint64)
    for start in range(0, len(table), _BLOCK):
        here = slice(start, start + _BLOCK)
        forms = _forms(table["text"].iloc[here], ending)
        if pairs is not None:
            seconds = _forms(pairs.iloc[here], ending)
            forms = [f"{a}{_PAIR}{b}" for a, b in zip(forms, seconds, strict=True)]
        hashes[here] = pd.util.hash_array(np.array(forms, dtype=object), categorize=False)
    return pd.factorize(hashes)[0].astype(np.int64)


def _forms(texts: Iterable[str], ending: bool) -> list[str]:
    forms = map(normal_form, texts)
    return list(forms if ending else map(without_ending, forms))


def twins(names: Sequence[str]) -> list[list[str]]:
    """Return the names that are one in `normal_form`, the commonest of each group first.

    Parameters
    ----------
    names : sequence of str
        Distinct, the commonest first.

    >>> twins(["refund", "other", "Refund ", "REFUND"])
    [['refund', 'Refund ', 'REFUND']]
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(normal_form(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _table(pairs: str) -> dict[str, str]:
    return dict(pair.split(":") for pair in pairs.split())


_TWO_LETTERS = _table(
    "aar:aa abk:ab afr:af aka:ak alb:sq sqi:sq amh:am ara:ar arg:an arm:hy hye:hy asm:as ava:av aym:ay "
    "aze:az bak:ba bam:bm baq:eu eus:eu bel:be ben:bn bih:bh bis:bi bos:bs bre:br bul:bg bur:my mya:my "
    "cat:ca cha:ch che:ce chi:zh zho:zh cmn:zh chv:cv cor:kw cos:co cre:cr cze:cs ces:cs dan:da div:dv "
    "dut:nl nld:nl dzo:dz eng:en epo:eo est:et ewe:ee fao:fo fij:fj fin:fi fre:fr fra:fr fry:fy ful:ff "
    "geo:ka kat:ka ger:de deu:de gla:gd gle:ga glg:gl glv:gv gre:el ell:el grn:gn guj:gu hat:ht hau:ha "
    "heb:he iw:he her:hz hin:hi hmo:ho hrv:hr hun:hu ibo:ig ice:is isl:is iii:ii iku:iu ind:id in:id "
    "ipk:ik ita:it jav:jv jw:jv jpn:ja kal:kl kan:kn kas:ks kau:kr kaz:kk khm:km kik:ki kin:rw kir:ky "
    "kom:kv kon:kg kor:ko kua:kj kur:ku lao:lo lav:lv lim:li lin:ln lit:lt ltz:lb lub:lu lug:lg mac:mk "
    "mkd:mk mah:mh mal:ml mao:mi mri:mi mar:mr may:ms msa:ms mlg:mg mlt:mt mon:mn nau:na nav:nv nbl:nr "
    "nde:nd ndo:ng nep:ne nno:nn nob:nb nor:no nya:ny oci:oc oji:oj ori:or orm:om oss:os pan:pa per:fa "
    "fas:fa pol:pl por:pt pus:ps que:qu roh:rm rum:ro ron:ro mo:ro run:rn rus:ru sag:sg san:sa sin:si "
    "slo:sk slk:sk slv:sl sme:se smo:sm sna:sn snd:sd som:so sot:st spa:es srd:sc srp:sr ssw:ss sun:su "
    "swa:sw swe:sv tah:ty tam:ta tat:tt tel:te tgk:tg tgl:tl tha:th tib:bo bod:bo tir:ti ton:to tsn:tn "
    "tso:ts tuk:tk tur:tr twi:tw uig:ug ukr:uk urd:ur uzb:uz ven:ve vie:vi vol:vo wel:cy cym:cy wln:wa "
    "wol:wo xho:xh yid:yi ji:yi yor:yo zha:za zul:zu"
)
"""ISO 639-2, 639-3 and withdrawn codes -> ISO 639-1, which BCP 47 prefers."""

_SCRIPTS = _table(
    "am:Ethi ar:Arab be:Cyrl bg:Cyrl bn:Beng el:Grek fa:Arab gu:Gujr he:Hebr hi:Deva hy:Armn ja:Jpan "
    "ka:Geor kk:Cyrl km:Khmr kn:Knda ko:Kore ky:Cyrl lo:Laoo mk:Cyrl ml:Mlym mn:Cyrl mr:Deva my:Mymr "
    "ne:Deva pa:Guru ps:Arab ru:Cyrl si:Sinh sr:Cyrl ta:Taml te:Telu tg:Cyrl th:Thai ti:Ethi uk:Cyrl "
    "ur:Arab yi:Hebr zh:Hans"
)
"""Language -> the script that its bare code means; all others: Latn."""

_REGIONS = _table(
    "af:ZA am:ET ar:EG be:BY bn:BD bs:BA ca:ES cs:CZ cy:GB da:DK el:GR en:US et:EE eu:ES fa:IR ga:IE "
    "gl:ES gu:IN he:IL hi:IN hy:AM ja:JP ka:GE kk:KZ km:KH kn:IN ko:KR lo:LA ml:IN mr:IN ms:MY my:MM "
    "nb:NO ne:NP pa:IN si:LK sl:SI sq:AL sr:RS sv:SE sw:KE ta:IN te:IN tl:PH uk:UA ur:PK vi:VN zh:CN"
)
"""Language -> the region that its bare code means; all others: that of the same two letters."""

_WRITTEN_IN = {"TW": "Hant", "HK": "Hant", "MO": "Hant", "CN": "Hans", "SG": "Hans"}
"""Region of Chinese -> the script it writes."""


def bcp47(code: str) -> str:
    """Return the short BCP 47 form of a language code: no script or region that goes without saying.

    Anything that does not look like a code is returned unchanged.

    >>> [bcp47(code) for code in ("ZH", "zh_Hans", "zh-CN", "zho", "zh-TW", "en_US", "eng", "pt_BR")]
    ['zh', 'zh', 'zh', 'zh', 'zh-Hant', 'en', 'en', 'pt-BR']
    """
    parts = re.split(r"[-_]", code.strip())
    if not re.fullmatch(r"[A-Za-z]{2,3}", parts[0]) or not all(re.fullmatch(r"\w{2,8}", p) for p in parts):
        return code
    language = _TWO_LETTERS.get(parts[0].lower(), parts[0].lower())
    script = next((p.title() for p in parts[1:2] if len(p) == 4 and p.isalpha()), "")
    rest = parts[2:] if script else parts[1:]
    region = next((p.upper() for p in rest[:1] if len(p) == 2 or (len(p) == 3 and p.isdigit())), "")
    more = [p.lower() for p in (rest[1:] if region else rest)]
    if language == "zh" and region:
        script = script or _WRITTEN_IN.get(region, "")
    if script == _SCRIPTS.get(language, "Latn"):
        script = ""
    if region == ("TW" if script == "Hant" else _REGIONS.get(language, language.upper())):
        region = ""
    return "-".join(part for part in (language, script, region, *more) if part)


def language_twins(codes: Iterable[str]) -> dict[str, str]:
    """Return the codes that mean the same as another of them, each with its short BCP 47 form.

    >>> language_twins(["de", "zh", "zh-TW", "zh_Hans", "pt", "pt-BR"])
    {'zh': 'zh', 'zh_Hans': 'zh'}
    """
    groups: dict[str, list[str]] = {}
    for code in codes:
        groups.setdefault(bcp47(code), []).append(code)
    return {code: form for form, group in groups.items() if len(group) > 1 for code in group}


def lowered(text: str) -> str:
    """Lower-case a text and strip its combining marks, as BERT's ``do_lower_case`` does.

    Canonical decomposition, then everything of category Mn away: accents, and also viramas and some vowel
    signs of Devanagari, voicing marks of kana and short vowels of Arabic.
    """
    decomposed = unicodedata.normalize("NFD", text.lower())
    return "".join(character for character in decomposed if unicodedata.category(character) != "Mn")


class Altered(NamedTuple):
    """Shares of some sentences, 0 to 1."""

    altered: float
    """Whose letters `lowered` changes: a capital, or a mark."""

    stripped: float
    """That lose a mark."""


def share_altered(texts: Sequence[str]) -> Altered:
    """Return how many of some sentences, at least one, `lowered` alters."""
    whole = [unicodedata.normalize("NFD", text) for text in texts]
    altered = sum(lowered(text) != form for text, form in zip(texts, whole, strict=True))
    stripped = sum(any(unicodedata.category(c) == "Mn" for c in form) for form in whole)
    return Altered(altered / len(whole), stripped / len(whole))
