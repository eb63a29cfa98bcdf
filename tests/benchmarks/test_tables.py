from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from benchmarks.cells import cell_stages
from benchmarks.grid import build_grid
from benchmarks.overrides import resolved
from benchmarks.paired import compare, printed_p
from benchmarks.protocol import PROTOCOLS, exposure_for, protocol
from benchmarks.report.answers import labels
from benchmarks.spec import Claim
from benchmarks.tables import TABLES, table
from benchmarks.verdicts import verdict
from tests.benchmarks.made_evidence import summary


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_whole(name):
    this = table(name)
    rows = [row.key for row in this.rows]
    columns = [column.key for column in this.columns]
    assert this.name == name
    assert len(set(rows)) == len(rows) and len(set(columns)) == len(columns)
    assert this.reported
    for dataset, reported in this.reported.items():
        assert list(reported) == [key for key in rows if key in reported], "in the order printed"
        assert {row.key for row in this.rows if row.applies_to(dataset)} <= set(reported) <= set(rows), "every row is there"
        assert all(len(values) == len(columns) for values in reported.values())
    for claim in this.claims:
        assert {claim.better, *claim.worse} <= {row.key for row in this.rows if row.kind == "compared"}
        assert claim.column in columns
    assert len({claim.key for claim in this.claims}) == len(this.claims)


def test_what_a_row_is_called_stands_on_its_own():
    """Where rows of several tables meet, as in the report's list of methods."""
    known = labels()
    assert [known[key] for key in ("avg-beam30", "avg-codebook256", "avg-length6", "avg-exact", "blip", "irgen")] == [
        "Table 7: beam size 30", "Table 4: codebook size 256", "Table 5: voken length 6", "Table 7: Exact search", "Table 2: BLIP", "IRGen",
    ]  # fmt: skip
    assert not [name for name in known.values() if name.rpartition(": ")[2].replace(",", "").isdigit()]


def test_table1_reports_what_the_paper_prints():
    # Sums of the columns as printed: an oracle that a mistyped digit does not pass.
    expected = {"flickr30k": (225.1, 316.6, 337.1), "mscoco-5k": (91.05, 178.81, 210.16)}
    for dataset, sums in expected.items():
        numbers = [values for values in table("table1").reported[dataset].values() if values[0] is not None]
        assert len(numbers) == 6
        assert np.sum(np.array(numbers, dtype=np.float64), axis=0) == pytest.approx(sums)


@pytest.mark.parametrize(
    ("name", "sums"),
    [
        ("table3", (241.6, 324.6, 336.6)),
        ("table4", (245.4, 331.3, 343.5)),
        ("table5", (297.4, 407.4, 426.2)),
        ("table6", (245.7, 333.7, 348.1)),
        ("table7", (418.1, 503.0, 450.2)),
    ],
)
def test_the_tables_about_avg_report_what_the_paper_prints(name, sums):
    this = table(name)
    columns = zip(*(values for key, values in this.reported["flickr30k"].items() if this.row(key).applies_to("flickr30k")), strict=True)
    assert [sum(value for value in column if value is not None) for column in columns] == pytest.approx(sums)


def test_table6_has_the_papers_models_on_photos_and_stand_ins_on_made_data():
    of = {dataset: [row.key for row in table("table6").rows if row.applies_to(dataset)] for dataset in ("mscoco-5k", "openmoji-scenes-30k")}
    assert of["mscoco-5k"] == ["avg-t5-base", "avg-t5-large", "avg-t5-xl", "avg-llama-7b", "avg-llama-7b-uncopied"]
    assert len(of["openmoji-scenes-30k"]) == 5 and "avg-beam10" in of["openmoji-scenes-30k"]
    assert not set(of["mscoco-5k"]) & set(of["openmoji-scenes-30k"])


def test_a_row_of_several_tables_is_one_cell():
    cells: dict[str, set[str]] = {}
    for name in TABLES:
        for row in table(name).rows:
            if row.applies_to("openmoji-scenes"):
                plan = cell_stages(resolved(row, False, {}), "openmoji-scenes", "clean", 0)
                cells.setdefault(row.key, set()).add(plan.ranking.key)
    assert {key: len(keys) for key, keys in cells.items() if len(keys) > 1} == {}
    different = [keys for key, keys in cells.items() if key.startswith("avg")]
    assert len(set.union(*different)) == len(different), "and rows of different keys are different cells"


def test_references_report_what_open_clip_measured():
    clip = [row.key for row in table("references").rows if row.method == "clip"]
    expected = {"flickr30k": (551.56, 714.54, 750.10), "mscoco-5k": (325.23, 522.66, 598.85)}
    for dataset, sums in expected.items():
        assert np.sum([table("references").reported[dataset][key] for key in clip], axis=0) == pytest.approx(sums)


def test_references_name_checkpoints_that_open_clip_knows():
    from methods.named_model import named_needs

    for row in table("references").rows:
        if row.method == "clip":
            (need,) = named_needs(**row.settings["encoder"])
            assert need.kind == "open_clip"


def test_the_ideal_matcher_is_a_row_of_the_scenes_only():
    row = table("table1").row("scene-facts")
    assert row.applies_to("openmoji-scenes-30k") and not row.applies_to("flickr30k")


