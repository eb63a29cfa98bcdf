"""The small BLIP of this suite, trained on the training split: frozen feature maps, contrastive and matching losses, choice on validation.

N images, Q captions, B batch, C channels and G × G cells of a feature map, P positions and H width of a picture's states.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from avg.precision import autocast, device
from avg.schedule import warm_cosine
from baselines.blip import MAX_TOKENS, pixel_batch, prepared
from baselines.blip_checkpoint import bert_tokenizer, enc_token_id
from baselines.blip_grid import GridBlip, new_model, processor, save_with_processing
from baselines.blip_objective import hard_negatives, itc, itm
from methods.blip_settings import TrainingSettings
from methods.data import Dataset
from methods.fitting.batching import batches
from methods.fitting.epochs import Epochs
from methods.reads import note, selecting
from methods.recall import dense_recall, expected_hits, standing

SPLITS = ("train", "val")  # a gallery to rank is encoded when it is indexed, like any other
PICTURES = 64
MAPS = "{}-pictures.safetensors"


def feature_maps(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Stage: the frozen vision tower's last feature map of every picture that training or its choice sees, float16 (N, C, G, G)."""
    side, data, where = config["image_size"], Dataset(inputs["data"]), device()
    process = processor(side)
    trunk = new_model(1, 0, side, 1).vision_model.embeddings.trunk.to(where).eval()
    report = {}
    for name in SPLITS:
        pictures, found = data.split(name).pictures, []
        for first in tqdm(range(0, len(pictures), PICTURES), desc=f"feature maps of {name}", unit="batch", leave=False):
            pixels_BCHW = pixel_batch(process, list(pictures[first : first + PICTURES]))
            with torch.inference_mode(), autocast(where):
                found.append(trunk.forward_features(pixels_BCHW.to(where)).half().cpu())
        save_file({"maps_NCGG": torch.cat(found)}, out / MAPS.format(name))
        report[name] = {"pictures": len(pictures)}
    return report


@dataclass(frozen=True)
class Pairs:
    """A split's feature maps, its captions' tokens without padding, and the row of the picture of each."""

    maps_NCGG: Tensor
    tokens_Q: list[list[int]]
    rows_Q: np.ndarray

    @classmethod
    def of(cls, split: str, inputs: Mapping[str, Path], tokenizer: Any) -> Pairs:
        found = Dataset(inputs["data"]).split(split)
        note(split, "pictures")
        texts = [prepared(caption) for caption in found.captions]
        tokens = tokenizer(texts, truncation=True, max_length=MAX_TOKENS)["input_ids"]
        return cls(load_file(inputs["maps"] / MAPS.format(split))["maps_NCGG"], tokens, found.caption_rows_Q)

    def tokens(self, captions_B: Tensor, where: torch.device) -> dict[str, Tensor]:
        """Returns ids and mask of some captions, padded to the longest: (B, T) each."""
        rows = [torch.tensor(self.tokens_Q[caption]) for caption in captions_B.tolist()]
        ids_BT = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths_B = torch.tensor([len(row) for row in rows])
        mask_BT = (torch.arange(ids_BT.shape[1]) < lengths_B[:, None]).long()
        return {"input_ids": ids_BT.to(where), "attention_mask": mask_BT.to(where)}

    def turns(self, random: np.random.Generator) -> Callable[[int], Tensor]:
        """Returns a function of the turn: one caption of every picture that has any, and the next turn others, until all were had."""
        order_Q = np.lexsort((random.permutation(len(self.rows_Q)), self.rows_Q))
        _, start_N, count_N = np.unique(self.rows_Q[order_Q], return_index=True, return_counts=True)
        return lambda turn: torch.from_numpy(order_Q[start_N + turn % count_N])


