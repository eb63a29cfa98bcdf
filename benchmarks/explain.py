"""What each protocol fixes, and where two of them differ: in words, from the one file that holds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.protocol import PROTOCOLS, Protocol, Value, protocol
from methods.registry import METHODS, method_class

NAMED = ("clean", "paper", "official")


def rules(of: Protocol) -> dict[str, str]:
    """Returns {rule: value as printed} of what holds for several methods alike."""
    beams = ", ".join(f"{'all others' if name == '*' else name} {beams}" for name, beams in of.beams.items())
    return {
        "beam": beams.replace("all others ", "", 1) if len(of.beams) == 1 else beams,
        "ties": of.ties,
        "selection": of.selection if of.selection != "test" else "test (marked in every table)",
        "test images in training": "5 pseudo-queries per test image"
        if of.learns_test
        else "none (GRACE: pictures; semantic: pseudo-queries too)",
    }


def default(family: str, address: str) -> Any:
    """Returns a method's own value of a setting that a protocol may fix."""
    value: Any = method_class(_method(family))[0].Config()
    for part in address.split("."):
        value = getattr(value, part)
    return value


def value_of(of: Protocol, family: str, address: str) -> Value:
    """Returns what a setting is under a protocol, with its source."""
    return of.settings.get(family, {}).get(address) or Value(default(family, address), "this suite's default")


def addresses() -> Iterator[tuple[str, str]]:
    """Yields (method or family, setting) of all that some protocol fixes, in the order of the methods' settings."""
    fixed = {(family, address) for each in PROTOCOLS.values() for family, settings in each.settings.items() for address in settings}
    for family in dict.fromkeys(family for family, _ in fixed):
        from benchmarks.overrides import described

        order = [address for address, _, _ in described(_method(family))]
        yield from sorted(((f, a) for f, a in fixed if f == family), key=lambda pair: order.index(pair[1]))


def differences(one: Protocol, other: Protocol) -> dict[str, tuple[str, str]]:
    """Returns {rule or `method.setting`: (value under one, value under the other)} where the two are not the same."""
    pairs = {rule: (value, rules(other)[rule]) for rule, value in rules(one).items()}
    for family, address in addresses():
        pairs[f"{family}.{address}"] = (str(value_of(one, family, address).value), str(value_of(other, family, address).value))
    return {what: pair for what, pair in pairs.items() if pair[0] != pair[1]}


def explained(name: str | None = None) -> str:
    """Returns all protocols side by side, or everything about one and its differences from each other one.

    Raises:
        ValueError: if there is no such protocol; lists those there are.
    """
    return _one(protocol(name)) if name else _all()


def _all() -> str:
    shown = [PROTOCOLS[name] for name in NAMED]
    body = [[rule, *(rules(each)[rule] for each in shown)] for rule in rules(shown[0])]
    body += [[f"{family}.{address}", *(value_of(each, family, address).value for each in shown)] for family, address in addresses()]
    same = [row for row in body if len(set(map(str, row[1:]))) == 1]
    parts = ["\n".join(f"{each.name}: {each.text}" for each in shown), _grid([row for row in body if row not in same], ["", *NAMED])]
    if same:
        parts.append(f"The same under all: {'; '.join(f'{row[0]} {row[1]}' for row in same)}.")
    factors = [each for each in PROTOCOLS.values() if each.name not in NAMED]
    clean = PROTOCOLS["clean"]
    parts.append("\n".join(["One rule of official each, alone:", *(f"{each.name}: {_changes(clean, each)}" for each in factors)]))
    parts.append("Sources, and what is left out: explain-protocol NAME.")
    return "\n\n".join(parts)


def _one(this: Protocol) -> str:
    body = [[rule, value, ""] for rule, value in rules(this).items()]
    for family, address in addresses():
        value = value_of(this, family, address)
        body.append([f"{family}.{address}", value.value, value.source])
    parts = [f"{this.name}: {this.text}", _grid(body, ["rule or setting", "value", "source"])]
    if this.settings:
        parts.append(f"Settings are fixed of {', '.join(this.settings)} alone; all other methods have this suite's, as under clean.")
    for other in map(protocol, NAMED):
        changed = differences(this, other)
        if other is not this:
            table = _grid([[what, *pair] for what, pair in changed.items()], ["", this.name, other.name])
            parts.append(f"Against {other.name}, {len(changed)} differences:\n{table}")
    if this.left_out:
        parts.append("Deliberately not taken over:\n" + "\n".join(f"- {what}: {why}" for what, why in this.left_out))
    return "\n\n".join(parts)


def _changes(one: Protocol, other: Protocol) -> str:
    return "; ".join(f"{what} {new} instead of {old}" for what, (old, new) in differences(one, other).items())


def _grid(body: Sequence[Sequence[Any]], headers: Sequence[str]) -> str:
    from tabulate import tabulate

    return tabulate([[str(cell) for cell in row] for row in body], headers, disable_numparse=True)


def _method(family: str) -> str:
    return next(name for name in METHODS if name == family or name.startswith(f"{family}-"))
