"""Trains a generator: Eq. 7 on captions (and pictures), Eq. 9 over its own candidates, jointly or in a second stage.

B batch, L identifier length, M candidates, V identifier tokens, P pictures of a batch.

A batch is divided into shares, one a process, and these into pieces, one a backward pass. What is drawn at random is drawn for the whole
batch by every process alike; each piece's mean loss counts by its part of the whole. So the gradient does not depend on the division.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import avg.torchvision_schema  # noqa: F401  (before transformers)

import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor
from tqdm import tqdm
from transformers.optimization import Adafactor

from avg.generator import PAD, Generator
from avg.ranking_loss import with_positive
from avg.schedule import warm_cosine
from avg.settings import GeneratorSettings
from methods.decoding.beam import DeviceTrie, beam_search
from methods.decoding.trie import Trie
from methods.fitting.batching import batches
from methods.fitting.checkpoint import Checkpoints
from methods.fitting.heartbeat import beat
from methods.fitting.identified import Identified, Shown, lengths, trimmed
from methods.fitting.interruption import listening
from methods.fitting.objective import Batch, Objective, some
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
            planned = self._planned(steps)[self.step :]
            for batch in self._bar(planned, f"generator {self.epoch + 1}/{settings.epochs}", steps):
                if settings.discriminative == "joint":
                    batch = self._with_candidates(batch)
                self._update(batch, self.objective.first_stage)
                self._keep("generator", self.epoch * steps + self.step, settings.epochs * steps)
            loss = self._mean(steps)
            self.epoch, self.step = self.epoch + 1, 0
            self.since_best = 0 if self._validate(loss=loss) else self.since_best + 1

    def _planned(self, steps: int) -> list[Batch]:
        """Returns an epoch's batches, as its random numbers give them: the epoch's own, also where a checkpoint stands inside it."""
        data, random, size = self.train_split, self.random, self.settings.batch
        now = random.get_state()
        if self.step:
            random.set_state(self.epoch_began)
        else:
            self.epoch_began = now
        codes_QL = data.draw(data.caption_images(torch.arange(len(data.features.texts_QD))), random)
        third = max(size // 3, 1)
        picked_P = passes(len(self.shown.vectors_ND), steps * third, random) if self.shown else codes_QL.new_empty(0)
        codes_PL = self.shown.identified.draw(picked_P, random) if self.shown else codes_QL[:0]
        captions = batches(lengths(codes_QL), data.features.states.lengths_Q, size, random)
        pictures = batches(lengths(codes_PL), torch.zeros(len(codes_PL)), third, random)
        planned = [Batch(rows_B, trimmed(codes_QL[rows_B])) for rows_B in captions]
        if self.shown:
            planned = [
                replace(batch, pictures_P=picked_P[rows_P], picture_codes_PL=trimmed(codes_PL[rows_P]))
                for batch, rows_P in zip(planned, pictures, strict=True)
            ]
        if self.step:
            random.set_state(now)
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
            self._update(self._with_candidates(batch), self.objective.second_stage)
            if self.step % checks == 0:
                self._validate(discriminative_loss=self._mean(checks))
            self._keep("discriminative", self.step, settings.discriminative_steps)

    def _with_candidates(self, batch: Batch) -> Batch:
        length = self._training_trie()[0].identifiers_NL.shape[1]
        codes_BL = torch.nn.functional.pad(batch.codes_BL, (0, length - batch.codes_BL.shape[1]), value=PAD)
        candidates_BML, place_B = self.candidates(replace(batch, codes_BL=codes_BL))
        return replace(batch, candidates_BML=candidates_BML, place_B=place_B)

    def candidates(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns what the model's own beam finds in the training images' prefix index (Eq. 8) with the positive among it, and its place.

        Only this process's captions are searched; what stands at the others' is not used.
        """
        trie, found = self._training_trie()
        self.whole.eval()
        pieces = [some(rows_b) for rows_b, _ in self._places(batch)]
        parts = []
        with torch.inference_mode():
            for rows_b in pieces:
                parts.append(self.whole(partial(_search, self.train_split, batch.rows_B[rows_b], found, self.settings.candidates)).cpu())
        # a piece that reached narrow places of the index only has fewer beams
        found_BM = torch.full((len(batch.rows_B), max(part.shape[1] for part in parts)), PAD)
        for rows_b, part in zip(pieces, parts, strict=True):
            found_BM[rows_b, : part.shape[1]] = part
        candidates_BML = torch.from_numpy(trie.identifiers_NL)[found_BM.clamp(min=0)].long()
        candidates_BML = candidates_BML.masked_fill((found_BM == PAD)[..., None], PAD)
        return with_positive(candidates_BML, batch.codes_BL, self.random)

    def _training_trie(self) -> tuple[Trie, DeviceTrie]:
        if not hasattr(self, "_trie"):
            trie = Trie.build(self.train_split.codes_XL.numpy())
            if sharded(self.accelerator) and (trie.identifiers_NL == PAD).any():
                raise ValueError("sharding = fsdp: no discriminative training over identifiers of several lengths, processes would wait")
            self._trie = trie, DeviceTrie(trie, self.model.device)
        return self._trie

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


def passes(items: int, count: int, random: torch.Generator) -> Tensor:
    """Returns the first so many places of one shuffled pass over all items after another: none is left out while others come again."""
    return torch.cat([torch.randperm(items, generator=random) for _ in range(-(-count // items))])[:count]


def _search(split: Identified, rows_B: Tensor, trie: DeviceTrie, beams: int, model: Generator) -> Tensor:
    return beam_search(model.reader(split.text_source(model, rows_B), trie.length), trie, beams)[0]


def _recall(split: Identified, model: Generator) -> float:
    return validation_recall(model, split)
