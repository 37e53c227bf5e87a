"""Word embeddings of a training: only the rows that its texts use are trained, and nothing else changes.

    python -m pytest tests/finetune/training/test_word_embeddings.py

multilingual-e5 and XLM-R have 250,000 rows, of which a corpus uses some 2%. A row that no text uses has no
gradient and no moments: Adam leaves it as it is, AdamW multiplies it by 1 - rate x decay at every step. So
the rows in use are trained as a small matrix; the others wait outside the model, and get the product of
these factors when the training ends.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

log = logging.getLogger(__name__)

NONE = -1  # the row of an id that no text has


class RowsInUse(nn.Embedding):
    """An embedding of some of the token ids: finds their rows, and refuses other ids.

    Its last row is that of no id. It starts as numbers from 1 to 2 and gets no gradient, so that what an
    optimizer does to it at each step is what it would do to every row out of use; checkpoints and copies of
    the weights hold it with them. (Numbers from 1 to 2, because rounding favours a direction that depends on
    them: their mean change is nearer to the product than that of any one number.)

    Parameters
    ----------
    whole : Embedding
        With all rows; it is not changed.
    ids : Tensor
        int64, ascending; the row of padding among them.
    """

    lookup: torch.Tensor

    def __init__(self, whole: nn.Embedding, ids: torch.Tensor) -> None:
        weight = whole.weight.detach()
        unused = _numbers(whole.embedding_dim).to(weight)
        lookup = torch.full((whole.num_embeddings,), NONE, dtype=torch.int32, device=weight.device)
        lookup[ids] = torch.arange(len(ids), dtype=torch.int32, device=weight.device)
        padding = None if whole.padding_idx is None else int(lookup[whole.padding_idx])
        rows = torch.cat([weight[ids], unused[None]])
        super().__init__(len(rows), whole.embedding_dim, padding_idx=padding, _weight=rows)
        self.weight.requires_grad_(whole.weight.requires_grad)
        self.register_buffer("lookup", lookup, persistent=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the rows of token ids, of any shape and one dimension more.

        Raises
        ------
        IndexError
            An id has no row here.
        """
        rows = self.lookup.index_select(0, ids.reshape(-1)).view(ids.shape)
        if (rows == NONE).any():
            raise IndexError(f"token id {int(ids[rows == NONE][0])} is in no text of this training")
        return super().forward(rows)

    def decay(self) -> float:
        """Return what the optimizer has multiplied each row out of use by; exactly 1 where it left them."""
        began = _numbers(self.embedding_dim).to(self.weight.dtype).double()
        return float((self.weight.detach()[-1].cpu().double() / began).mean())


def _numbers(n: int) -> torch.Tensor:
    """Return the numbers that the row of no id starts as, float32 (n,)."""
    return torch.linspace(1, 2, n)


@contextlib.contextmanager
def rows_in_use(model: PreTrainedModel, token_ids: np.ndarray) -> Iterator[None]:
    """Have a model hold the word embeddings of some tokens only, until the block ends.

    Then it has all of them again, in the modules where they were. An embedding is left whole that computes
    otherwise than `torch.nn.Embedding` with its defaults, as those of Gemma and M2M-100 that scale, whose
    weights are tied to another kind of module, that is called by code which comes with a model, or of which
    all rows are in use.

    Parameters
    ----------
    token_ids : ndarray
        int64, distinct, ascending: all that the model is going to read.
    """
    places = _places(model)
    whole = places[0][2] if places else None
    ids = None if whole is None else _kept(whole, token_ids)
    if whole is None or ids is None:
        yield
        return
    compact = RowsInUse(whole, ids)
    log.info("word embeddings: %d of %d rows are in use", len(ids), whole.num_embeddings)
    for parent, name, _ in places:
        setattr(parent, name, compact)
    _set_aside(whole.weight)
    try:
        yield
    finally:
        _expand(whole, compact, ids)
        for parent, name, one in places:
            setattr(parent, name, one.to(compact.weight.device))


def _set_aside(weight: torch.Tensor) -> None:
    """Leave a matrix on disk until it is read again: a file without a name, gone with the last who maps it.

    What is written to the matrix afterwards is memory's alone. One that is on a GPU stays there, and one for
    which there is no room in the folder of temporary files stays in memory.
    """
    if weight.device.type != "cpu":
        return
    with contextlib.suppress(OSError), tempfile.TemporaryFile() as file:
        values = weight.detach().numpy()
        values.tofile(file)
        weight.data = torch.from_numpy(np.memmap(file, values.dtype, mode="c", shape=values.shape))


def _expand(whole: nn.Embedding, compact: RowsInUse, ids: torch.Tensor) -> None:
    """Put trained rows back among all, in place, and decay the others."""
    weight, decay = whole.weight, compact.decay()
    with torch.no_grad():
        if decay != 1:
            weight.mul_(decay)
        weight[ids] = compact.weight[:-1].to(weight.device)
    weight.requires_grad_(compact.weight.requires_grad)


def _kept(whole: nn.Embedding, token_ids: np.ndarray) -> torch.Tensor | None:
    """Return the ids of the rows to keep, None where that saves none."""
    padding = [] if whole.padding_idx is None else [whole.padding_idx]
    ids = np.union1d(token_ids, np.array(padding, dtype=np.int64))
    ids = ids[ids < whole.num_embeddings]
    return torch.from_numpy(ids).to(whole.weight.device) if len(ids) + 1 < whole.num_embeddings else None


def _places(model: PreTrainedModel) -> list[tuple[nn.Module, str, nn.Embedding]]:
    """Return the modules that hold the word embeddings, with parent and name; none where they stay whole."""
    weight = _weight(model)
    holders = {m for m in model.modules() if any(p is weight for p in m.parameters(recurse=False))}
    places = [(p, name, m) for p in model.modules() for name, m in p.named_children() if m in holders]
    if not all(_is_plain(holder) for holder in holders) or not all(_is_known(p) for p, _, _ in places):
        return []
    found = [(parent, name, cast(nn.Embedding, module)) for parent, name, module in places]
    return found if len({module.padding_idx for _, _, module in found}) == 1 else []


def _weight(model: PreTrainedModel) -> nn.Parameter | None:
    try:
        weight = getattr(model.get_input_embeddings(), "weight", None)
    except NotImplementedError:  # of CANINE, which has none
        return None
    return weight if isinstance(weight, nn.Parameter) else None


def _is_plain(module: nn.Module) -> bool:
    """Tell whether a module does nothing but look rows up."""
    one: Any = module
    plain = type(module) is nn.Embedding and len(list(module.parameters())) == 1
    return plain and one.max_norm is None and not one.scale_grad_by_freq and not one.sparse


def _is_known(parent: nn.Module) -> bool:
    """Tell whether the code that calls a module's parts is transformers'; other code may take the weights."""
    return type(parent).__module__.partition(".")[0] in ("transformers", "torch")
