"""The torchvision trap, in processes of their own: what a process has imported already would hide it."""

from __future__ import annotations

import subprocess
import sys


def run(source: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error::RuntimeWarning", "-c", source], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_everything_that_needs_torchvision_imports():
    out = run(
        "import avg.torchvision_schema\n"
        "import torchvision, timm, open_clip\n"
        "from transformers import T5ForConditionalGeneration, AutoModel\n"
        "print(torchvision.transforms.Resize(8).size, open_clip.create_model.__name__, T5ForConditionalGeneration.__name__)\n"
    )
    assert out.split() == ["8", "create_model", "T5ForConditionalGeneration"]


def test_a_loaded_library_is_left_alone():
    """Declaring an operator twice raises; where torchvision's own library loads, it has declared them."""
    out = run(
        "import torch\n"
        "for name in ('nms', 'qnms'):\n"
        "    if not hasattr(torch.ops.torchvision, name):\n"
        "        torch.library.define(f'torchvision::{name}', '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')\n"
        "from avg.torchvision_schema import DECLARED\n"
        "print(DECLARED)\n"
    )
    assert out.strip() == "[]"


def test_the_operators_work_exactly_where_the_library_loads():
    """What is declared here has no kernel; what torchvision brought has one and keeps it."""
    out = run(
        "from avg.torchvision_schema import DECLARED\n"
        "import torch, torchvision\n"
        "boxes, scores = torch.tensor([[0., 0., 1., 1.], [0., 0., 1., 1.]]), torch.tensor([0.9, 0.8])\n"
        "try:\n"
        "    kept = torch.ops.torchvision.nms(boxes, scores, 0.5).tolist()\n"
        "except NotImplementedError:\n"
        "    kept = None\n"
        "print(kept == (None if 'nms' in DECLARED else [0]))\n"
    )
    assert out.strip() == "True"
