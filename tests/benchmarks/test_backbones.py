"""Table 1's generative cells on named models, by the public command line: T5, LLaVA, and LoRA on the stand-in for LLaMA."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from tests.avg.test_image_text import backbone as llava  # noqa: F401  (a fixture)
from tests.command import run
from tests.methods.made_up import t5

TINY = Path("results") / "openmoji-scenes-tiny"


@pytest.mark.slow
def test_named_models_are_trained_and_searched(llava, tmp_path, tiny_features):  # noqa: F811
    shutil.copytree(tiny_features, tmp_path / "store")
    (folder := tmp_path / "t5").mkdir()
    given = ["table1", "--tiny", "--rows", "avg,grace-structured", "--results", "results"]
    done = run(tmp_path, *given, "--set", f"avg.backbone={t5(folder)}", "--set", f"grace-structured.generator.backbone={llava}")
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout
    with (tmp_path / TINY / "table1.csv").open() as file:
        assert len(list(csv.DictReader(file))) >= 2
    done = run(tmp_path, *given, "--set", "avg.language_model=llama", "--set", "avg.lora_rank=2", "--dry-run")
    assert "language-model" in done.stdout
    done = run(tmp_path, *given, "--set", "avg.backbone=nowhere/at-all", "--set", "grace-structured.optimizer=sgd")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
