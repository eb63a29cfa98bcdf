"""BLIP through salesforce-lavis, as this environment sees it: a worker process that is started, asked, and ended with its owner.

B pictures or captions, K pairs, P patches and the class token, H width of a vision state, D width of the shared space.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from baselines.blip_text import prepared
from baselines.lavis import frames
from baselines.nameless import nameless

if TYPE_CHECKING:
    from PIL.Image import Image

WORKER = Path(__file__).resolve().with_name("worker.py")


class LavisBLIP:
    """The same operations as `baselines.blip.BLIP`, computed by LAVIS's own model and preprocessing.

    Args:
        folder: as `baselines.blip_checkpoint.save_for_lavis` writes it.
        python: interpreter of the environment that `make lavis` builds.
        precision: `fast` or `float32`, as in `baselines.blip.BLIP`.

    Raises:
        ValueError: if there is no such environment, or the worker cannot load the model; one line says what to do.
    """

    def __init__(self, folder: Path, python: Path, precision: str = "fast"):
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `close`)
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
        environment |= {"TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        folder = Path(folder).resolve()
        try:
            # LAVIS finds its tokenizer in the working directory, by name.
            self._process = subprocess.Popen(
                [str(python), str(WORKER)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, cwd=folder, env=environment,
            )  # fmt: skip
        except OSError as error:
            self._log.close()
            raise ValueError(f"BLIP through LAVIS needs the environment of {python}: {error.strerror}; run `make lavis`") from error
        try:
            message, _ = self._ask({"do": "load", "folder": str(folder), "precision": precision})
        except ValueError:
            self.close()
            raise
        self.precision: str = message["precision"]

    def picture_batches(self, pictures: Iterable[Image], count: int, batch: int = 32) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields unit vectors for ITC, float32 (B, D), and hidden states for ITM, float16 (B, P, H), of pictures in their order."""
        waiting: list[Image] = []
        for picture in tqdm(pictures, total=count, desc="pictures through LAVIS", unit="img", leave=False, disable=None):
            waiting.append(picture)
            if len(waiting) == batch:
                yield self._pictures(waiting)
                waiting = []
        if waiting:
            yield self._pictures(waiting)

    def caption_vectors(self, captions: Sequence[str]) -> np.ndarray:
        """Returns unit vectors of captions, float32 (B, D)."""
        return self._ask({"do": "captions", "captions": [prepared(caption) for caption in captions]})[1]["vectors"]

    def use_states(self, states_UPH: np.ndarray) -> None:
        """Takes the hidden states that `match_logits` reads: as a file that both processes map."""
        if not isinstance(states_UPH, np.memmap):
            mapped_UPH = nameless(states_UPH.shape, states_UPH.dtype)
            mapped_UPH[:] = states_UPH
            states_UPH = mapped_UPH
        where = {"path": str(states_UPH.filename), "offset": states_UPH.offset}
        self._ask({"do": "use_states", **where, "dtype": states_UPH.dtype.str, "shape": states_UPH.shape})

    def match_logits(self, caption: str, rows_K: np.ndarray) -> np.ndarray:
        """Returns the logit of "this caption is of this picture" for rows of the states in use, float32 (K,)."""
        return self._ask({"do": "match", "caption": prepared(caption)}, {"rows": rows_K})[1]["logits"]

    def forward(self, pictures: Sequence[Image], captions: Sequence[str], head: str) -> np.ndarray:
        """Returns what LAVIS's `BlipITM.forward` does, of captions as they are: `itm` logits (B, 2) or `itc` similarities (B, B)."""
        return self._ask({"do": "forward", "captions": list(captions), "head": head}, _arrays(pictures))[1]["out"]

    def close(self) -> None:
        """Ends the worker. Called when the object goes, too."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):  # what is still to be written to a dead worker
                stream.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def __del__(self) -> None:
        if hasattr(self, "_process"):
            self.close()

    def _pictures(self, pictures: Sequence[Image]) -> tuple[np.ndarray, np.ndarray]:
        _, arrays = self._ask({"do": "pictures"}, _arrays(pictures))
        return arrays["vectors"], arrays["states"]

    def _ask(self, message: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        if stdin.closed:
            raise ValueError("the LAVIS worker has ended")
        try:
            frames.write(stdin, message, arrays)
            answer = frames.read(stdout)
        except (BrokenPipeError, ValueError):
            answer = None
        if answer is None:
            self._process.kill()  # it may have written nonsense and wait; one that has ended does not feel it
            code, words = self._process.wait(), self._last_words()
            self.close()
            raise ValueError(f"the LAVIS worker ended with code {code} ({words}); run `make lavis` to make its environment anew")
        if "error" in answer[0]:
            raise ValueError(f"the LAVIS worker cannot {message['do']}: {answer[0]['error']}")
        return answer

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def _arrays(pictures: Sequence[Image]) -> dict[str, np.ndarray]:
    return {f"picture{row}": np.asarray(picture.convert("RGB")) for row, picture in enumerate(pictures)}
