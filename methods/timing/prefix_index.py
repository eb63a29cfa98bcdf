"""What is done with a prefix index, timed one after another over random codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from methods.decoding.trie import Trie
from methods.timing.made_galleries import random_codes


def index_runs(images: int, folder: Path) -> tuple[Mapping[str, Callable[[], Any]], Callable[[], int]]:
    """Returns what is done with a prefix index, by name and in this order, and what says how many bytes it has.

    Args:
        folder: where it is saved.
    """
    codes_NL, more_NL = random_codes(images), random_codes(2000, seed=1)
    held: dict[str, Trie] = {}

    def build() -> None:
        held["trie"] = Trie.build(codes_NL)

    def load(verify: bool) -> None:
        held["loaded"] = Trie.load(folder, verify)

    def size() -> int:
        trie = held["trie"]
        return sum(a.nbytes for a in (trie.first_S, trie.count_S, trie.token_E, trie.child_E, trie.identifiers_NL, trie.alive_N))

    return {
        "build": build,
        "save": lambda: held["trie"].save(folder),
        "load": lambda: load(True),
        "map": lambda: load(False),
        "copy": lambda: held["loaded"].add(more_NL[:1]),
        "add": lambda: held["loaded"].add(more_NL[:1000]),
        "remove": lambda: held["loaded"].remove(held["loaded"].rows_of(more_NL[:1000])),
    }, size
