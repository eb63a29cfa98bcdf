"""The floor under any decoding: the products of activations and weights that it cannot do without, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from avg.packed import pack
from methods.timing.made_galleries import LENGTH, VOKENS

SOURCE = 20
"""Tokens of a caption."""


def products(
    shape: Mapping[str, int], beams: int, batch: int, device: torch.device, dtype: torch.dtype, packed: bool
) -> Callable[[], None]:
    """Returns the products of activations and weights that encoding and decoding cannot do without, and nothing else.

    What attention multiplies is left out, as are norms, activations and the search: this is the floor.

    Args:
        packed: whether weights are laid out for the processor beforehand, as ours are.
    """
    wide, inner, feed = shape["d_model"], shape["num_heads"] * shape["d_kv"], shape["d_ff"]
    attention, feed_forward = [(wide, inner)] * 3 + [(inner, wide)], [(wide, feed), (feed, wide)]
    source, steps = batch * SOURCE, [batch] + [batch * beams] * (LENGTH - 1)

    def layer(shapes: Sequence[tuple[int, int]]) -> nn.ModuleList:
        return nn.ModuleList(nn.Linear(k, n, bias=False, device=device, dtype=dtype) for k, n in shapes)

    # rows, and the weights that they meet: in every layer encoder, keys and values of the source, and the decoder's steps; then the vokens
    decoder = [*attention, (wide, inner), (inner, wide), *feed_forward]
    every = [([source], attention + feed_forward), ([source], [(wide, inner)] * 2), (steps, decoder)]
    blocks = [(rows, shapes, layer(shapes)) for rows, shapes in every for _ in range(shape["num_layers"])]
    blocks.append((steps, [(wide, VOKENS)], layer([(wide, VOKENS)])))
    if packed:
        pack(nn.ModuleList(linears for *_, linears in blocks))
    inputs = {(rows, k): torch.randn(rows, k, device=device, dtype=dtype) for rows in (source, *steps) for k in (wide, inner, feed)}
    # a step passes all layers before the next begins
    order = [(rows, shapes, linears) for at in range(len(steps)) for many, shapes, linears in blocks for rows in many[at : at + 1]]

    def run() -> None:
        for rows, shapes, linears in order:
            for (k, _), linear in zip(shapes, linears, strict=True):
                linear(inputs[rows, k])

    return run
