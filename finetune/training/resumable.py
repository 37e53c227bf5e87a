"""transformers' Trainer with checkpoints that survive a kill, and with errors that name step and texts.

    python -m pytest tests/finetune/test_kill.py

Of transformers' own checkpoints the newest is partial after most kills, changed arguments go unseen, and
optimizer and random state are pickles. Its loop resumes through the hooks that are overridden here.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate.utils import gather_object
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from mcbert.finetune.training import checkpoints, ranks
from mcbert.finetune.training.batches import EpochBatches
from mcbert.finetune.training.callback import EpochCallback

MODEL, OPTIMIZER, RANDOM, BEST = (f"{name}.safetensors" for name in ("model", "optimizer", "random", "best"))
STATE = "state.json"
TRAINER_STATE = "trainer_state.json"  # the name under which transformers looks for it
NO_LABEL = -100  # of a text that counts neither in the loss nor in its denominator, as transformers has it

Tensors = dict[str, torch.Tensor]


class TrainingError(RuntimeError):
    """A training cannot go on; the message says where it stopped and what to change."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resumption:
    """All of a training's state beside the model."""

    folder: Path | None
    """Of its checkpoints; None: it saves none."""

    arguments: Mapping[str, Any]
    """All that the training depends on."""

    callback: EpochCallback
    """Whose state is saved too."""

    batches: EpochBatches
    """The order of the texts."""

    ids: tuple[str, ...]
    """Of the training texts."""

    section: str
    """Of the settings, for messages."""


class ResumableTrainer(Trainer):
    """Save and restore model, optimizer, schedule, random state and callback; name what fails."""

    def __init__(self, *args: Any, resumption: Resumption, **kwargs: Any) -> None:
        self.resumption = resumption
        super().__init__(*args, **kwargs)
        self.add_callback(EpochOfBatches(resumption.batches))

    @property
    def _net(self) -> nn.Module:
        return cast(nn.Module, self.model)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the texts in our order; it is the same one whoever else has drawn random numbers."""
        rows = [*cast(Any, self.train_dataset), None]
        return DataLoader(
            cast(Any, rows),
            batch_sampler=self.resumption.batches,
            collate_fn=self._collate,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def _collate(self, rows: list[Any]) -> Mapping[str, Any]:
        """Make a batch of rows, or one that counts for nothing of the row that stands for none."""
        if rows[0] is not None:
            return self.data_collator(rows)
        shortest = int(self.resumption.batches.lengths.argmin())
        batch = self.data_collator([cast(Any, self.train_dataset)[shortest]])
        batch["labels"] = torch.full_like(batch["labels"], NO_LABEL)
        return batch

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Compute loss and gradients of a batch.

        Raises
        ------
        TrainingError
            The loss is not finite.
        """
        loss = super().training_step(model, inputs, num_items_in_batch)
        self._require_finite(ranks.mean(loss), "training loss")  # the same everywhere, so that all stop
        return loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """Note the layers' gradients between clipping and the optimizer's step; refuse what is not finite."""
        norm = cast(Any, super())._get_grad_norm(model, grad_norm)  # transformers has no types here
        if not self.args.fp16:  # where a step with infinite gradients is left out, and the scale lowered
            self._require_finite(norm, "norm of the gradient")
        if self.resumption.callback.norms:
            limit = self.args.max_grad_norm
            clipped = grad_norm is not None and float(norm) > limit
            self.resumption.callback.norms.note(float(norm) / limit if clipped else 1.0)
        return norm

    def _require_finite(self, value: Any, what: str) -> None:
        if not torch.isfinite(torch.as_tensor(value)):
            section = self.resumption.section
            raise TrainingError(
                f"{section}: {self.where()}: the {what} is {float(value)}; lower {section}.learning_rate, "
                f"{section}.head_learning_rate or {section}.max_gradient_norm"
            )

    def where(self) -> str:
        """Say which step failed, over which texts, and what is left to go on from."""
        step = self.state.global_step
        ids = [self.resumption.ids[row] for row in self.resumption.batches.rows_of_step(step)]
        folder = self.resumption.folder
        last = next(iter(checkpoints.numbered(folder)), None) if folder else None
        good = f"last good checkpoint {last}" if last else "no checkpoint yet"
        return f"step {step + 1}, texts {' '.join(ids)}, {good}"

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Write a checkpoint, whole or not at all."""
        folder = self.resumption.folder
        if folder is None:
            return
        generators = gather_object([_random_state()])
        self.store_flos()  # this, too, is for all processes to call
        if not self.args.should_save:
            return
        checkpoints.write(
            folder,
            self.state.global_step,
            self.resumption.arguments,
            lambda beside: self._fill(beside, generators),
        )

    def _fill(self, folder: Path, generators: list[tuple[Any, Tensors]]) -> None:
        plain, best = self.resumption.callback.state()
        optimizer = _bare(self.optimizer)
        names: dict[torch.Tensor, str] = {parameter: name for name, parameter in self._net.named_parameters()}
        moments = {
            f"{key} {names[parameter]}": tensor
            for parameter, state in optimizer.state.items()
            for key, tensor in state.items()
        }
        _save(self._net.state_dict(), folder / MODEL)
        _save(moments, folder / OPTIMIZER)
        _save(best, folder / BEST)
        _save(
            {f"{rank} {k}": v for rank, (_, tensors) in enumerate(generators) for k, v in tensors.items()},
            folder / RANDOM,
        )
        scaler = self.accelerator.scaler
        content = {
            "callback": plain,
            "schedule": cast(Any, self.lr_scheduler).state_dict(),
            "groups": [
                {key: value for key, value in group.items() if key != "params"}
                for group in optimizer.param_groups
            ],
            "scaler": scaler.state_dict() if scaler is not None else None,
            "random": [state for state, _ in generators],
        }
        (folder / STATE).write_text(json.dumps(content), encoding="utf-8")
        self.state.save_to_json(str(folder / TRAINER_STATE))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Restore weights and callback."""
        folder = Path(resume_from_checkpoint)
        with checkpoints.restoring(folder):
            self._net.load_state_dict(load_file(folder / MODEL))
            content = checkpoints.read_state(folder / STATE)
            self.resumption.callback.restore(content["callback"], load_file(folder / BEST))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Restore what the optimizer remembers of each parameter, its rates, and the schedule."""
        if checkpoint is not None:
            with checkpoints.restoring(Path(checkpoint)):
                self._restore_optimizer(Path(checkpoint))

    def _restore_optimizer(self, checkpoint: Path) -> None:
        content, optimizer = checkpoints.read_state(checkpoint / STATE), _bare(self.optimizer)
        parameters = dict(self._net.named_parameters())
        for key, tensor in load_file(checkpoint / OPTIMIZER).items():
            kind, _, name = key.partition(" ")
            place = tensor.device if kind == "step" and not _on_device(optimizer) else parameters[name].device
            optimizer.state[parameters[name]][kind] = tensor.to(place)
        for group, saved in zip(optimizer.param_groups, content["groups"], strict=True):
            group.update(saved)
        cast(Any, self.lr_scheduler).load_state_dict(content["schedule"])

    def _load_scaler(self, checkpoint: str | None) -> None:
        """Restore the loss scale of float16."""
        if checkpoint is not None and self.accelerator.scaler is not None:
            with checkpoints.restoring(Path(checkpoint)):
                scale = checkpoints.read_state(Path(checkpoint) / STATE)["scaler"]
                self.accelerator.scaler.load_state_dict(scale)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Restore the random numbers that this process would have drawn next."""
        if checkpoint is not None:
            with checkpoints.restoring(Path(checkpoint)):
                self._restore_random(Path(checkpoint), self.args.process_index)

    def _restore_random(self, checkpoint: Path, rank: int) -> None:
        state = checkpoints.read_state(checkpoint / STATE)["random"][rank]
        version, numbers, gauss = state["python"]
        random.setstate((version, tuple(numbers), gauss))
        mine = {
            key.partition(" ")[2]: tensor
            for key, tensor in load_file(checkpoint / RANDOM).items()
            if key.partition(" ")[0] == str(rank)
        }
        torch.set_rng_state(mine["torch"])
        keys, rest = mine["numpy"].numpy().view(np.uint32), state["numpy"]
        np.random.set_state(("MT19937", keys, *rest))  # noqa: NPY002  libraries draw from it
        if "cuda" in mine:
            torch.cuda.set_rng_state(mine["cuda"])


