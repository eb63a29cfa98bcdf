"""Models that a user names: found where their libraries keep them, refused in one line where something does not fit."""

from __future__ import annotations

import json
import shutil

import avg.torchvision_schema  # noqa: F401

import numpy as np
import open_clip
import pytest
import torch
from open_clip import pretrained
from PIL import Image
from safetensors.torch import load_file, save_file

from avg.settings import GeneratorSettings
from baselines.clip import CLIP
from methods.encoder import EncoderSettings, encoder_needs, encoder_stages
from methods.generator import generator_needs
from methods.named_model import named_needs, take
from methods.needs import Missing, Need, identity, missing, require
from methods.stage import Stage
from tests import checkpoints

PICTURES = [Image.fromarray(np.random.default_rng(row).integers(0, 255, (40, 30 + row, 3), dtype=np.uint8)) for row in range(3)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Checkpoint folders of each kind."""
    root = tmp_path_factory.mktemp("made")
    bert, tokenizer = checkpoints.bert_folder(root / "bert"), checkpoints.siglip_tokenizer(root / "tokenizer")
    checkpoints.open_clip_folder(root / "native", checkpoints.NATIVE)
    checkpoints.open_clip_folder(root / "siglip", checkpoints.SIGLIP)  # without its tokenizer: that is another repository's
    text_cfg = {**checkpoints.HUGGING_FACE["text_cfg"], "hf_model_name": str(bert)}
    checkpoints.open_clip_folder(root / "roberta", {**checkpoints.HUGGING_FACE, "text_cfg": text_cfg})
    checkpoints.transformers_clip(root / "transformers")
    return {path.name: path for path in (*root.iterdir(), bert, tokenizer)}


@pytest.fixture
def home(tmp_path, monkeypatch, made):
    """A hub cache that holds three models, a tokenizer and a text tower; and architectures that open_clip knows by name and tag."""
    home = tmp_path / "huggingface"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    names = {"siglip-tokenizer": "tokenizer", "clip-of-transformers": "transformers"}
    for name in ("native", "siglip", "bert", "roberta", *names):
        checkpoints.hub_repository(home, f"tiny/{name}", made[names.get(name, name)])
    plain = {key: value for key, value in checkpoints.NATIVE.items() if key != "quick_gelu"}
    configs = {"Tiny-quickgelu": checkpoints.NATIVE, "Tiny": plain, "Tiny-SigLIP": checkpoints.SIGLIP}
    for name, config in {**configs, "Tiny-roberta": checkpoints.HUGGING_FACE}.items():
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, config)
    openai = pretrained._pcfg(hf_hub="tiny/native/", quick_gelu=True)
    elsewhere = pretrained._pcfg(hf_hub="tiny/absent/", quick_gelu=True)
    for name, tags in {
        "Tiny-quickgelu": {"openai": openai, "laion": pretrained._pcfg(hf_hub="tiny/native/"), "elsewhere": elsewhere},
        "Tiny": {"openai": openai},
        "Tiny-SigLIP": {"webli": pretrained._slpcfg(hf_hub="tiny/siglip/")},
        "Tiny-roberta": {"laion": pretrained._pcfg(hf_hub="tiny/roberta/")},
    }.items():
        monkeypatch.setitem(pretrained._PRETRAINED, name, tags)
    return home


def taken(tmp_path, model, weights=""):
    out = tmp_path / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    take({"model": str(model), "pretrained": str(weights)}, {}, out)
    return CLIP(out)


def says_the_same(one: CLIP, other: CLIP):
    np.testing.assert_array_equal(one.picture_feats(PICTURES, 3), other.picture_feats(PICTURES, 3))
    texts = ["a red dog!", "two cats"]
    np.testing.assert_array_equal(one.text_states(texts).vectors_BD, other.text_states(texts).vectors_BD)


def test_a_tag_is_found_in_the_hubs_cache(home, made, tmp_path):
    named = taken(tmp_path, "Tiny-quickgelu", "openai")
    oracle, preprocess = open_clip.create_model_from_pretrained("Tiny-quickgelu", "openai", cache_dir=str(home / "hub"))
    with torch.inference_mode():
        expected = oracle.eval().encode_image(torch.stack([preprocess(picture) for picture in PICTURES]))
    np.testing.assert_allclose(named.picture_feats(PICTURES, 3), expected, rtol=1e-4, atol=1e-4)
    assert tuple(named.model.visual.preprocess_cfg["mean"]) == open_clip.constants.OPENAI_DATASET_MEAN
    assert encoder_needs(EncoderSettings(model="Tiny-quickgelu", pretrained="openai")) == [Need("open_clip", "Tiny-quickgelu", "openai")]


def test_siglip_and_its_tokenizer_come_from_two_repositories(home, made, tmp_path):
    named = taken(tmp_path, "Tiny-SigLIP", "webli")
    assert tuple(named.model.visual.preprocess_cfg["mean"]) == (0.5, 0.5, 0.5), "SigLIP's own, not OpenAI's"
    assert named.text_states(["The sun!"]).mask_BT.sum() == 3
    shutil.rmtree(home / "hub" / "models--tiny--siglip-tokenizer")
    gone = missing(named_needs("Tiny-SigLIP", "webli"))
    assert [str(need) for need in gone] == ["tokenizer of tiny/siglip-tokenizer"]
    says_the_same(named, CLIP(tmp_path / "out"))  # what was taken needs no cache


def test_a_text_tower_of_hugging_face_takes_its_shape_from_its_repository(home, tmp_path):
    named = taken(tmp_path, "Tiny-roberta", "laion")
    assert named.text_states(["a red dog"]).states_BTH.shape == (1, 5, 32)
    shutil.rmtree(home / "hub" / "models--tiny--bert")
    assert [str(need) for need in missing(named_needs("Tiny-roberta", "laion"))] == ["tokenizer of tiny/bert", "config.json of tiny/bert"]
    says_the_same(named, CLIP(tmp_path / "out"))


@pytest.mark.parametrize("hub", ["native", "transformers"])
def test_a_repository_and_a_folder_are_the_same_model(home, made, tmp_path, hub):
    name = {"native": "tiny/native", "transformers": "tiny/clip-of-transformers"}[hub]
    says_the_same(taken(tmp_path, made[hub]), CLIP(made[hub]))
    says_the_same(taken(tmp_path, name), CLIP(made[hub]))
    assert named_needs(f"{name}@main", "") == [Need("hub", name, "main")]


def test_weights_of_an_architecture_from_a_file_or_a_folder(home, made, tmp_path):
    state = load_file(made["native"] / "open_clip_model.safetensors")
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "epoch_5.pt")
    for source in (tmp_path / "epoch_5.pt", made["native"] / "open_clip_model.safetensors", made["native"]):
        named = taken(tmp_path, "Tiny-quickgelu", source)
        torch.testing.assert_close(named.model.state_dict()["visual.proj"], state["visual.proj"], rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated:DeprecationWarning")  # it is how the oldest checkpoints are stored
def test_openais_own_archive_is_read_and_known_by_its_format(home, made, tmp_path):
    class Archive(torch.nn.Module):
        def __init__(self, state):
            super().__init__()
            for name, value in {**state, "context_length": torch.tensor(77)}.items():
                self.register_buffer(name.replace(".", "/"), value)

        def forward(self):
            return 0

    # a module cannot be scripted with dots in its buffers' names, as OpenAI's submodules have them: one level is enough to tell
    flat = {"logit_scale": torch.tensor(4.0), "text_projection": torch.ones(64, 32)}
    torch.jit.script(Archive(flat)).save(tmp_path / "ViT-tiny.pt")
    from baselines.towers import is_torchscript, read_weights

    assert is_torchscript(tmp_path / "ViT-tiny.pt") and set(read_weights(tmp_path / "ViT-tiny.pt")) == set(flat)
    with pytest.raises(ValueError, match=r"was trained with QuickGELU, Tiny does not compute it: name the model Tiny-quickgelu$"):
        named_needs("Tiny", str(tmp_path / "ViT-tiny.pt"))


def test_a_mismatch_of_quick_gelu_is_refused_with_the_right_name(home, made):
    with pytest.raises(ValueError, match=r"'openai' was trained with QuickGELU, Tiny does not compute it: name the model Tiny-quickgelu$"):
        named_needs("Tiny", "openai")
    with pytest.raises(ValueError, match=r"'laion' was not trained with QuickGELU, Tiny-quickgelu computes it: name the model Tiny$"):
        named_needs("Tiny-quickgelu", "laion")
    with pytest.raises(ValueError, match=r"name the model Tiny-quickgelu$"):
        named_needs("Tiny", str(made["native"]))


@pytest.mark.parametrize(
    ("name", "tag", "right"),
    [("ViT-B-32", "openai", "ViT-B-32-quickgelu"), ("ViT-L-14-336", "openai", "ViT-L-14-336-quickgelu")],
)
def test_open_clips_own_list_is_asked(name, tag, right):
    with pytest.raises(ValueError, match=f"name the model {right}$"):
        named_needs(name, tag)


def test_files_of_architectures_whose_checkpoints_differ_are_refused(home, made, tmp_path):
    """ViT-L-14 was trained on pictures normalised in two ways: a bare file cannot say in which."""
    from methods.named_model import _preprocess

    with pytest.raises(ValueError, match=r"ViT-L-14 prepare pictures in different ways: name a folder with open_clip_config\.json"):
        _preprocess("ViT-L-14", "")
    assert _preprocess("ViT-B-16-SigLIP-256", "")["mean"] == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("model", "weights", "message"),
    [
        ("ViT-B32", "openai", r"neither a folder nor an architecture of open_clip \(did you mean ViT-B-32"),
        ("ViT-B-32", "openaii", r"'openaii' is neither a file nor a checkpoint of ViT-B-32.*did you mean openai\?"),
        ("ViT-B-32", "", r"name its weights with encoder\.pretrained"),
        ("tiny/native", "openai", r"'tiny/native' brings its own weights"),
        ("not a name/", "", r"neither a file or folder nor a model's name"),
        ("EMPTY", "", r"no model's folder: it has neither open_clip_config\.json"),
    ],
)
def test_what_does_not_go_together_is_refused(home, tmp_path, model, weights, message):
    with pytest.raises(ValueError, match=message):
        named_needs(str(tmp_path) if model == "EMPTY" else model, weights)


def test_what_is_not_here_is_told_all_at_once(home):
    needs = [*named_needs("Tiny-quickgelu", "elsewhere"), *named_needs("tiny/nothing", ""), *named_needs("/no/where", "")]
    assert str(Missing(missing(needs))) == (
        "not on this machine: open_clip model Tiny-quickgelu (elsewhere), model tiny/nothing: run `prefetch` with the same table, --rows, "
        "--settings, --set and --protocol where there is a network; not on this machine: file /no/where: name one that exists"
    )


def test_a_model_of_the_same_name_and_other_weights_is_another_model(made, tmp_path):
    shutil.copytree(made["native"], tmp_path / "model")
    before = identity(Need.of_model(str(tmp_path / "model")))
    shutil.copytree(tmp_path / "model", tmp_path / "elsewhere")
    assert identity(Need.of_model(str(tmp_path / "elsewhere"))) == before, "where it lies is no part of it"
    path = tmp_path / "model" / "open_clip_model.safetensors"
    save_file({**load_file(path), "logit_scale": torch.tensor(1.0)}, path)
    assert identity(Need.of_model(str(tmp_path / "model"))) != before


def test_a_checkpoint_of_open_clips_is_the_commit_that_its_repository_is_at(home):
    (need,) = (each for each in named_needs("Tiny-quickgelu", "openai") if each.kind == "open_clip")
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert identity(need) == f"open_clip:Tiny-quickgelu@openai:{commit}"
    repository = home / "hub" / "models--tiny--native"
    (repository / "snapshots" / commit).rename(repository / "snapshots" / commit[::-1])
    (repository / "refs" / "main").write_text(commit[::-1])
    assert identity(need) == f"open_clip:Tiny-quickgelu@openai:{commit[::-1]}", "the same tag, fetched later"


def test_a_damaged_index_of_shards_is_named(home):
    (snapshot,) = (home / "hub" / "models--tiny--native" / "snapshots").iterdir()
    index = snapshot / "model.safetensors.index.json"
    for text in ("{", "[]", '{"weight_map": null}', "{}"):
        index.write_text(text)
        with pytest.raises(ValueError, match=r"model\.safetensors\.index\.json is damaged \(it is no index of shards\): fetch it again"):
            require([Need("hub", "tiny/native")])
    index.write_text('{"weight_map": {"a": "open_clip_model.safetensors"}}')
    require([Need("hub", "tiny/native")])


def test_a_repository_that_was_fetched_in_part_is_missing(home, made):
    snapshot = home / "hub" / "models--tiny--native" / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    need = Need("hub", "tiny/native")
    assert missing([need, Need("hub", "tiny/native", "0123456789abcdef0123456789abcdef01234567")]) == []
    (snapshot / "open_clip_model.safetensors").unlink()
    assert missing([need]) == [need]
    (snapshot / "model-1.safetensors").write_bytes(b"")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
    assert missing([need]) == [need], "one shard of two"
    (snapshot / "model-2.safetensors").write_bytes(b"")
    assert missing([need]) == []


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("tokenizer*", r"holds no tokenizer \(none of tokenizer\.json.*: save it there with save_pretrained"),
        ("p*processor_config.json", r"holds no image processor \(preprocessor_config\.json\): save it there"),
        ("towers", r"is of type 't5', which has no two towers: give a CLIP"),
        ("config", r"config\.json cannot be read \(.*\): save the model there again"),
    ],
)
def test_a_folder_that_lacks_a_part_is_refused_before_any_stage(made, tmp_path, gone, message):
    """Without a tokenizer transformers makes up one of two words, and every caption has one vector."""
    folder = tmp_path / "model"
    shutil.copytree(made["transformers"], folder)
    assert named_needs(str(folder), "")
    if gone == "towers":
        (folder / "config.json").write_text('{"model_type": "t5"}')
    if gone == "config":
        (folder / "config.json").write_text("{")
    for name in (gone, "vocab.json", "merges.txt") if gone == "tokenizer*" else (gone,):
        for path in folder.glob(name):
            path.unlink()
    with pytest.raises(ValueError, match=message):
        named_needs(str(folder), "")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "MODEL", "epochs": 99}, r"encoder\.epochs=99 has no effect: a named model is trained where encoder\.train says so"),
        ({"model": "MODEL", "image_size": 224}, r"encoder\.image_size=224 has no effect"),
        ({"model": "MODEL", "tuning_rate": 1e-3}, r"encoder\.tuning_rate=0\.001 has no effect"),
        ({"tuning_epochs": 2}, r"encoder\.tuning_epochs=2 has no effect: it counts where encoder\.train=full"),
        ({"tuning_epochs": 2, "train": "full"}, ""),
        ({"model": "MODEL", "tuning_epochs": 2, "seed": 1, "train": "projections"}, ""),
        ({"model": "MODEL", "epochs": 3, "batch": 64}, ""),  # tiny settings
    ],
)
def test_settings_that_nothing_reads_are_refused(made, settings, message):
    if "model" in settings:
        settings = {**settings, "model": str(made["transformers"])}
    if not message:
        encoder_stages(EncoderSettings(**settings), Stage("data", "m:f", {}))
        return
    with pytest.raises(ValueError, match=message):
        encoder_stages(EncoderSettings(**settings), Stage("data", "m:f", {}))


def test_a_backbone_that_cannot_write_or_read_is_refused_before_any_stage(made, tmp_path):
    with pytest.raises(ValueError, match="writes nothing: clip is neither an encoder-decoder nor a causal language model"):
        generator_needs(GeneratorSettings(backbone=str(made["transformers"])))
    (tmp_path / "config.json").write_text('{"model_type": "t5", "is_encoder_decoder": true}')
    with pytest.raises(ValueError, match="holds no tokenizer"):
        generator_needs(GeneratorSettings(backbone=str(tmp_path)))
