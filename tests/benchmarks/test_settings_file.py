"""Settings files: the paper's size by name, one's own, and what mistakes in one get."""

from __future__ import annotations

import json

import pytest

from benchmarks import settings_file
from benchmarks.overrides import resolved
from benchmarks.run import main
from benchmarks.spec import Row
from benchmarks.tables import TABLES, table
from methods.registry import METHODS, create

GENERATIVE = ("avg", "irgen", "grace-numeric", "grace-string", "grace-semantic", "grace-structured", "avg-clip")


def config_of(method: str, **changes):
    row = Row(key=method, label=method, method=method, settings=changes)
    return create(method, resolved(row, False, {}, base=settings_file.read("paper-size")).settings).config


def test_the_papers_size_has_one_encoder_and_one_generator_for_all():
    encoders = {config_of(method).encoder for method in METHODS if hasattr(create(method).config, "encoder")}
    (encoder,) = encoders
    assert (encoder.model, encoder.pretrained) == ("ViT-L-14-336-quickgelu", "openai")
    shared = ("backbone", "dropout", "epochs", "batch", "learning_rate")
    (generator,) = {tuple(getattr(config_of(method).generator, name) for name in shared) for method in GENERATIVE}
    assert generator == ("google-t5/t5-base", 0.2, 100, 128, 1e-3)
    for method in GENERATIVE:
        assert config_of(method).generator.patience >= 100, "no training ends while its rate is high"


def test_a_tables_rows_keep_what_they_vary():
    base = settings_file.read("paper-size")
    rows = {row.key: resolved(row, False, {}, base=base).settings for row in table("table6").rows if not row.applies_to("openmoji-scenes")}
    assert rows["avg-t5-large"]["generator"]["backbone"] == "google-t5/t5-large"
    assert {settings["encoder"]["model"] for settings in rows.values()} == {"ViT-L-14-336-quickgelu"}
    sizes = {resolved(row, False, {}, base=base).settings["tokenizer"]["codebook_size"] for row in table("table4").rows}
    assert len(sizes) > 2


@pytest.mark.parametrize("name", TABLES)
def test_every_row_can_have_the_papers_size(name):
    """On whichever data set: `prefetch` asks all rows what they need."""
    base = settings_file.read("paper-size")
    for row in table(name).rows:
        if row.method in METHODS:
            create(row.method, resolved(row, False, {}, base=base).settings)


def test_a_row_that_names_its_encoder_takes_nothing_of_another(tmp_path):
    (tmp_path / "mine.toml").write_text("[clip.encoder]\nlearning_rate = 2e-3\n")
    base = settings_file.read(str(tmp_path / "mine.toml"))
    for row in table("references").rows:
        settings = resolved(row, False, {}, base=base).settings
        assert settings.get("encoder", {}).get("learning_rate") in (None, 1e-3)


def test_no_file_gives_nothing():
    assert settings_file.read(None) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[avg.encodr]\nmodel = 'x'", r"avg has no setting 'encodr\.model': did you mean encoder\.model"),
        ("[agv]\nbackbone = 'x'", "there is no method 'agv': did you mean avg"),
        ("beam = 3", r"beam is of no method: write it under one, e\.g\. \[avg\]"),
        ("[avg.generator]\nseed = 3", r"avg\.generator\.seed: seeds are set for all rows together"),
        ("[avg.generator]\nepochs = -1", "epochs"),
        ("[avg.generator]\nepochs =", "Invalid value"),
    ],
)
def test_a_mistake_is_named_with_its_file(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"settings .*mine\.toml.*{message}"):
        settings_file.read(str(path))


def test_an_unknown_name_lists_those_there_are(capsys):
    assert main(["table1", "--settings", "paper-sise", "--dry-run"]) == 2
    assert "--settings paper-sise: there is no such file, and none of that name: did you mean paper-size" in capsys.readouterr().err


@pytest.mark.slow
def test_rows_of_one_settings_file_stand_together_and_apart_from_others(tmp_path, capsys):
    (tmp_path / "mine.toml").write_text("[clip.encoder]\nlearning_rate = 2e-3\n")
    where = ["--tiny", "--store", str(tmp_path / "store"), "--results", str(tmp_path / "results")]
    mine = ["--settings", str(tmp_path / "mine.toml")]
    for rows in ("clip", "random"):
        assert main(["table1", "--rows", rows, *mine, *where]) == 0
    runs = tmp_path / "results" / "openmoji-scenes-tiny" / "runs"
    assert json.loads((runs / "clip-seed0.json").read_text())["variant"] == {"encoder.learning_rate": 2e-3}
    capsys.readouterr()
    assert main(["table1", "--rows", "clip", *where]) == 2
    assert "holds table1 with other settings than these (clip-seed0.json)" in capsys.readouterr().err
    assert main(["report", *mine, *where, "--to", str(tmp_path / "report")]) == 0
    assert "2 methods" in capsys.readouterr().out
    assert main(["search", "a cat", "--method", "clip", *mine, *where[:3], "--to", str(tmp_path / "search.html")]) == 0