class EpochOfBatches(TrainerCallback):
    """Tell the order of the texts which epoch begins."""

    def __init__(self, batches: EpochBatches) -> None:
        self._batches = batches

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Set the epoch, also of one that is resumed within."""
        self._batches.epoch = int(state.epoch or 0)


def mean_loss(
    outputs: Any,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int,
    *,
    weights: np.ndarray | None = None,
) -> torch.Tensor:
    """Return a batch's part of the mean cross-entropy over all texts of the step, on all processes.

    Each text's is times its label's weight, float64 (n_labels,), where there are weights. The denominator is
    the number of texts all the same: a step of rare labels must weigh more than another.
    """
    logits = outputs.logits.float()
    weight = None if weights is None else torch.from_numpy(weights).to(logits)
    total = nn.functional.cross_entropy(logits, labels, weight, reduction="sum", ignore_index=NO_LABEL)
    return total / num_items_in_batch


def _random_state() -> tuple[dict[str, Any], Tensors]:
    """Return the state of every generator: what JSON holds, and tensors."""
    _, keys, *rest = np.random.get_state()  # noqa: NPY002  libraries draw from it
    tensors = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.array(keys, dtype=np.uint32).view(np.int32)),
    }
    if torch.cuda.is_available():
        tensors["cuda"] = torch.cuda.get_rng_state()
    return {"python": random.getstate(), "numpy": rest}, tensors


def _bare(optimizer: Any) -> torch.optim.Optimizer:
    """Return the optimizer within accelerate's."""
    return cast(torch.optim.Optimizer, getattr(optimizer, "optimizer", optimizer))


def _on_device(optimizer: torch.optim.Optimizer) -> bool:
    """Tell whether the counts of steps are where the parameters are, as the fused kernels want them."""
    return bool(optimizer.defaults.get("fused") or optimizer.defaults.get("capturable"))


def _save(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    seen: set[int] = set()
    separate: Tensors = {}
    for name, tensor in tensors.items():
        shares = tensor.data_ptr() in seen  # tied weights
        seen.add(tensor.data_ptr())
        plain = tensor.detach()
        separate[name] = plain.clone() if shares else plain.contiguous()
    save_file(separate, path)