@pytest.mark.parametrize(
    ("dataset", "tuned_on"),
    [
        ("flickr30k", "flickr30k"),
        ("flickr30k-five-captions", "flickr30k"),
        ("mscoco-5k-five-captions", "mscoco-5k"),
        ("flickr30k-entities", None),
        ("flickr30k-entities-five-captions", None),
        ("openmoji-scenes", None),
    ],
)
def test_a_model_tuned_on_a_split_is_scored_on_no_other(dataset, tuned_on):
    """903 of the test pictures of flickr30k-entities are in the training split of flickr30k."""
    blip = [row.key for row in table("references").rows if row.method == "blip" and row.applies_to(dataset)]
    assert blip == [f"blip-base-{backend}-{tuned_on}" for backend in ("transformers", "lavis") if tuned_on]


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown table 'tabel1'.*did you mean table1\?"):
        table("tabel1")
    with pytest.raises(ValueError, match=r"unknown protocol 'cleen'.*clean"):
        protocol("cleen")
    assert protocol("clean") is PROTOCOLS["clean"]


def test_listing_tables_is_light():
    code = "import sys, benchmarks.tables; sys.exit(any(name in sys.modules for name in ('numpy', 'torch', 'pydantic', 'scipy')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def hits(share: float, images: int = 100) -> np.ndarray:
    """Hits of two captions for each image; the first images are found."""
    return np.repeat(np.arange(images) < share * images, 2).astype(np.float64)


IMAGES = np.repeat(np.arange(100), 2)
CLAIM = Claim(key="c", text="a beats b and c", source="§1", better="a", worse=("b", "c"))


def test_a_claim_is_judged_by_its_weakest_comparison():
    pairs = [("a", "b"), ("a", "c"), ("b", "a")]

    def judge(a: float, b: float, c: float):
        return verdict(CLAIM, compare(pairs, {"a": {0: hits(a)}, "b": {0: hits(b)}, "c": {0: hits(c)}}, IMAGES))

    assert judge(0.9, 0.5, 0.6).word == "supported"
    assert judge(0.9, 0.5, 0.6).weakest.worse == "c"
    assert judge(0.9, 0.5, 0.9).word == "inconclusive"
    assert judge(0.6, 0.5, 0.9).word == "not supported"
    assert judge(0.6, 0.5, 0.9).weakest.difference == pytest.approx(-30)


def test_a_claim_about_a_row_without_measurement_is_missing():
    comparisons = compare([("a", "b"), ("a", "c")], {"a": {0: hits(0.9)}, "b": {0: hits(0.5)}}, IMAGES)
    assert verdict(CLAIM, comparisons).word == "missing"
    assert verdict(CLAIM, {}).word == "missing"
    refuted = compare([("a", "b"), ("a", "c")], {"a": {0: hits(0.5)}, "b": {0: hits(0.9)}}, IMAGES)
    assert (found := verdict(CLAIM, refuted)).word == "not supported" and found.weakest.worse == "b", "c could not mend it"


def test_a_pair_counts_once_and_reads_both_ways():
    comparisons = compare([("a", "b"), ("b", "a")], {"a": {0: hits(0.9)}, "b": {0: hits(0.5)}}, IMAGES)
    there, back = comparisons["a", "b"], comparisons["b", "a"]
    assert (there.difference, there.low, there.high) == (-back.difference, -back.high, -back.low)
    assert there.p == back.p < 0.001, "Holm over one comparison changes nothing"
    assert (there.direction, back.direction) == (1, -1)


@pytest.mark.parametrize(
    ("exposed", "identifier", "label"),
    [(False, "semantic", "none"), (True, "numeric", "image-to-id"), (True, "semantic", "image-to-id + pseudo-queries")],
)
def test_only_methods_that_index_by_fitting_see_the_gallery(monkeypatch, exposed, identifier, label):
    cls = type("Stub", (), {"exposed_to_gallery": exposed})
    monkeypatch.setattr("methods.registry.method_class", lambda name: (cls, {"identifier": identifier}))
    exposure = exposure_for(table("table1").row("grace-numeric"))
    assert exposure.label == label
    assert set(exposure.images + exposure.pseudo_queries) <= {"val", "test"}


def test_the_ideal_matcher_is_fitted_to_nothing():
    assert exposure_for(table("table1").row("scene-facts")).label == "none"


def test_no_difference_has_no_sign():
    comparisons = compare([("a", "b")], {"a": {0: hits(0.5)}, "b": {0: hits(0.5)}}, IMAGES)
    assert f"{comparisons['a', 'b'].difference:+.1f}" == f"{comparisons['b', 'a'].difference:+.1f}" == "+0.0"


def test_p_is_printed_so_that_its_side_of_the_level_shows():
    assert [printed_p(p) for p in (0.0004, 0.0097, 0.0104, 0.05, 1.0)] == ["< 0.001", "0.0097", "0.0104", "0.050", "1.000"]


def test_a_table_says_how_much_of_what_was_shown_is_memorised():
    written = {"fitted": {"generator": {"pictures written": {"train": 90.0, "test": 12.5}}}, "stages": {"generator": "k"}}
    found = build_grid(table("table1"), ["openmoji-scenes"], [{**summary("grace-string", 0.5), **written}, summary("avg", 0.6)])
    notes = [note for note in found.groups[0].notes if "whole identifier is written from the picture" in note]
    assert len(notes) == 1 and notes[0].endswith(": GRACE (String Id): 12.5 %.")
