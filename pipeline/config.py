"""Configurations: a section per stage, read from a preset or a TOML file, changed by ``key=value``.

python -m mcbert show --config demo finetune.epochs=3
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator
from pydantic.json_schema import SkipJsonSchema

from mcbert.features.corpus.settings import CorpusSettings, PrepareSettings
from mcbert.features.settings import EncoderSettings, ExtractSettings
from mcbert.files import read_bytes
from mcbert.finetune.embeddings.retrieval import RetrievalSettings
from mcbert.finetune.embeddings.settings import EmbeddingsSettings
from mcbert.finetune.settings import FinetuneSettings
from mcbert.finetune.tune.settings import TuneSettings
from mcbert.home import HOME, IN_CHECKOUT, PRESETS, presets
from mcbert.pipeline import RENAMED
from mcbert.pipeline.cluster.settings import ClusterSettings
from mcbert.pipeline.run import written
from mcbert.pipeline.toml import MOST_PARTS, parse_toml
from mcbert.results.report.settings import ReportSettings
from mcbert.search.settings import GridsearchSettings
from mcbert.settings import SettingError, default, require_default, section, shown, unknown_key

LARGEST = 1 << 20  # bytes of a configuration


OF_RAW = (
    "translations",
    "labelled",
    "top_labels",
    "language",
    "seed",
    "balance",
    "dev_fraction",
    "test_fraction",
)
"""Settings of `prepare` for `prepare.raw`."""
OF_MODELS = ("translator_codes", "beams", "translation_length")
"""Settings of `prepare` for models that translate."""


@section("")
class Config:
    """Everything a run depends on."""

    corpus: CorpusSettings = dataclasses.field(default_factory=CorpusSettings)
    """Labelled texts: files, columns, languages."""

    prepare: PrepareSettings = dataclasses.field(default_factory=PrepareSettings)
    """Preparation of a corpus from raw texts; not used when `prepare.raw` is empty."""

    encoder: EncoderSettings
    """Which encoder."""

    extract: ExtractSettings = dataclasses.field(default_factory=ExtractSettings)
    """Layers and poolings to cache, and how to compute them."""

    gridsearch: GridsearchSettings = dataclasses.field(default_factory=GridsearchSettings)
    """Candidates of the search, and how the winner is chosen."""

    finetune: FinetuneSettings = dataclasses.field(default_factory=FinetuneSettings)
    """Training of the winner, and of the systems beside it."""

    tune: TuneSettings = dataclasses.field(default_factory=TuneSettings)
    """Which of these settings to try on dev; not used by the other stages."""

    embeddings: EmbeddingsSettings = dataclasses.field(default_factory=EmbeddingsSettings)
    """Training of sentence embeddings; not used by the other stages."""

    retrieval: RetrievalSettings = dataclasses.field(default_factory=RetrievalSettings)
    """Which sentences to compare: translations to find, likeness to judge; not used by the other stages."""

    report: ReportSettings = dataclasses.field(default_factory=ReportSettings)
    """What the report shows; other results do not depend on it."""

    cluster: ClusterSettings = dataclasses.field(default_factory=ClusterSettings)
    """Executor of tasks: this process, several, or dask; results do not depend on it."""

    base: SkipJsonSchema[str] = ""
    """Folder that the file's relative paths count from; not a setting, and results do not depend on it."""

    @model_validator(mode="after")
    def _check_texts(self) -> Self:
        """Refuse settings without effect, as scores would be of other texts than one thinks."""
        raw, translates = self.prepare.raw, self.prepare.transfer == "translate-train"
        for name in ("path", "languages", "format"):
            if raw and getattr(self.corpus, name) != default(self.corpus, name):
                raise ValueError(
                    f"corpus.{name}: means nothing beside prepare.raw, which is read instead "
                    f"({raw}); leave one of them out (prepare.raw=)"
                )
        if not raw:
            self._require_default(OF_RAW, "without prepare.raw")
        if not translates:  # tables and models may stay: a file serves all transfers
            why = f'with prepare.transfer = "{self.prepare.transfer}", but with "translate-train"'
            self._require_default(("train_language",), why)
        if not raw and not translates:
            self._require_default(
                ("translator",), 'without prepare.raw or prepare.transfer "translate-train"'
            )
        if not self.prepare.translator and not self.prepare.source_translator:
            self._require_default(OF_MODELS, "without prepare.translator or prepare.source_translator")
        return self

    def _require_default(self, names: tuple[str, ...], why: str) -> None:
        require_default(self.prepare, names, why, of="prepare")

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting by section and name, paths absolute."""
        return {name: section for name, section in dataclasses.asdict(self).items() if name != "base"}

    @property
    def digest(self) -> str:
        """First 12 hex digits of sha256 over every setting that results depend on, wherever the files lie."""
        settings = {
            k: written(v, self.base) for k, v in self.settings.items() if k not in ("cluster", "report")
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def load(name: str, overrides: Sequence[str] = ()) -> Config:
    """Read a preset or a TOML file and apply overrides.

    Parameters
    ----------
    name : str
        A preset's name, or the path of a ``.toml`` file; paths inside count from that file's folder, those
        of a preset from the checkout, or, installed without one, from the working folder but for the samples.
    overrides : sequence of str
        ``section.key=value``, the value in TOML syntax (bare words are taken as text); paths in them count
        from the working folder.

    Raises
    ------
    ValueError
        Unknown preset, section or key, a value of the wrong type, naming what is accepted.
    """
    path = find(name)
    try:
        tree = parse_toml(read_bytes(path, LARGEST, links=True).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is not UTF-8; accepted: TOML in UTF-8") from error
    except ValueError as error:
        raise ValueError(f"{path}: not TOML: {error}") from error
    base = HOME if path.parent == PRESETS else path.resolve().parent
    _anchor(tree, base)
    given = {}
    for override in overrides:
        given[_apply(tree, override)] = override
    try:
        _require_short_numbers(tree, "")
        for name in ("base", *RENAMED):
            if name in tree:
                raise unknown_key(name, [field.name for field in dataclasses.fields(Config)][:-1], RENAMED)
        return Config(**tree, base=str(base))
    except SettingError as error:
        raise ValueError(f"{_source(error.key, given, path)}: {error}") from error


def _source(key: str, overrides: Mapping[str, str], path: Path) -> str:
    """Return where a setting was given: the override that set it, or else the file."""
    for name, override in reversed(list(overrides.items())):
        if f"{key}.".startswith(f"{name}.") or f"{name}.".startswith(f"{key}."):
            return f"override {shown(override)}"
    return str(path)


def _require_short_numbers(value: Any, key: str) -> None:
    """Raise for a number that TOML does not have."""
    if isinstance(value, Mapping):
        for name, entry in value.items():
            _require_short_numbers(entry, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for entry in value:
            _require_short_numbers(entry, key)
    elif isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise SettingError(f"{key}: got {shown(value)}, accepted: a number of at most 64 bits", key)


def find(name: str) -> Path:
    """Return the file of a preset or the path given."""
    preset = PRESETS / f"{name}.toml"
    if preset.is_file():
        return preset
    path = Path(name)
    if path.suffix == ".toml" and path.is_file():
        return path
    raise ValueError(f"--config: {name!r} is neither a preset ({', '.join(presets())}) nor a .toml file")


def _anchor(tree: dict[str, Any], base: Path) -> None:
    """Make the relative paths of a file absolute; what the hub may have and is no folder there is a name."""
    for name, table in _sections(tree):
        for key in ("path", "raw", "tatoeba", "sts", "parallel"):
            if key in table and (not _may_be_on_hub(name, table) or _is_folder(base, table[key])):
                table[key] = _anchored(base, table[key])
        for key in ("translations", "labelled", "train_translations", "source_translations"):
            if isinstance(table.get(key), dict):
                table[key] = {k: _anchored(base, v) for k, v in table[key].items()}
        for key in ("translator", "source_translator"):
            if isinstance(table.get(key), dict):
                models = table[key].items()
                table[key] = {k: _anchored(base, v) if _is_folder(base, v) else v for k, v in models}


def _sections(tree: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the sections that name files; a section that is no table is refused later."""
    for name in ("corpus", "prepare", "encoder", "retrieval", "embeddings"):
        table = tree.get(name)
        if isinstance(table, dict):
            yield name, table
            if isinstance(table.get("corpus"), dict):
                yield f"{name}.corpus", table["corpus"]


