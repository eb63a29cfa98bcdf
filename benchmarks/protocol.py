"""The rules of a comparison: each is one value here, and nowhere else. What they do to a table is said under it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.metrics import Rule
from benchmarks.spec import Row
from methods.data import Exposure


@dataclass(frozen=True)
class Value:
    """A setting that a protocol fixes, and where it is said."""

    value: Any
    source: str


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The rules of a comparison. What a protocol does not fix is this suite's: the methods' own defaults.

    Args:
        text: what it stands for, in a line.
        beams: of generative methods, by method or family; `*` for all others. A row's own beam is stronger.
        ties: what a tie across the cut is worth.
        selection: the split by which generators' checkpoints are chosen.
        learns_test: whether tokenizers and generators are trained on the test pictures too, with pseudo-queries for captions.
        settings: {method or family: {`part.setting`: value}}; stronger than the method's defaults, weaker than a row's and than --set.
        left_out: (what the source does, why it is not done here).
    """

    name: str
    text: str
    beams: Mapping[str, int]
    ties: Rule = "expected"
    selection: str = "val"
    learns_test: bool = False
    settings: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    left_out: Sequence[tuple[str, str]] = ()

    def beam(self, method: str) -> int:
        return next(self.beams[name] for name in (method, method.partition("-")[0], "*") if name in self.beams)


AS_PUBLISHED = {"avg": 40, "irgen": 30, "grace": 10, "*": 40}

CLEAN = Protocol(name="clean", text="this suite's defaults, checkpoints chosen on validation, equal beams", beams={"*": 40})

PAPER = Protocol(
    name="paper",
    text="the paper's equations to the letter, its beams",
    beams=AS_PUBLISHED,
    settings={
        "avg": {
            "tokenizer.normalize": Value(False, "Eq. 1: the encoder's vector as it is"),
            "tokenizer.squared_error": Value("norm", "Eq. 3 to 5"),
            "tokenizer.over_levels": Value("sum", "Eq. 4"),
            "tokenizer.commitment": Value(1.0, "Eq. 6: the three losses unweighted"),
            "tokenizer.start": Value("random", "§3.1: C is a randomly initialized matrix; how widely is not said, here ±1/K"),
            "tokenizer.keep_alive": Value("none", "not in the paper"),
            "tokenizer.codebook_loss": Value(0.0, "Eq. 4: commitment only; the decoder's gradient moves the codebook"),
            "generator.discriminative": Value("joint", "Eq. 10"),
            "generator.discriminative_weight": Value(0.25, "Eq. 10 adds Eq. 7, a sum over 4 vokens; here Eq. 7 is their mean"),
            "generator.sequence_score": Value("probabilities", "§3.2: the sum of the vokens' generation probabilities"),
            "generator.softmaxes": Value(1, "Eq. 9"),
            "generator.temperature": Value(1.0, "Eq. 7"),
        },
    },
    left_out=(
        ("a tokenizer on v itself (Eq. 2)", "z = E(v) takes v's place in Eq. 2 and 4, or nothing could be trained; v stays Eq. 3's target"),
        (
            "rates 1e-4 and 1e-3, batches 2,048 and 128",
            "they go with the length of training, which `--settings` gives, the same for all protocols",
        ),
        (
            "Eq. 10 at other voken lengths",
            "the weight of Eq. 9 is that of 4 vokens; `--set avg.generator.discriminative_weight` takes another",
        ),
        ("T5-base", "a model is chosen with `--set avg.backbone`, the same for all protocols"),
        ("the 29,783 / 1,000 / 1,000 split", "a data set is chosen with `--dataset`"),
    ),
)

OFFICIAL = Protocol(
    name="official",
    text="as AVG's code was released, its scoring too; chosen on test",
    beams=AS_PUBLISHED,
    ties="codes",
    selection="test",
    learns_test=True,
    settings={
        "avg": {
            "tokenizer.mlp": Value("batch-norm", "each layer dropout, linear (Xavier), BatchNorm, also after the last"),
            "tokenizer.dropout": Value(0.25, "the same"),
            "tokenizer.normalize": Value(False, "vectors are not L2-normalised"),
            "tokenizer.start": Value("kmeans-first-batch", "k-means (100 iterations) on the first 2,048 rows, unshuffled"),
            "tokenizer.keep_alive": Value("none", "no revival"),
            "tokenizer.commitment": Value(0.25, "0.25 beside a codebook loss of 1"),
            "tokenizer.squared_error": Value("element-mean", "MSE in place of Eq. 3's to 5's norms"),
            "tokenizer.over_levels": Value("mean", "mean over levels in place of Eq. 4's sum"),
            "tokenizer.gradient": Value("levels", "straight-through inside each level, before the residual is formed"),
            "generator.temperature": Value(0.5, "logits divided by 0.5 in the cross-entropy"),
            "generator.discriminative": Value("second-stage", "a second stage from the generative checkpoint"),
            "generator.discriminative_weight": Value(0.5, "factor 0.5"),
            "generator.candidates": Value(10, "10 beams over the training prefix tree"),
            "generator.softmaxes": Value(2, "softmax applied twice"),
        },
    },
    left_out=(
        (
            "5,000, 100 and 5 epochs; rates, batches, schedules",
            "length and size of training are the quick default's unless `--settings` says otherwise",
        ),
        (
            "CLIP ViT-L/14-336, MLP 768-1024-512-768, T5-base with dropout 0.2",
            "models and widths are this suite's small defaults unless `--settings` or `--set` say otherwise",
        ),
        ("an end token in Eq. 9's score", "codes have one length here and end without one"),
        ("a captioner for the pseudo-queries", "nearest training captions need none; `--set avg.pseudo_queries_by=MODEL` takes one"),
        (
            "queries without a readable answer leave the denominator (GRACE)",
            "a scoring fault: they count as misses, and are counted",
        ),
        (
            "a length penalty of -2 in GRACE's search (as its picture-to-text functions have it)",
            "an identifier's score is its log-probability, whatever its length",
        ),
        ("selection of the encoder", "the release takes a finished CLIP; the default encoder's epoch is chosen on val throughout"),
    ),
)

