"""Configurations: a dataclass per stage, read from a preset or a TOML file, changed by ``key=value``.

python -m mcbert show --config demo finetune.epochs=3
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mcbert.features.corpus import CorpusSettings, PrepareSettings
from mcbert.features.corpus.errors import of_section
from mcbert.features.settings import EncoderSettings, ExtractSettings
from mcbert.files import read_bytes
from mcbert.finetune.embeddings.retrieval import RetrievalSettings
from mcbert.finetune.embeddings.settings import EmbeddingsSettings
from mcbert.finetune.settings import FinetuneSettings
from mcbert.finetune.tune.settings import TuneSettings
from mcbert.home import HOME, IN_CHECKOUT
from mcbert.pipeline.cluster.settings import ClusterSettings
from mcbert.pipeline.effects import require_effect
from mcbert.pipeline.refused import RENAMED, SettingError, shown
from mcbert.pipeline.toml import MOST_PARTS, parse_toml
from mcbert.search.space import GridsearchSettings

PRESETS = HOME / "pipeline" / "presets"
LARGEST = 1 << 20  # bytes of a configuration


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything a run depends on."""

    corpus: CorpusSettings = dataclasses.field(default_factory=CorpusSettings)
    """Where the labelled texts are."""

    prepare: PrepareSettings = dataclasses.field(default_factory=PrepareSettings)
    """How raw texts become a corpus; not used when `prepare.raw` is empty."""

    encoder: EncoderSettings
    """Which encoder."""

    extract: ExtractSettings = dataclasses.field(default_factory=ExtractSettings)
    """What to cache."""

    gridsearch: GridsearchSettings = dataclasses.field(default_factory=GridsearchSettings)
    """What to search."""

    finetune: FinetuneSettings = dataclasses.field(default_factory=FinetuneSettings)
    """How to train the winner."""

    tune: TuneSettings = dataclasses.field(default_factory=TuneSettings)
    """Which of these settings to try on dev; not used by the other stages."""

    embeddings: EmbeddingsSettings = dataclasses.field(default_factory=EmbeddingsSettings)
    """How to train sentence embeddings; not used by the other stages."""

    retrieval: RetrievalSettings = dataclasses.field(default_factory=RetrievalSettings)
    """Which sentences to compare: translations to find, likeness to judge; not used by the other stages."""

    cluster: ClusterSettings = dataclasses.field(default_factory=ClusterSettings)
    """Where to run; results do not depend on it."""

    base: str = dataclasses.field(default="", metadata={"setting": False})
    """Folder that the file's relative paths count from; not a setting, and results do not depend on it."""

    def __post_init__(self) -> None:
        """Refuse settings that would do nothing, as scores would be of other texts than one thinks."""
        require_effect(self.corpus, self.prepare)

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting by section and name, paths absolute."""
        return {name: section for name, section in dataclasses.asdict(self).items() if name != "base"}

    @property
    def digest(self) -> str:
        """First 12 hex digits of sha256 over every setting that results depend on, wherever the files lie."""
        settings = {k: written(v, self.base) for k, v in self.settings.items() if k != "cluster"}
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
        config: Config = _build(Config, tree, "", str(path))
    except SettingError as error:
        raise ValueError(error.told(given)) from error
    return dataclasses.replace(config, base=str(base))


def settings_of(kind: type) -> list[dataclasses.Field[Any]]:
    """Return the fields of a section that a file may set."""
    return [field for field in dataclasses.fields(kind) if field.metadata.get("setting", True)]


def written(value: Any, base: str) -> Any:
    """Return settings, or what was made of them, with paths below a folder as a file there writes them.

    >>> written({"raw": "/home/me/project/raw.csv", "seeds": [0]}, "/home/me/project")
    {'raw': 'raw.csv', 'seeds': [0]}
    """
    if isinstance(value, Mapping):
        return {written(key, base): written(entry, base) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [written(entry, base) for entry in value]
    if not base or not isinstance(value, str):
        return value
    return "." if value == base else value.removeprefix(base.rstrip("/") + "/")


def presets() -> list[str]:
    """Return the names of the shipped presets."""
    return sorted(p.stem for p in PRESETS.glob("*.toml"))


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
    for name, section in _sections(tree):
        for key in ("path", "raw", "tatoeba", "sts", "parallel"):
            if key in section and (not _may_be_on_hub(name, section) or _is_folder(base, section[key])):
                section[key] = _anchored(base, section[key])
        for key in ("translations", "labelled", "train_translations", "source_translations"):
            if isinstance(section.get(key), dict):
                section[key] = {k: _anchored(base, v) for k, v in section[key].items()}
        for key in ("translator", "source_translator"):
            if isinstance(section.get(key), dict):
                models = section[key].items()
                section[key] = {k: _anchored(base, v) if _is_folder(base, v) else v for k, v in models}


def _sections(tree: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the sections that name files; of what is none, building the configuration says what is wrong."""
    for name in ("corpus", "prepare", "encoder", "retrieval", "embeddings"):
        section = tree.get(name)
        if isinstance(section, dict):
            yield name, section
            if isinstance(section.get("corpus"), dict):
                yield f"{name}.corpus", section["corpus"]


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
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise ValueError(
                f"override {given}: {section} is no section but {shown(tree)}; accepted: its value"
            )
    tree[name] = value
    return key


def _build(kind: type, tree: Mapping[str, Any], where: str, source: str) -> Any:
    """Make a dataclass of a mapping, checking every key and type."""
    types_of = typing.get_type_hints(kind)
    hints = {field.name: types_of[field.name] for field in settings_of(kind)}
    for key in tree:
        if key not in hints:
            close = get_close_matches(key, list(hints), n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            hint = f" (now called {RENAMED[key]})" if not where and key in RENAMED else hint
            raise SettingError(
                source, f"{where}{key}", f"unknown key {where}{key}{hint}; accepted: {', '.join(hints)}"
            )
    values = {key: _convert(hints[key], value, f"{where}{key}", source) for key, value in tree.items()}
    required = [
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    for name in required:
        if name not in values:
            raise ValueError(f"{source}: key {where}{name} is missing")
    with of_section(where.removesuffix(".")):
        return kind(**values)


def _convert(hint: Any, value: Any, key: str, source: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise SettingError(source, key, f"got {shown(value)}, accepted: a section")
        return _build(typing.cast(type, hint), value, f"{key}.", source)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return value  # the dataclass names what it accepts
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise SettingError(source, key, f"got {shown(value)}, accepted: a number of at most 64 bits")
    if origin is types.UnionType:
        return None if value in (None, "none") else _convert(args[0], value, key, source)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_convert(args[0], v, key, source) for v in value)
    if origin is dict and isinstance(value, Mapping):
        return {_key_of(args[0], k, key, source): _convert(args[1], v, key, source) for k, v in value.items()}
    return _plain(hint if origin is None else origin, value, key, source)


def _key_of(kind: type, text: str, key: str, source: str) -> Any:
    if kind is int and not text.isdigit():
        raise SettingError(source, key, f"got the key {shown(text)}, accepted: a whole number")
    return kind(text)


def _plain(kind: Any, value: Any, key: str, source: str) -> Any:
    if kind in (Any, object):
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        names = {
            int: "a whole number",
            float: "a number",
            str: "text",
            bool: "true or false",
            tuple: "a list",
            dict: "a table",
        }
        accepted = names.get(kind, getattr(kind, "__name__", str(kind)))
        raise SettingError(source, key, f"got {shown(value)}, accepted: {accepted}")
    return value
