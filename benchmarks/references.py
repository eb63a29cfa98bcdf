"""Published R@1/5/10, text to image, of models whose weights are public: what a right installation measures.

open_clip's: `docs/openclip_retrieval_results.csv` of mlfoundations/open_clip, whose `openai` weights were run with QuickGELU, as here.
BLIP's: the documentation of LAVIS; fine-tuned on each data set. The same weights move by up to 0.8 points between code bases.
"""

from __future__ import annotations

OPEN_CLIP = {
    # (architecture, tag): {data set: R@1, R@5, R@10}
    ("ViT-B-32-quickgelu", "openai"): {"flickr30k": (58.78, 83.56, 90.02), "mscoco-5k": (30.44, 55.94, 66.87)},
    ("ViT-B-32", "laion2b_s34b_b79k"): {"flickr30k": (66.78, 88.38, 93.10), "mscoco-5k": (39.34, 65.43, 75.61)},
    ("ViT-B-16-quickgelu", "openai"): {"flickr30k": (62.16, 85.72, 91.92), "mscoco-5k": (33.09, 58.42, 68.99)},
    ("ViT-L-14-quickgelu", "openai"): {"flickr30k": (64.96, 87.24, 92.04), "mscoco-5k": (36.51, 61.06, 71.13)},
    ("ViT-L-14-336-quickgelu", "openai"): {"flickr30k": (66.90, 89.00, 93.34), "mscoco-5k": (37.09, 61.62, 71.47)},
    ("ViT-L-14", "laion2b_s32b_b82k"): {"flickr30k": (75.52, 92.86, 95.94), "mscoco-5k": (46.51, 71.08, 79.80)},
    ("ViT-B-16-SigLIP-256", "webli"): {"flickr30k": (75.04, 92.42, 96.26), "mscoco-5k": (48.34, 72.54, 80.99)},
    ("ViT-L-16-SigLIP-384", "webli"): {"flickr30k": (81.42, 95.36, 97.48), "mscoco-5k": (53.91, 76.57, 83.99)},
}
BLIP_BASE = {"flickr30k": (87.5, 97.6, 98.9), "mscoco-5k": (64.5, 86.0, 91.7)}
BLIP_MODELS = {
    # (code, data set): the same weights under the names that each code knows them by
    ("transformers", "flickr30k"): "Salesforce/blip-itm-base-flickr",
    ("transformers", "mscoco-5k"): "Salesforce/blip-itm-base-coco",
    ("lavis", "flickr30k"): "blip_retrieval/flickr",
    ("lavis", "mscoco-5k"): "blip_retrieval/coco",
}
