"""IRGen for text queries, a declared variant: no text-to-image version of it exists, the paper's own was never released.

As in IRGen: residual quantisation, four levels of 256 rows, a codebook a level, the error of every partial sum in the loss, label
smoothing. Changed: the generator reads a caption, not a picture. Dropped: the class cross-entropy, since captioned images have no classes;
its other term, the squared error of each partial sum, is what remains. No semantic alignment, no discriminative loss. It quantises the
same CLIP vectors as AVG, so that the tokenizer and the training are what differs.
"""

from __future__ import annotations

from avg.settings import GeneratorSettings, TokenizerSettings
from methods.avg import TokenizedRetriever, TokenizedSettings

TOKENIZER = TokenizerSettings(codebook_size=256, shared_codebook=False, alignment=0.0)
GENERATOR = GeneratorSettings(discriminative="none", label_smoothing=0.1)


class IRGenSettings(TokenizedSettings):
    """AVG's settings with IRGen's values."""

    tokenizer: TokenizerSettings = TOKENIZER
    generator: GeneratorSettings = GENERATOR


class IRGen(TokenizedRetriever):
    """Residual quantisation without alignment (Zhang et al. 2023), with text in place of the query picture."""

    Config = IRGenSettings