FACTORS = (
    replace(CLEAN, name="clean+exposure", text="clean, but test pictures are learned with pseudo-queries", learns_test=True),
    replace(CLEAN, name="clean+test-selection", text="clean, but checkpoints are chosen on test", selection="test"),
    replace(CLEAN, name="clean+codes", text="clean, but any image of a found code is a hit", ties="codes"),
)
"""One rule of `official` each, alone: what it moves by itself."""

PROTOCOLS = {each.name: each for each in (CLEAN, PAPER, OFFICIAL, *FACTORS)}

SEEN_SPLITS = ("val", "test")


def protocol(name: str) -> Protocol:
    """Returns a protocol.

    Raises:
        ValueError: if there is no such protocol; lists those there are.
    """
    if name not in PROTOCOLS:
        from methods.spelling import suggestion

        raise ValueError(f"unknown protocol {name!r}: {suggestion(name, list(PROTOCOLS))}")
    return PROTOCOLS[name]


def fixed(rules: Protocol, method: str) -> dict[str, Any]:
    """Returns {`part.setting`: value} that a protocol fixes of a method; a method's own values are stronger than its family's."""
    names = dict.fromkeys((method.partition("-")[0], method))
    return {address: each.value for name in names for address, each in rules.settings.get(name, {}).items()}


def exposure_for(row: Row, rules: Protocol = CLEAN) -> Exposure:
    """Returns what a row's method sees of galleries before queries come: nothing, but for what the protocol or the method asks.

    GRACE learns picture -> identifier of every image it shall find. Its semantic identifiers are captions, and those of an image that has
    none are pseudo-queries by definition.
    """
    from methods.registry import METHODS, method_class

    if row.method not in METHODS:  # an ideal matcher of scene facts is no retriever: it is fitted to nothing
        return Exposure()
    cls, variant = method_class(row.method)
    # two towers are the encoder alone, which is fitted before and apart, under every protocol in the same way
    learned = ("test",) if rules.learns_test and cls.paradigm == "generative" else ()
    if not cls.exposed_to_gallery:
        return Exposure(learned=learned, selection=rules.selection)
    semantic = {**variant, **row.settings}.get("identifier") == "semantic"
    return Exposure(images=SEEN_SPLITS, pseudo_queries=SEEN_SPLITS if semantic else (), learned=learned, selection=rules.selection)


def protocol_line(summaries: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> str:
    """Returns the sentence that says how one data set's cells were measured.

    Args:
        summaries: of one data set and protocol, at least one.
        labels: row key -> printed name, used where rows differ.
    """

    def each(value_of: Callable[[Mapping[str, Any]], Any]) -> str:
        """One value where all rows agree; else the commonest, with the rows that differ in brackets. What is None says nothing."""
        values: dict[str, set[str]] = {}
        for summary in summaries:
            if (value := value_of(summary)) is not None:
                values.setdefault(summary["row"], set()).add(str(value))
        text = {row: ", ".join(sorted(of_row, key=lambda v: (len(v), v))) for row, of_row in values.items()}
        if not values:
            return ""
        common = max(dict.fromkeys(text.values()), key=list(text.values()).count)
        others = [f"{labels[row]}: {value}" for row, value in text.items() if value != common]
        return common + (f" ({'; '.join(others)})" if others else "")

    first = summaries[0]
    rules = protocol(first["protocol"])
    facts = {
        "protocol": rules.name,
        "selection on": each(lambda summary: summary.get("selection", rules.selection)),
        "beam": each(lambda summary: "none, searched exactly" if summary["knobs"].get("exact") else summary["knobs"].get("beam")),
        "ties": rules.ties,
        "seed": each(lambda summary: summary["seed"]),
        "precision": each(lambda summary: summary["precision"]),
        "encoder": each(_encoder),
        "generator": each(lambda summary: summary.get("generator")),
        "BLIP": each(lambda summary: summary.get("blip")),
    }
    told = ", ".join(f"{name} {value}" for name, value in facts.items() if value)
    return f"{first['dataset']}, {first['split']} split ({first['images']:,} images, {first['queries']:,} queries): {told}."


def _encoder(summary: Mapping[str, Any]) -> str | None:
    """Returns what a cell's encoder is called; nothing of the data set's own, which is trained here."""
    stated = summary.get("settings", {}).get("encoder", {})
    return " ".join(filter(None, (stated.get("model"), stated.get("pretrained")))) or None