def _anchored(base: Path, path: Any) -> Any:
    if not isinstance(path, str) or not path:
        return path
    elsewhere = base == HOME and not IN_CHECKOUT and not (base / path).exists()
    return str(Path.cwd() / path if elsewhere else base / path)


def _may_be_on_hub(name: str, section: Mapping[str, Any]) -> bool:
    return name == "encoder" or section.get("format") == "huggingface"


def _is_folder(base: Path, name: Any) -> bool:
    return isinstance(name, str) and bool(name) and (base / name).is_dir()


def _apply(tree: dict[str, Any], override: str) -> str:
    """Change a setting in the tree and return its full name."""
    given = shown(override)
    written_key, equals, text = override.partition("=")
    key, text = written_key.strip(), text.strip()
    if not equals or "." not in key:
        raise ValueError(f"override {given}: accepted: section.key=value, for example finetune.epochs=3")
    try:
        value = parse_toml(f"v = {text}")["v"]
    except ValueError:
        value = text
    *sections, name = key.split(".", MOST_PARTS)
    if "." in name:
        raise ValueError(f"override {given}: accepted: a key of at most {MOST_PARTS} parts")
    for part in sections:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise ValueError(f"override {given}: {part} is no section but {shown(tree)}; accepted: its value")
    tree[name] = value
    return key
