"""What must hold of any generator: identifiers read as a tree, in any order and together, get the logits of teacher forcing.

Also once its weights are packed for searches.
"""

from __future__ import annotations

from copy import deepcopy

import torch

from avg.decoding import NONE


@torch.inference_mode()
def assert_reads_as_taught(generator, source, tokens: int, atol: float = 2e-3) -> None:
    codes_BML = torch.randint(tokens, (len(source.mask_BT), 3, 4), generator=torch.Generator().manual_seed(3))
    forced_BMLV = generator(source, codes_BML)
    packed = deepcopy(generator)
    packed.pack()
    for each in (generator, packed):
        _assert_reads(each, source, codes_BML, forced_BMLV, atol)


def _assert_reads(generator, source, codes_BML, forced_BMLV, atol: float) -> None:
    batch, beams, length = codes_BML.shape
    start_B11 = torch.full((batch, 1, 1), generator.tokens)
    nothing_BM0 = torch.empty(batch, 1, 0, dtype=torch.long)

    def same(read, expected):
        torch.testing.assert_close(generator.logits(read.hidden_BMnW), expected, rtol=atol, atol=atol)

    # with room for all, and with room for none
    for room in (40, 0):
        reader = generator.reader(source, length + 1, room)
        root = reader(start_B11, nothing_BM0)
        same(root, forced_BMLV[:, :1, :1])
        # beams in another order than those they continue; each query in its own
        order_BM = torch.stack([torch.randperm(beams, generator=torch.Generator().manual_seed(b)) for b in range(batch)])
        shuffled_BML = codes_BML.gather(1, order_BM[..., None].expand(-1, -1, length))
        after_BMLV = forced_BMLV.gather(1, order_BM[..., None, None].expand(-1, -1, *forced_BMLV.shape[2:]))
        past_BM1 = root.places_Mn.expand(batch, beams, 1)
        first = reader(shuffled_BML[..., :1], past_BM1)
        same(first, after_BMLV[:, :, 1:2])
        # two tokens at once, of two of the beams, in reverse
        past_BM2 = torch.cat([past_BM1, first.places_Mn.expand(batch, -1, -1)], 2)
        chosen = [2, 0]
        both = reader(shuffled_BML[:, chosen, 1:3], past_BM2[:, chosen])
        same(both, after_BMLV[:, chosen, 2:4])
        # of three lengths: a first token again, a third one after the two, and a second one
        past_BM3 = torch.full((batch, 3, 3), NONE)
        past_BM3[:, :, 0] = 0
        past_BM3[:, 1, 1:] = torch.stack([first.places_Mn[0], both.places_Mn[1, :1]], 1).squeeze(0)
        past_BM3[:, 2, 1] = first.places_Mn[1]
        tokens_BM1 = torch.stack([shuffled_BML[:, 1, 0], shuffled_BML[:, 0, 2], shuffled_BML[:, 1, 1]], 1)[..., None]
        ragged = reader(tokens_BM1, past_BM3, ragged=True)
        same(ragged, torch.stack([after_BMLV[:, 1, 1], after_BMLV[:, 0, 3], after_BMLV[:, 1, 2]], 1)[:, :, None])
        assert not set(ragged.places_Mn.flatten().tolist()) & set(both.places_Mn.flatten().tolist())