def train(config: Mapping[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Stage: a folder that `baselines.blip.BLIP` loads. First the contrastive loss alone, then both; the epoch is chosen on val."""
    settings, where = TrainingSettings(**config), device()
    torch.manual_seed(settings.seed)
    random = torch.Generator().manual_seed(settings.seed)
    tokenizer = bert_tokenizer()
    model = new_model(settings.layers, settings.vision_layers, settings.image_size, settings.embed_dim)
    trunk, model.vision_model.embeddings.trunk = model.vision_model.embeddings.trunk, nn.Identity()
    model.to(where)  # type: ignore[arg-type]  # transformers wraps it
    enc = enc_token_id(tokenizer, model.config)
    pairs = Pairs.of("train", inputs, tokenizer)
    if len(np.unique(pairs.rows_Q)) < 2:
        raise ValueError("blip trains on pictures that a caption is not of, and the training split has one picture: give it more")
    with selecting():
        val = Pairs.of("val", inputs, tokenizer)
    scale = nn.Parameter(torch.tensor(settings.temperature, device=where).reciprocal().log())
    optimizer = _optimizer(model, scale, settings)
    captions_of = pairs.turns(np.random.default_rng(settings.seed))
    lengths_Q = torch.tensor([len(tokens) for tokens in pairs.tokens_Q])
    epochs = settings.contrastive_epochs + settings.epochs
    schedule = warm_cosine(optimizer, epochs * -(-len(pairs.maps_NCGG) // settings.batch))
    curve: list[dict[str, float]] = []
    best, kept = -1.0, {}
    keeper = Epochs(out, "BLIP", epochs, where)
    parts = {"model": model, "scale": nn.ParameterList([scale]), "optimizer": optimizer, "schedule": schedule, "random": random}
    if stored := keeper.found(**parts):
        curve, best, kept = stored["curve"], stored["best"], stored["kept"]
    for epoch in tqdm(range(len(curve), epochs), desc="BLIP", unit="epoch", leave=False):
        model.train()
        matches, losses = epoch >= settings.contrastive_epochs, []
        captions_N = captions_of(epoch)
        for places_B in batches(lengths_Q[captions_N], lengths_Q[captions_N], settings.batch, random):
            captions_B = captions_N[places_B]
            rows_B = torch.from_numpy(pairs.rows_Q[captions_B.numpy()])
            if len(rows_B) < 2:
                continue  # one caption alone has nothing to be told from
            tokens, images_B = pairs.tokens(captions_B, where), rows_B.to(where)
            with autocast(where):
                states_BPH = _states(model, pairs.maps_NCGG[rows_B].to(where))
                loss, sims_BB = itc(model, states_BPH, tokens, scale.exp(), images_B)
                if matches:
                    wrong = hard_negatives(sims_BB, images_B, settings.negatives, random)
                    loss = loss + itm(model, states_BPH, tokens, *wrong, enc)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        found = {"loss": round(float(np.mean(losses)), 3), **_recall(model, val, enc, settings, matches)}
        curve.append(found)
        if matches and found["R@1"] > best:
            best = found["R@1"]
            kept = {name: value.cpu().clone() for name, value in model.state_dict().items()}
        keeper.done(epoch + 1, curve=curve, best=best, kept=kept)
    model.load_state_dict(kept)
    model.vision_model.embeddings.trunk = trunk
    save_with_processing(model, out)
    what = f"trained here: MiniLM ({settings.layers} layers) over EfficientNet-Lite0's feature map"
    return {"model": what, "val by epoch": curve}


def _states(model: GridBlip, maps_BCGG: Tensor) -> Tensor:
    return model.vision_model(pixel_values=maps_BCGG.float()).last_hidden_state


def _optimizer(model: GridBlip, scale: nn.Parameter, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Adam for what is new and, at a rate of its own, for what is MiniLM's; word and position embeddings stay as they are."""
    model.text_encoder.embeddings.requires_grad_(False)
    old: list[nn.Parameter] = []
    new: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (old if name.startswith("text_encoder.") and "crossattention" not in name else new).append(parameter)
    groups = [{"params": old, "lr": settings.text_rate}, {"params": [*new, scale], "lr": settings.learning_rate}]
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay)


@torch.inference_mode()
def _recall(model: GridBlip, val: Pairs, enc: int, settings: TrainingSettings, matches: bool) -> dict[str, float]:
    """Returns R@1 of vectors alone, and of their shortlist in the order that matching gives, over one caption of each picture."""
    model.eval()
    where = device()
    captions_Q = val.turns(np.random.default_rng(0))(0)
    states, images, texts = [], [], []
    for maps_BCGG in val.maps_NCGG.split(settings.batch):
        states.append(_states(model, maps_BCGG.to(where)))
        images.append(nn.functional.normalize(model.vision_proj(states[-1][:, 0]), dim=-1))
    for captions_B in captions_Q.split(settings.batch):
        hidden_BTH = model.text_encoder(**val.tokens(captions_B, where)).last_hidden_state
        texts.append(nn.functional.normalize(model.text_proj(hidden_BTH[:, 0]), dim=-1))
    states_NPH, texts_QD, images_ND = torch.cat(states), torch.cat(texts), torch.cat(images)
    own_Q = val.rows_Q[captions_Q.numpy()]
    recall = {"R@1 of vectors": round(dense_recall(texts_QD.cpu().numpy(), images_ND.cpu().numpy(), own_Q), 2)}
    if matches:
        sims_QN = texts_QD @ images_ND.T
        sims_QK, rows_QK = sims_QN.topk(min(settings.shortlist, len(states_NPH)))
        for row, caption in enumerate(captions_Q):
            tokens = val.tokens(caption[None], where)
            tokens["input_ids"][:, 0] = enc
            each = {name: value.expand(rows_QK.shape[1], -1) for name, value in tokens.items()}
            hidden_KTH = model.text_encoder(**each, encoder_hidden_states=states_NPH[rows_QK[row]]).last_hidden_state
            sims_QK[row] += model.itm_head(hidden_KTH[:, 0])[:, 1]
        ordered_QN = torch.full_like(sims_QN, -torch.inf).scatter(1, rows_QK, sims_QK)  # below all of the shortlist: what is not on it
        recall["R@1"] = round(100 * float(expected_hits(*standing(ordered_QN.cpu().numpy(), own_Q), 1).mean()), 2)
    return recall
