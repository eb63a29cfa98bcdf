"""What the discriminative loss compares: what a model's own beam finds among the training images' identifiers (Eq. 8), and the true one.

B batch, L length of the longest identifier, M candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from avg.generator import Generator
from avg.losses import with_positive
from avg.padding import PAD
from methods.decoding.beam import DeviceTrie, beam_search
from methods.decoding.trie import Trie
from methods.fitting.identified import Identified
from methods.fitting.objective import Batch, some


class Candidates:
    """The prefix index of the training images' identifiers, searched with a model that is being trained.

    Args:
        beams: M.
        alike: whether all identifiers must be equally long, since processes search together.

    Raises:
        ValueError: if they must and are not.
    """

    def __init__(self, split: Identified, beams: int, device: torch.device, alike: bool):
        trie = Trie.build(split.codes_XL.numpy())
        if alike and (trie.identifiers_NL == PAD).any():
            raise ValueError("sharding = fsdp: no discriminative training over identifiers of several lengths, processes would wait")
        self.split, self.beams, self.trie = split, beams, DeviceTrie(trie, device)
        self.identifiers_NL = torch.from_numpy(trie.identifiers_NL).long()

    def beside(self, batch: Batch, whole: nn.Module, pieces: Sequence[Tensor], random: torch.Generator) -> Batch:
        """Returns the batch with candidates, the positive among them.

        Args:
            whole: the module that runs a function on the model, as `Whole` does.
            pieces: places of the captions that this process searches for, piece by piece; what stands at the others' is not used.
        """
        whole.eval()
        parts = []
        with torch.inference_mode():
            for places_b in map(some, pieces):
                parts.append((places_b, whole(partial(self._search, batch.rows_B[places_b])).cpu()))
        # a piece that reached narrow places of the index only has fewer beams
        found_BM = torch.full((len(batch.rows_B), max(part_bm.shape[1] for _, part_bm in parts)), PAD)
        for places_b, part_bm in parts:
            found_BM[places_b, : part_bm.shape[1]] = part_bm
        candidates_BML = self.identifiers_NL[found_BM.clamp(min=0)].masked_fill((found_BM == PAD)[..., None], PAD)
        padding = self.identifiers_NL.shape[1] - batch.codes_BL.shape[1]
        codes_BL = nn.functional.pad(batch.codes_BL, (0, padding), value=PAD)
        candidates_BML, place_B = with_positive(candidates_BML, codes_BL, random)
        return replace(batch, candidates_BML=candidates_BML, place_B=place_B)

    def _search(self, rows_b: Tensor, model: Generator) -> Tensor:
        return beam_search(model.reader(self.split.text_source(model, rows_b), self.trie.length), self.trie, self.beams)[0]
