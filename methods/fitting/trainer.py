"""Trains a generator: Eq. 7 on captions (and pictures), Eq. 9 over its own candidates, jointly or in a second stage.

B batch, L identifier length, P pictures of a batch.

A batch is divided into shares, one a process, and these into pieces, one a backward pass. What is drawn at random is drawn for the whole
batch by every process alike; each piece's mean loss counts by its part of the whole. So the gradient does not depend on the division.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import avg.torchvision_schema  # noqa: F401  (before transformers)

import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor
from tqdm import tqdm
from transformers.optimization import Adafactor

from avg.generator import Generator
from avg.schedule import warm_cosine
from avg.settings import GeneratorSettings
from methods.fitting.candidates import Candidates
from methods.fitting.checkpoint import Checkpoints
from methods.fitting.epoch_batches import epoch_batches
from methods.fitting.heartbeat import beat
from methods.fitting.identified import Identified, Shown
from methods.fitting.interruption import listening
from methods.fitting.objective import Batch, Objective
from methods.fitting.processes import Whole, accelerator, restore_weights, sharded, trained_weights
from methods.fitting.validation import validation_recall

CLIP_GRADIENT = 1.0


class Trainer:
    """A generator with its data, optimizer, random numbers and checkpoints; one method a training stage.

    Args:
        folder: where checkpoints are kept; a training that finds one there goes on from it.
        chosen_on: the split by which checkpoints are chosen.
        learned: what is trained on where that is more than the split train.
        pictures: those of each split in `pictures_of`, for a generator that reads pixels.

    `curve` holds what validation said, `losses` the loss of every update by stage, `kept` the trained weights that validated best.
    """

    def __init__(
        self,
        settings: GeneratorSettings,
        splits: Mapping[str, Identified],
        pictures_of: Sequence[str],
        model: Generator,
        folder: Path | None = None,
        *,
        chosen_on: str = "val",
        learned: Identified | None = None,
        pictures: Sequence[Sequence[Any]] = (),
    ):
        self.settings, self.splits, self.model, self.chosen_on = settings, splits, model, chosen_on
        self.train_split, self.shown = learned or splits["train"], Shown.of(splits, pictures_of, pictures)
        self.objective = Objective(settings, self.train_split, self.shown)
        self.random = torch.Generator().manual_seed(settings.seed)
        if settings.recompute_activations:
            model.recompute_activations()
        model.own_forward |= settings.sharding != "none"
        self.accelerator = accelerator(settings, model)
        trained = [value for value in model.parameters() if value.requires_grad]
        self.whole, self.optimizer = self.accelerator.prepare(Whole(model), self._new_optimizer(trained))
        self.schedule: Any = None
        if self.accelerator.process_index:
            torch.manual_seed(settings.seed + self.accelerator.process_index)  # siblings' dropout is not the same
        # what a checkpoint holds of this object besides
        self.stage, self.epoch, self.step, self.since_best = "generative", 0, 0, 0
        self.epoch_began = self.random.get_state()
        self.curve: list[dict[str, float]] = []
        self.losses: dict[str, list[float]] = {"generative": [], "second-stage": []}
        self._unread: list[Tensor] = []
        self.best, self.kept = -1.0, trained_weights(self.accelerator, self.whole)
        self.accelerator.register_for_checkpointing(self)
        self.checkpoints = Checkpoints(folder, self.accelerator, settings.checkpoint_minutes)

    def train(self) -> None:
        """Runs what the settings ask for, from the newest checkpoint on where there is one, and leaves the best weights in the model."""
        if sharded(self.accelerator):
            # buffers of the first pass serve all later ones, and a search's, in inference mode, would forbid training
            with torch.no_grad():
                first = Batch(torch.zeros(1, dtype=torch.long), self.train_split.codes_XL[:1])
                self.whole.eval()(partial(self.objective.generative, first))
        self.checkpoints.restore()
        with listening() if self.checkpoints.folder else nullcontext():
            if self.stage == "generative":
                self.generative()
            if self.settings.discriminative == "second-stage":
                self.second_stage()

    def generative(self) -> None:
        """Minimises Eq. 7, summed over a caption batch and, where pictures are learned, a third as many pictures."""
        settings = self.settings
        steps = -(-len(self.train_split.features.texts_QD) // settings.batch)
        self._schedule(settings.learning_rate, steps * settings.epochs)
        while self.epoch < settings.epochs and self.since_best < settings.patience:
            planned = self._planned()[self.step :]
            for batch in self._bar(planned, f"generator {self.epoch + 1}/{settings.epochs}", steps):
                if settings.discriminative == "joint":
                    batch = self.with_candidates(batch)
                self._update(batch, self.objective.first_stage)
                self._keep("generator", self.epoch * steps + self.step, settings.epochs * steps)
            loss = self._mean(steps)
            self.epoch, self.step = self.epoch + 1, 0
            self.since_best = 0 if self._validate(loss=loss) else self.since_best + 1

    def _planned(self) -> list[Batch]:
        """Returns an epoch's batches, as its random numbers give them: the epoch's own, also where a checkpoint stands inside it."""
        now = self.random.get_state()
        if self.step:
            self.random.set_state(self.epoch_began)
        else:
            self.epoch_began = now
        planned = epoch_batches(self.train_split, self.shown, self.settings.batch, self.random)
        if self.step:
            self.random.set_state(now)
        return planned

    def second_stage(self) -> None:
        """Minimises Eq. 10 from the best generative checkpoint on, over the model's own candidates."""
        settings, captions = self.settings, len(self.train_split.features.texts_QD)
        if self.stage == "generative":
            restore_weights(self.accelerator, self.whole, self.kept)
            self.stage, self.step = "second-stage", 0
            self.optimizer.optimizer.state.clear()  # a new stage, a new optimizer
            self.schedule = None
        self._schedule(settings.discriminative_rate, settings.discriminative_steps)
        checks = max(settings.discriminative_steps // 4, 1)
        for _ in self._bar(range(self.step, settings.discriminative_steps), "discriminative", settings.discriminative_steps):
            rows_B = torch.randint(captions, (settings.discriminative_batch,), generator=self.random)
            batch = Batch(rows_B, self.train_split.draw(self.train_split.caption_images(rows_B), self.random))
            self._update(self.with_candidates(batch), self.objective.second_stage)
            if self.step % checks == 0:
                self._validate(discriminative_loss=self._mean(checks))
            self._keep("discriminative", self.step, settings.discriminative_steps)

    def with_candidates(self, batch: Batch) -> Batch:
        """Returns a batch with what Eq. 9 compares: this process searches for its own captions only."""
        return self._candidates.beside(batch, self.whole, [rows_b for rows_b, _ in self._places(batch)], self.random)

    @cached_property
    def _candidates(self) -> Candidates:
        return Candidates(self.train_split, self.settings.candidates, self.model.device, alike=sharded(self.accelerator))

    def _places(self, batch: Batch) -> list[tuple[Tensor, Tensor | None]]:
        """Returns this process's pieces of a batch: places of captions, of pictures. All processes have equally many."""
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        rows_b = torch.arange(len(batch.rows_B)).tensor_split(processes)
        largest = max(len(rows) for rows in rows_b)
        pieces = -(-largest // (self.settings.micro_batch or largest))
        shown = None if batch.pictures_P is None else torch.arange(len(batch.pictures_P)).tensor_split(processes)[rank].tensor_split(pieces)
        return [(rows, shown[piece] if shown else None) for piece, rows in enumerate(rows_b[rank].tensor_split(pieces))]

    def _update(self, batch: Batch, losses_of: Any) -> None:
        handle, pieces = self.accelerator, self._places(batch)
        self.whole.train()
        self.optimizer.zero_grad()
        logged = []
        for number, (rows_b, pictures_p) in enumerate(pieces):
            last = number + 1 == len(pieces)
            with nullcontext() if last else handle.no_sync(self.whole):
                loss, told = self.whole(partial(losses_of, batch.piece(rows_b, pictures_p)))
                # processes' gradients are averaged: each stands for as many
                handle.backward(loss * handle.num_processes if handle.num_processes > 1 else loss)
            logged.append(told.detach())
        self._unread.append(sum(logged[1:], start=logged[0]))
        if sharded(handle):
            # a sharded optimizer's checkpoint is read back only if every weight has a state
            for value in self.whole.parameters():
                if value.requires_grad and value.grad is None:
                    value.grad = torch.zeros_like(value)
        handle.clip_grad_norm_(self.whole.parameters(), CLIP_GRADIENT)
        self.optimizer.step()
        self.schedule.step()
        self.step += 1

    def _keep(self, what: str, done: int, total: int) -> None:
        """Tells how far it is, and makes a checkpoint if it is time; where it stands, nothing of this update may be left to do."""
        if self.accelerator.is_main_process:
            beat(what, done, total)
        updates = sum(map(len, self.losses.values())) + len(self._unread)  # of all epochs and stages, `step` begins anew in each
        if self.checkpoints.due(updates):
            self.checkpoints.save(updates)

    def _new_optimizer(self, trained: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        settings = self.settings
        if settings.optimizer == "adafactor":
            rates = {"scale_parameter": False, "relative_step": False, "warmup_init": False}
            return Adafactor(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay, **rates)
        return torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay)

    def _schedule(self, rate: float, steps: int) -> None:
        """Begins a learning-rate schedule, or goes on with the one of the checkpoint that was loaded."""
        groups = self.optimizer.optimizer.param_groups
        done = self.schedule
        for group in groups:
            group["lr"] = group["initial_lr"] = rate
        self.schedule = warm_cosine(self.optimizer.optimizer, steps)
        if done is not None:
            self.schedule.load_state_dict(done)
            for group, last in zip(groups, self.schedule.get_last_lr(), strict=True):
                group["lr"] = last

    def _bar(self, work: Sequence[Any], text: str, total: int) -> Any:
        if not self.accelerator.is_main_process:
            return work
        return tqdm(work, desc=text, unit="step", initial=total - len(work), total=total, leave=False)

    def _mean(self, updates: int) -> float:
        """Returns the mean logged loss of the last updates."""
        self._read()
        return round(sum((loss / updates for loss in self.losses[self.stage][-updates:]), 0.0), 4)

    def _read(self) -> None:
        """Brings logged losses from the device, where reading each would have stopped the work."""
        if self._unread:
            losses = torch.stack(self._unread)
            if self.accelerator.num_processes > 1:
                losses = self.accelerator.reduce(losses, "sum")
            self.losses[self.stage] += losses.tolist()
            self._unread = []

    def _validate(self, **record: float) -> bool:
        """Notes R@1 on the split of selection and keeps the parameters if it is the best so far; says whether it is."""
        recall = self.whole.eval()(partial(_recall, self.splits[self.chosen_on]))
        if self.accelerator.num_processes > 1:  # one opinion, that of the first
            recall = broadcast_object_list([recall])[0]
        self.curve.append({**record, f"{self.chosen_on} R@1": recall})
        if recall <= self.best:
            return False
        self.best, self.kept = recall, trained_weights(self.accelerator, self.whole)
        return True

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint holds of a training besides weights, optimizer and the library's random numbers."""
        self._read()
        names = ("stage", "epoch", "step", "since_best", "epoch_began", "curve", "losses", "best", "kept")
        return {name: getattr(self, name) for name in names} | {"random": self.random.get_state(), "schedule": self.schedule.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        state = dict(state)
        self.random.set_state(state.pop("random"))
        for name, value in state.items():
            setattr(self, name, value)


def _recall(split: Identified, model: Generator) -> float:
    return validation_recall(model, split)
