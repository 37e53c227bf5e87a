"""The picture of the method in the README, as SVG: the layers, poolings and epochs are the paper's.

python docs/method.py > docs/method.svg
"""

import sys
from collections.abc import Iterator
from html import escape

LAYERS = range(12, 0, -1)
POOLINGS = ("max", "mean", "cls")
CHOSEN, POOLING = (6, 8, 11), "max"
FROZEN, EPOCHS, TRAINED = {9, 11, 12}, 3, 2  # layers that stop after the second of three epochs
TEXTS = (("en", True), ("en", True), ("en", True), ("de", False), ("zh", False), ("ar", False))

WIDTH, PANELS = 640, (278, 308)  # text of 17 is still 9.5 where a phone shows the picture 358 wide
PITCH, BAR, GAP = 17, 13, 38
HEIGHT = 8 + PANELS[0] + GAP + PANELS[1] + 8
COLUMNS, COLUMN = (24, 240, 456), 160
STYLE = """
  text { font: 17px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: var(--ink) }
  .head { font-weight: 700; font-size: 19px }
  .inside { fill: var(--ground) }
  .middle { text-anchor: middle }
  .end { text-anchor: end }
  .ground { fill: var(--ground) }
  .panel { fill: var(--panel) }
  .plain { fill: var(--plain) }
  .chosen { fill: var(--chosen) }
  .label { fill: var(--label) }
  .frozen { fill: var(--panel); stroke: var(--frozen); stroke-width: 2; stroke-dasharray: 4 3 }
  .way { fill: none; stroke: var(--ink); stroke-width: 2 }
  .tip { fill: var(--ink) }
  svg { --ink: #1f2430; --ground: #fff; --panel: #f1f3f9; --plain: #b3bedd; --chosen: #b85c00;
    --label: #22774a; --frozen: #4b6cc1 }
  @media (prefers-color-scheme: dark) { svg { --ink: #e8eaf0; --ground: #14171f; --panel: #1f2430;
    --plain: #56638c; --chosen: #ffa940; --label: #5fc78e; --frozen: #8fa8ee } }
"""
TITLE = "How mcbert makes a classifier for languages without labels"
ABOUT = (
    "A frozen encoder reads every text once; only the English texts have labels. The states of its layers "
    "are pooled by max, mean and CLS and cached. A search scores sets of layers, poolings and classifiers. "
    "The layers chosen, here 6, 8 and 11 by max, are fine-tuned on English; layers 9, 11 and 12 are frozen "
    "after two epochs. The model labels texts of every language."
)


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(words)}</text>'


