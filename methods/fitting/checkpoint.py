"""Checkpoints of a training that goes on after it was killed, bit for bit: accelerate's state in numbered folders, newest last.

unfinished/000000420/   weights, optimizer, random states of every process, the trainer's own state, checkpoint.json with all hashes
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from safetensors.torch import load_file, save_file

from methods.files.durable import file_hash
from methods.fitting.interruption import Interrupted, answered, asked
from methods.fitting.processes import unwrapped

log = logging.getLogger("vokenbench")

KEPT = 2
SHARE = 30
"""A checkpoint is made no sooner than after this many times what the last one took: it costs at most some three percent."""
ASKED, SLOW = 16, 1.0
"""Several processes agree this often, in updates, on whether a checkpoint is due; after every update where one takes more than so many
seconds: between a notice and a time limit there may be few."""
WEIGHTS, CONTENTS = "trained.safetensors", "checkpoint.json"


class Checkpoints:
    """The checkpoints in a folder.

    Args:
        folder: where they are; nothing is kept where None.
        accelerator: whose prepared models, optimizers and registered objects are kept.
        minutes: between two; 0: after every update.
    """

    def __init__(self, folder: Path | None, accelerator: Accelerator, minutes: float):
        self.folder, self.accelerator, self.minutes = folder, accelerator, minutes
        self.cost, self.last = 0.0, time.monotonic()
        self.every, self.asked_at = 1, (0, self.last)
        accelerator.register_save_state_pre_hook(_save_trained)
        accelerator.register_load_state_pre_hook(_load_trained)

    def due(self, updates: int) -> bool:
        """Says whether it is time for one; the same in all processes.

        Args:
            updates: made so far, a number that only grows.
        """
        if self.folder is None:
            return False
        due = self.minutes == 0 or bool(asked()) or time.monotonic() - self.last > max(60 * self.minutes, SHARE * self.cost)
        if self.accelerator.num_processes == 1 or self.minutes == 0:
            return due
        before, then = self.asked_at
        if updates - before < self.every:
            return False
        self.asked_at = updates, time.monotonic()
        # how long the first update took is not known, nor the first after a checkpoint was loaded: the next is asked after as well
        slow = before == 0 or self.asked_at[1] - then > SLOW * (updates - before)
        due, self.every = self._agreed((due, 1 if slow else ASKED))
        return due

    def save(self, number: int) -> None:
        """Writes a checkpoint under a temporary name, renames it when whole or removes it, and removes all but the newest two.

        Raises:
            Interrupted: afterwards, in all processes, if the training was asked to stop.
        """
        assert self.folder is not None
        start, final = time.monotonic(), self.folder / f"{number:09d}"
        part = final.with_suffix(".part")
        if self.accelerator.is_main_process:
            shutil.rmtree(part, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        try:
            self.accelerator.save_state(str(part))
            self.accelerator.wait_for_everyone()
            if self.accelerator.is_main_process:
                (part / CONTENTS).write_text(json.dumps({"processes": self.accelerator.num_processes, "sha256": _hashes(part)}))
                shutil.rmtree(final, ignore_errors=True)
                os.replace(part, final)
        except BaseException:
            if self.accelerator.is_main_process:
                shutil.rmtree(part, ignore_errors=True)  # on a full disk it would be what fills it
            raise
        if self.accelerator.is_main_process:
            for old in self._numbered()[:-KEPT]:
                shutil.rmtree(old)
        self.accelerator.wait_for_everyone()
        self.last = time.monotonic()
        self.cost = self.last - start
        wish = self._agreed(asked())
        if wish == "stop":
            raise Interrupted
        if wish and self.accelerator.is_main_process:
            answered()

    def restore(self) -> bool:
        """Loads the newest whole checkpoint into what was prepared and registered; says whether there was one.

        Newer ones that are damaged are named and removed: left there, they would count as the newest when old ones are pruned. So is what
        was left half-written.

        Raises:
            ValueError: in all processes, if the newest whole one was made by another number of processes.
        """
        chosen, refused = None, None
        if self.folder is not None and self.accelerator.is_main_process:
            for part in self.folder.glob("*.part"):
                shutil.rmtree(part)
            for path in reversed(self._numbered()):
                damage = self._fault(path)
                if damage is None:
                    chosen, refused = str(path), self._refused(path)
                    break
                log.warning("checkpoint %s: %s; the one before it is used, or the start, and this one is removed", path, damage)
                shutil.rmtree(path)
        chosen, refused = self._agreed((chosen, refused))
        if refused is not None:
            raise ValueError(refused)
        if chosen is not None:
            # on a GPU, AdamW's counts of updates would stay there, and each update wait for it once a weight
            self.accelerator.load_state(chosen, map_location="cpu")
        return chosen is not None

    def _numbered(self) -> list[Path]:
        assert self.folder is not None
        return sorted(path for path in self.folder.iterdir() if path.name.isdecimal())

    def _fault(self, path: Path) -> str | None:
        try:
            contents = json.loads((path / CONTENTS).read_text())
            found, _ = _hashes(path), int(contents["processes"])
            differing = sorted(name for name in {*contents["sha256"], *found} if contents["sha256"].get(name) != found.get(name))
        except (OSError, ValueError, KeyError, TypeError):
            return f"{CONTENTS} cannot be read"
        return f"{differing[0]} is damaged" if differing else None

    def _refused(self, path: Path) -> str | None:
        made, now = json.loads((path / CONTENTS).read_text())["processes"], self.accelerator.num_processes
        if made == now:
            return None
        return f"checkpoint {path} was made by {made} processes, not {now}: set processes to {made}, or delete {self.folder} to begin anew"

    def _agreed(self, value: Any) -> Any:
        """Returns the first process's value in all of them."""
        return broadcast_object_list([value])[0]


def _hashes(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != CONTENTS:
            found[path.relative_to(folder).as_posix()] = file_hash(path)
    return found


def _save_trained(models: list[Any], weights: list[Any], folder: str) -> None:
    """Keeps only what is trained, in place of all weights: LoRA's base need not be written every few minutes."""
    for model, _ in zip(models, list(weights), strict=False):  # none where weights are sharded: accelerate has written those
        trained = {name: value.detach().cpu().contiguous() for name, value in unwrapped(model).named_parameters() if value.requires_grad}
        if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
            save_file(trained, Path(folder) / WEIGHTS)
    weights.clear()


def _load_trained(models: list[Any], folder: str) -> None:
    path = Path(folder) / WEIGHTS
    if not path.is_file():
        return
    for model in models:
        missing = unwrapped(model).load_state_dict(load_file(path), strict=False)
        assert not missing.unexpected_keys, missing.unexpected_keys
    models.clear()
