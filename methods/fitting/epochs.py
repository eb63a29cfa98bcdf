"""How far a training is, epoch by epoch: told to whoever watches it, and kept, so that an interrupted one goes on after a whole epoch."""

from __future__ import annotations

import logging
import time
import zipfile
from pathlib import Path
from typing import Any

import torch

from methods.files.durable import whole
from methods.fitting.heartbeat import beat
from methods.stage import UNFINISHED

log = logging.getLogger("vokenbench")

CONTENTS = {"epochs", "parts", "values", "random"}


class Epochs:
    """The epochs of a training of one process. What is kept is one file, with torch's global random numbers.

    Args:
        out: the stage's folder; the file is under its `UNFINISHED`.
        what: is trained.
        total: how many epochs.
        device: where.
        seconds: between two times that it is kept, at least; a training that takes less is not kept at all.
    """

    def __init__(self, out: Path, what: str, total: int, device: torch.device, seconds: float = 60.0):
        self.path, self.what, self.total, self.device, self.seconds = out / UNFINISHED / "epoch.pt", what, total, device, seconds
        self.begun = self.last = time.monotonic()
        self.parts: dict[str, Any] = {}

    def found(self, **parts: Any) -> dict[str, Any] | None:
        """Gives the parts, and torch's random numbers, the state that they had when an interrupted run kept it.

        Returns what it was `done` with then; None where there is nothing or, with a warning, where it is damaged.

        Args:
            parts: what has a `state_dict`, or is a generator of random numbers.
        """
        self.parts = parts
        stored = self._stored() if self.path.is_file() else None
        done = 0
        if stored is not None:
            for name, part in parts.items():
                (part.set_state if isinstance(part, torch.Generator) else part.load_state_dict)(stored["parts"][name])
            torch.set_rng_state(stored["random"])
            if self.device.type == "cuda" and "random of the device" in stored:  # not if it was kept on a CPU
                torch.cuda.set_rng_state(stored["random of the device"], self.device)
            done = stored["epochs"]
        beat(self.what, done, self.total)
        return stored and stored["values"]

    def _stored(self) -> dict[str, Any] | None:
        try:
            with zipfile.ZipFile(self.path) as file:
                damaged = file.testzip()  # torch.load compares no checksums
            fault = f"{damaged} in it is damaged" if damaged else ""
            stored = {} if fault else torch.load(self.path, weights_only=True, map_location="cpu")
            if not fault and (not stored.keys() >= CONTENTS or stored["parts"].keys() != self.parts.keys()):
                fault = "another version made it"
        except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, RuntimeError, AttributeError, OSError) as error:
            fault = f"it cannot be read ({error})"
        if not fault:
            return stored
        log.warning("%s: %s; training starts anew", self.path, fault)
        self.path.unlink()
        return None

    def done(self, epochs: int, **values: Any) -> None:
        """Says that so many epochs are done, and keeps the parts' states and the values if it is time.

        Args:
            values: tensors, numbers, texts, and mappings and lists of these.
        """
        beat(self.what, epochs, self.total)
        since = self.begun if epochs == self.total else self.last
        if time.monotonic() - since < self.seconds:
            return
        states = {n: part.get_state() if isinstance(part, torch.Generator) else part.state_dict() for n, part in self.parts.items()}
        kept = {"epochs": epochs, "parts": states, "values": values, "random": torch.get_rng_state()}
        if self.device.type == "cuda":
            kept["random of the device"] = torch.cuda.get_rng_state(self.device)
        self.path.parent.mkdir(exist_ok=True)
        with whole(self.path) as unfinished:
            torch.save(kept, unfinished)
        self.last = time.monotonic()
