"""The generative machine: images have identifiers, a generator writes those of a query, a beam over the gallery's prefix index ranks them.

Q queries, N images, X identifiers of the gallery's images (an image may have several), L identifier length, M beams.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from avg.padding import PAD
from avg.settings import Settings
from methods.data import Gallery
from methods.retriever import Ranking, Retriever, SearchKnobs

if TYPE_CHECKING:
    from torch import Tensor

    from avg.captions import CaptionBatch
    from avg.generator import Generator
    from avg.reader import Reader
    from methods.decoding.best_first import Exact


class GenerativeRetriever(Retriever):
    """Ranks by the summed log-probability of identifiers. AVG, GRACE and IRGen differ in codes and training only.

    Images under one code are a tie; so are codes of equal score. The parts `encoder` and `generator` are common to all.
    """

    paradigm = "generative"
    version = 2
    config: Settings

    @abstractmethod
    def identifiers(self, gallery: Gallery) -> tuple[np.ndarray, np.ndarray]:
        """Returns codes (X, L), padded with -1, and the gallery row of the image that each belongs to, (X,)."""

    def _load_parts(self) -> None:
        from avg.precision import search_precision
        from baselines.clip import CLIP

        self.towers, self.generator = CLIP(self.parts["encoder"]), self._plain_generator()
        self.generator.pack()
        self.precision = search_precision()

    def _plain_generator(self) -> Generator:
        """Returns the generator as it was trained, its weights not packed."""
        from avg.generators import load
        from avg.precision import device

        return load(self.parts["generator"]).to(device())

    def build(self, gallery: Gallery) -> None:
        codes_XL, rows_X = self.identifiers(gallery)
        self.use_index({"ids_N": gallery.image_ids_N, "codes_XL": codes_XL, "rows_X": rows_X})

    def index(self) -> dict[str, np.ndarray]:
        return dict(self._arrays)

    def use_index(self, arrays: Mapping[str, np.ndarray]) -> None:
        from avg.precision import device
        from methods.decoding.beam import DeviceTrie
        from methods.decoding.trie import Trie

        self._arrays = dict(arrays)
        trie = Trie.build(arrays["codes_XL"])
        code_X = trie.rows_of(arrays["codes_XL"])
        order_X = np.lexsort((arrays["rows_X"], code_X))
        # the images of code c, in gallery order, are rows_X[start_C1[c] : start_C1[c + 1]]
        self._rows_X = arrays["rows_X"][order_X]
        self._start_C1 = np.r_[0, np.cumsum(np.bincount(code_X, minlength=len(trie.identifiers_NL)))]
        self._trie = DeviceTrie(trie, device())

    def encode(self, queries: Sequence[str]) -> CaptionBatch:
        from avg.captions import CaptionBatch

        return CaptionBatch.of_texts(queries) if self.generator.reads_words else self.towers.text_states(queries)

    def search(self, encoded: CaptionBatch, k: int, knobs: SearchKnobs) -> Ranking:
        if knobs.exact:
            found = self.exact(encoded, k)
            return self.rank_codes(found.rows_Qk.cpu().numpy(), found.scores_Qk.cpu().numpy(), k)
        codes_QM, scores_QM, _ = self.beam(encoded, knobs.beam)
        return self.rank_codes(codes_QM.cpu().numpy(), scores_QM.cpu().numpy(), k)

    def beam(self, encoded: CaptionBatch, beams: int) -> tuple[Tensor, Tensor, int]:
        """Returns the codes that a beam finds, rows of the index (Q, M), their scores, and how many positions were read of each query."""
        from methods.decoding.beam import beam_search

        reader = self._reader(encoded, 1 + beams * (self._trie.length - 1))
        return *beam_search(reader, self._trie, beams), reader.positions

    def beam_in_bfloat16(self, encoded: CaptionBatch, beams: int) -> tuple[Tensor, Tensor, int]:
        """Returns what `beam` does when products are in bfloat16, which autocast makes of plain weights alone."""
        import torch

        searching, self.generator = self.generator, self._plain_generator()
        try:
            with torch.autocast(self.generator.device.type, dtype=torch.bfloat16):
                return self.beam(encoded, beams)
        finally:
            self.generator = searching

    def exact(self, encoded: CaptionBatch, k: int) -> Exact:
        """Returns as many of the best codes as list k groups of images, if there are so many: as a rule k.

        Where images have several codes, those of k groups may be any number: it is doubled until they are among them.
        """
        from methods.decoding.best_first import best_first

        most = int(np.bincount(self._rows_X).max())
        asked = k * most
        while True:
            found = best_first(self._reader(encoded), self._trie, asked)
            if most == 1 or not self._lists_fewer(found, k):
                return found
            asked *= 2

    def _lists_fewer(self, found: Exact, k: int) -> bool:
        """Says whether the codes found for some query list fewer than k groups, and there are more codes."""
        rows_Qk = found.rows_Qk.cpu().numpy()
        groups_Q = self.rank_codes(rows_Qk, found.scores_Qk.cpu().numpy(), k).group_QW.max(1) + 1
        more = rows_Qk.shape[1] < len(self._trie.identifiers_NL)
        return bool(((groups_Q < k) & (rows_Qk[:, -1] != PAD)).any()) and more

    def _reader(self, encoded: CaptionBatch, room: int = 0) -> Reader:
        import torch

        with torch.inference_mode():
            return self.generator.reader(self.generator.text_source(encoded), self._trie.length, room)

    def codes_of(self, image_ids: Sequence[int]) -> list[list[tuple[int, ...]]]:
        ids_N, rows_X, codes_XL = (self._arrays[name] for name in ("ids_N", "rows_X", "codes_XL"))
        owner_X = ids_N[rows_X]
        return [[tuple(code for code in codes_L if code >= 0) for codes_L in codes_XL[owner_X == image].tolist()] for image in image_ids]

    def rank_codes(self, codes_QM: np.ndarray, scores_QM: np.ndarray, k: int) -> Ranking:
        """Returns the images of ranked codes, k groups of them: the best code of an image counts, images of one code or of equal scores
        are tied."""
        ids_N, rows = self._arrays["ids_N"], []
        for codes_M, scores_M in zip(codes_QM, scores_QM, strict=True):
            seen: set[int] = set()
            images: list[int] = []
            scores: list[float] = []
            groups = 0
            for code, score in zip(codes_M.tolist(), scores_M.tolist(), strict=True):
                if code < 0 or (groups >= k and score != scores[-1]):
                    break
                for row in self._rows_X[self._start_C1[code] : self._start_C1[code + 1]].tolist():
                    if row not in seen:
                        groups += not scores or score != scores[-1]
                        seen.add(row)
                        images.append(row)
                        scores.append(score)
            group = np.cumsum(np.r_[False, np.diff(scores) != 0]) if images else np.empty(0)
            order = np.lexsort((np.asarray(images), group))
            rows.append((ids_N[np.asarray(images, np.int64)[order]], np.asarray(scores)[order], group[order]))
        return Ranking.from_rows(rows, k)