def _box(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="3" class="{kind}"/>'


def _arrow(*points: tuple[float, float]) -> str:
    """Return a line through points with a tip, which points to the right or down."""
    (x, y), before = points[-1], points[-2]
    tip = f"M{x - 9:g} {y - 6:g}l9 6l-9 6z" if before[1] == y else f"M{x - 6:g} {y - 9:g}l6 9l6 -9z"
    return (
        f'<path d="M{"L".join(f"{a:g} {b:g}" for a, b in points)}" class="way"/><path d="{tip}" class="tip"/>'
    )


def _panel(top: int, height: int, heads: tuple[str, str, str]) -> Iterator[str]:
    yield f'<rect x="8" y="{top}" width="{WIDTH - 16}" height="{height}" rx="10" class="panel"/>'
    yield from (_text(x, top + 30, head, "head") for x, head in zip(COLUMNS, heads, strict=True))
    for x in COLUMNS[1:]:
        yield _arrow((x - 50, top + 146), (x - 10, top + 146))


def _texts(x: int, y: int) -> Iterator[str]:
    for n, (language, labelled) in enumerate(TEXTS):
        row = y + 34 * n
        yield _text(x, row + 17, language)
        yield _box(x + 32, row + 3, 66, 20, "plain")
        if labelled:
            yield _box(x + 102, row + 3, 54, 20, "label")
            yield _text(x + 129, row + 18, "label", "middle inside")


def _encoder(x: int, y: int) -> Iterator[str]:
    for n, layer in enumerate(LAYERS):
        yield _box(x + 28, y + PITCH * n, COLUMN - 28, BAR, "plain")
        if layer in {1, 12}:
            yield _text(x + 20, y + PITCH * n + 13, str(layer), "end")
    yield _text(x + 28, y + PITCH * 12 + 15, "layers")


def _states(x: int, y: int) -> Iterator[str]:
    for column, pooling in enumerate(POOLINGS):
        left = x + 55 * column
        for n, layer in enumerate(LAYERS):
            chosen = layer in CHOSEN and pooling == POOLING
            yield _box(left, y + PITCH * n, 48, BAR, "chosen" if chosen else "plain")
        yield _text(left + 24, y + PITCH * 12 + 15, pooling, "middle")


def _search(x: int, y: int) -> Iterator[str]:
    yield _text(x, y + 12, "255 sets of layers")
    yield _text(x, y + 34, "x 3 poolings")
    yield _text(x, y + 56, "x 5 classifiers")
    for n in range(7):
        yield _box(x, y + 72 + PITCH * n, COLUMN - 4 * n * (n + 2) ** 0.5, BAR, "plain" if n else "chosen")
    yield _text(x, y + PITCH * 12 + 15, f"{' + '.join(map(str, CHOSEN))}, {POOLING}")


def _training(x: int, y: int) -> Iterator[str]:
    for n, layer in enumerate(LAYERS):
        if layer in CHOSEN:
            yield _text(x + 20, y + PITCH * n + 13, str(layer), "end")
        for epoch in range(EPOCHS):
            frozen = layer in FROZEN and epoch >= TRAINED
            kind = "frozen" if frozen else "chosen" if layer in CHOSEN else "plain"
            yield _box(x + 28 + 45 * epoch, y + PITCH * n, 41, BAR, kind)
    yield _text(x + 20, y + PITCH * 12 + 15, "epoch", "end")
    yield from (_text(x + 48 + 45 * n, y + PITCH * 12 + 15, str(n + 1), "middle") for n in range(EPOCHS))
    yield _box(x + 73, y + PITCH * 12 + 27, 26, BAR, "frozen")
    yield _text(x + 106, y + PITCH * 12 + 39, "frozen")


def _model(x: int, y: int) -> Iterator[str]:
    middle = x + 80
    yield _text(middle, y + 12, f"{POOLING} of layers", "middle")
    for n, layer in enumerate(CHOSEN):
        yield _box(x + 54 * n, y + 22, 52, 24, "chosen")
        yield _text(x + 54 * n + 26, y + 40, str(layer), "middle inside")
    yield _arrow((middle, y + 52), (middle, y + 78))
    yield _text(middle, y + 98, "linear head", "middle")
    yield _arrow((middle, y + 106), (middle, y + 132))
    yield _text(middle, y + 156, "Wo ist mein Paket?", "middle")
    yield _box(x + 36, y + 168, 88, 26, "label")
    yield _text(middle, y + 187, "tracking", "middle inside")


def render() -> str:
    """Return the picture."""
    first, second, (a, b, c) = 8, 8 + PANELS[0] + GAP, COLUMNS
    parts = [
        *_panel(first, PANELS[0], ("1 texts", "2 frozen encoder", "3 pooled states")),
        *_texts(a, first + 46),
        *_encoder(b, first + 46),
        *_states(c, first + 46),
        _arrow((c + 80, second - GAP), (c + 80, second - 20), (a + 80, second - 20), (a + 80, second)),
        *_panel(second, PANELS[1], ("4 search", "5 fine-tuning", "6 model")),
        *_search(a, second + 46),
        *_training(b, second + 46),
        *_model(c, second + 46),
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
            f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="title about">',
            f'<title id="title">{TITLE}</title>',
            f'<desc id="about">{ABOUT}</desc>',
            f"<style>{STYLE}</style>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" class="ground"/>',
            *parts,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(render())
