"""BLIP's two objectives on a batch of pairs: vectors that compare (ITC), and a cross-encoder that tells hard negatives apart (ITM).

B pairs, T token positions, P positions and H width of a picture's states, D width of the shared space, N negatives.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from baselines.clip import contrastive_loss


def itc(model: Any, states_BPH: Tensor, tokens: dict[str, Tensor], scale: Tensor, images_B: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the contrastive loss, and the similarities of captions (rows) and pictures (columns) times the scale, (B, B)."""
    images_BD = nn.functional.normalize(model.vision_proj(states_BPH[:, 0]), dim=-1)
    hidden_BTH = model.text_encoder(**tokens).last_hidden_state
    texts_BD = nn.functional.normalize(model.text_proj(hidden_BTH[:, 0]), dim=-1)
    return contrastive_loss(images_BD, texts_BD, scale, images_B), scale * texts_BD @ images_BD.T


def hard_negatives(sims_BB: Tensor, images_B: Tensor, count: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Returns N pictures that each caption is not of, and N captions that are of another picture than each: rows of the batch, (B, N) each.

    Drawn with the probability that the similarity gives (Li et al. 2022, section 3.2, after Li et al. 2021), all at once and with
    replacement. A batch of one picture alone has no negatives, which is the caller's to see to.
    """
    same_BB = images_B[:, None] == images_B[None, :]
    found = []
    for each_BB in (sims_BB, sims_BB.T):
        weights_BB = each_BB.detach().float().masked_fill(same_BB, float("-inf")).softmax(1).cpu()
        found.append(torch.multinomial(weights_BB, count, replacement=True, generator=random).to(sims_BB.device))
    return found[0], found[1]


def itm(model: Any, states_BPH: Tensor, tokens: dict[str, Tensor], pictures_BN: Tensor, captions_BN: Tensor, enc: int) -> Tensor:
    """Returns the cross-entropy of matching over B pairs, each caption with N wrong pictures, and each picture with N wrong captions.

    Args:
        enc: the token that captions begin with where they are matched.
    """
    rows_B, count = torch.arange(len(states_BPH), device=states_BPH.device), pictures_BN.shape[1]
    each = rows_B.repeat_interleave(count)
    pictures, captions = torch.cat([rows_B, pictures_BN.flatten(), each]), torch.cat([rows_B, each, captions_BN.flatten()])
    ids_BT = tokens["input_ids"].clone()
    ids_BT[:, 0] = enc
    hidden = model.text_encoder(
        input_ids=ids_BT[captions], attention_mask=tokens["attention_mask"][captions], encoder_hidden_states=states_BPH[pictures]
    ).last_hidden_state
    is_pair = (torch.arange(len(pictures), device=hidden.device) < len(rows_B)).long()
    return nn.functional.cross_entropy(model.itm_head(hidden[:, 0]), is_pair)
