"""Residual quantisation of vectors into short codes (Eq. 2; Juang & Gray 1982, Lee et al. 2022).

N vectors, D width, L code length (the paper's M), K codebook rows (the paper's N).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Quantized:
    """Codes of N vectors and what they stand for.

    Args:
        codes_NL: int64 codebook row chosen at each level.
        rows_NLD: the chosen rows.
        sums_NLD: partial sums of the chosen rows, the paper's z-hat^(d): `sums_NLD[:, d]` uses the first d + 1 of them. Gradients reach
            the codebook through them.
    """

    codes_NL: Tensor
    rows_NLD: Tensor
    sums_NLD: Tensor


class ResidualQuantizer(nn.Module):
    """Quantises vectors level by level: the row nearest to what the earlier rows left over.

    Args:
        width: D.
        levels: L.
        rows: K, rows of a codebook.
        shared: one codebook for all levels, as in the paper, or one for each, as in IRGen.

    Example: rows (0, 4) and (1, 0), shared, two levels; the vector (1, 4) has code (0, 1) and partial sums (0, 4), (1, 4).
    """

    def __init__(self, *, width: int, levels: int, rows: int, shared: bool):
        super().__init__()
        self.levels, self.shared = levels, shared
        self.codebooks_CKD = nn.Parameter(torch.randn(1 if shared else levels, rows, width) * width**-0.5)

    def codebook(self, level: int) -> Tensor:
        """Returns the (K, D) codebook of a level."""
        return self.codebooks_CKD[0 if self.shared else level]

    def forward(self, vectors_ND: Tensor) -> Quantized:
        codes, rows, sums = [], [], []
        sum_ND = torch.zeros_like(vectors_ND)
        for level in range(self.levels):
            codes_N = nearest(vectors_ND.detach() - sum_ND.detach(), self.codebook(level).detach())
            rows.append(self.codebook(level)[codes_N])
            sum_ND = sum_ND + rows[-1]
            codes.append(codes_N)
            sums.append(sum_ND)
        return Quantized(torch.stack(codes, 1), torch.stack(rows, 1), torch.stack(sums, 1))

    @torch.no_grad()
    def start_from(self, vectors_ND: Tensor, seed: int, *, divided: bool = True, iterations: int = 25) -> None:
        """Sets the codebooks by k-means on the residuals that each level meets.

        Args:
            divided: a shared codebook gives each level an equal part of its rows at the start; from then on every level may use every
                row. K-means on the vectors alone (not divided) leaves no row of the small norms that later levels need.
        """
        from sklearn.cluster import KMeans

        residuals_ND = vectors_ND.detach().cpu().clone()
        rows = self.codebooks_CKD.shape[1]
        bounds = np.linspace(0, rows, self.levels + 1).astype(int) if self.shared and divided else None
        for level in range(self.levels if divided or not self.shared else 1):
            part = slice(bounds[level], bounds[level + 1]) if bounds is not None else slice(0, rows)
            # few vectors may leave fewer distinct residuals than there are rows
            want = min(part.stop - part.start, len(np.unique(residuals_ND.numpy().round(5), axis=0)))
            found = KMeans(want, n_init=1, max_iter=iterations, random_state=seed + level).fit(residuals_ND.numpy())
            centres_KD = torch.from_numpy(found.cluster_centers_).to(residuals_ND)
            self.codebook(level)[part.start : part.start + want] = centres_KD
            residuals_ND -= centres_KD[nearest(residuals_ND, centres_KD)]

    @torch.no_grad()
    def revive(self, vectors_ND: Tensor, dead_CK: Tensor, generator: torch.Generator) -> int:
        """Puts dead rows where random residuals lie, and returns how many. A row of a shared codebook may revive at any level."""
        quantized = self(vectors_ND)
        before_NLD = torch.cat([torch.zeros_like(quantized.sums_NLD[:, :1]), quantized.sums_NLD[:, :-1]], 1)
        residuals_NLD = vectors_ND[:, None] - before_NLD
        for book, dead_K in enumerate(dead_CK):
            choices_ND = residuals_NLD.flatten(0, 1) if self.shared else residuals_NLD[:, book]
            picked = torch.randint(len(choices_ND), (int(dead_K.sum()),), generator=generator)
            self.codebooks_CKD[book, dead_K.to(choices_ND.device)] = choices_ND[picked.to(choices_ND.device)]
        return int(dead_CK.sum())


def nearest(vectors_ND: Tensor, rows_KD: Tensor) -> Tensor:
    """Returns the index of the row nearest to each vector by Euclidean distance, the first of equals, (N,)."""
    half_norm_K = rows_KD.square().sum(1) / 2
    return torch.cat([(half_norm_K - part @ rows_KD.T).argmin(1) for part in vectors_ND.split(8192)])


def usage(codes_NL: np.ndarray, rows: int) -> list[dict[str, float]]:
    """Returns for each level how its codebook is used: coverage (share of rows used), perplexity, dead rows."""
    report = []
    for codes_N in codes_NL.T:
        share_K = np.bincount(codes_N, minlength=rows) / len(codes_N)
        used_K = share_K[share_K > 0]
        perplexity = float(np.exp(-(used_K * np.log(used_K)).sum()))
        report.append({"coverage": len(used_K) / rows, "perplexity": round(perplexity, 2), "dead": int(rows - len(used_K))})
    return report
