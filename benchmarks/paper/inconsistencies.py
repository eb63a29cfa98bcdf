"""Where the paper contradicts itself, in our words, with the arithmetic that shows it where there is any."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Inconsistency:
    """A contradiction; `shown` is arithmetic over the paper's numbers, `a = b` or `a > b`, empty where words contradict."""

    key: str
    where: str
    text: str
    shown: str = ""


INCONSISTENCIES = (
    Inconsistency(
        key="two-beams", where="Tables 1 to 6",
        text="AVG is at beam 40 in Tables 1 and 2 and at beam 10 in Tables 3 to 6, and neither is said; the full model of the "
        "ablation has a lower R@10 than Table 1's.",
        shown="91.2 - 86.6 = 4.6",
    ),
    Inconsistency(
        key="beam-unused", where="§4.6.4, Tables 1 to 6", text="A beam of 20 or 30 is called suitable; no other table uses either.",
    ),
    Inconsistency(
        key="dropping-up", where="§4.5 (11), Table 3",
        text="Without alignment R@1 is said to drop from 62.3 to 62.4, which is a rise; Table 3 has 56.8.", shown="62.4 > 62.3",
    ),
    Inconsistency(
        key="embedding-rises", where="§4.5 (13), Table 3",
        text="Leaving the voken embeddings out is said to damage slightly; at R@1 the model without them is above the full one.",
        shown="62.4 > 62.3",
    ),
    Inconsistency(
        key="slight-significant", where="§4.6.1 (6), §4.6.2 (7), Tables 4 and 5",
        text="The same difference is slight between voken lengths 6 and 8 (R@10) and significant between codebooks of 1,024 and 256 (R@1).",
        shown="86.7 - 85.2 = 62.3 - 60.8",
    ),
    Inconsistency(
        key="string-semantic", where="§4.3 (6), Table 1",
        text="Numeric and String Id are said to be worse than Semantic Id; on Flickr30K String Id is above it at every recall.",
        shown="30.5 > 22.9",
    ),
    Inconsistency(
        key="n-or-m", where="§4.2, §4.6.1, Eq. 7",
        text="The codebook size is N in Section 4.2 and both M and N in Section 4.6.1; Eq. 7 adds up N terms where M vokens are generated.",
    ),
    Inconsistency(
        key="few-vokens", where="§4.6.1 (7)",
        text="256 vokens are called too few for 30,000 images; in sequences of 4 they have 143,165 names for each image.",
        shown="256 ** 4 // 30000 = 143165",
    ),
    Inconsistency(
        key="xl-xxl", where="§4.6.3 (2), Table 6", text="The largest T5 is T5-XXL in the text and T5-XL in the table.",
    ),
    Inconsistency(
        key="latency", where="Table 2, §4.4 (13, 14)",
        text="The column is headed latency and holds queries per second; both figures are left as xx in the text.",
    ),
    Inconsistency(
        key="four-times", where="§1 (31), Table 2", text="Four times as efficient as CLIP is a little less by Table 2.",
        shown="round(16.8 / 4.32, 2) = 3.89",
    ),
    Inconsistency(
        key="blip-pairs", where="Table 2",
        text="BLIP's 0.00007 queries a second over 300,000 images are 21 pairs a second, so every pair is scored; its accuracy is that of "
        "a shortlist that was ordered again. Speed and accuracy are of different procedures.",
        shown="round(0.00007 * 300000) = 21",
    ),
    Inconsistency(
        key="weaker-clip", where="Table 2, §4.4 (16)",
        text="AVG is compared with a weaker CLIP than its own encoder, which has R@1 66.9 zero-shot (open_clip's published value).",
        shown="66.9 > 62.8",
    ),
    Inconsistency(
        key="split", where="§4.1",
        text="The split of 29,783 training images is that of Flickr30k Entities; the works cited for it use 29,000 / 1,014 / 1,000.",
        shown="29783 + 1000 + 1000 = 31783",
    ),
    Inconsistency(
        key="t-test", where="Table 1", text="The stars come from one-sample t-tests, without the unit that is tested or n.",
    ),
    Inconsistency(
        key="sum-of-p", where="§3.2",
        text="An image's score is the sum of its vokens' probabilities in Section 3.2; beam search ranks by their product.",
    ),
)  # fmt: skip
