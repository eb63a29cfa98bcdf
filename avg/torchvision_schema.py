"""Makes `import torchvision` safe beside a CPU build of torch; import this before torchvision, open_clip, timm or transformers.

PyPI's torchvision is compiled against CUDA torch. Beside CPU torch its library cannot be loaded, so its operators are never declared, and
`import torchvision` dies with `operator torchvision::nms does not exist` — and with it open_clip, timm and much of transformers.
Declaring the schemas is enough to import; calling the operators still fails, and nothing here calls them.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def declare_missing() -> list[str]:
    """Returns the names of the torchvision operators that had to be declared: none where torchvision's own library loads."""
    _load_library()
    missing = [name for name in SCHEMAS if not hasattr(torch.ops.torchvision, name)]
    for name in missing:
        torch.library.define(f"torchvision::{name}", SCHEMAS[name])
    return missing


def _load_library() -> None:
    # Where the builds match, torchvision declares these schemas itself when it is imported, and a second declaration raises: so its library
    # goes first, and only what it leaves out is declared here. Loading it again later does nothing.
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        return
    for library in sorted(Path(found.origin).parent.glob("_C.*")):
        try:
            torch.ops.load_library(library)
        except OSError:
            continue


DECLARED = declare_missing()
