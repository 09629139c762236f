"""How a map is smoothed, in words: `4`, a mixture `0.6*2+0.4*4`, and by class `4,screw=2`.

Source: notes on MoLE-Flow, smoothing of the map (M38): sigma 4, or 2, or 0.6 of sigma 2 and 0.4 of sigma 4.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from mechlab.errors import MechlabError, unknown
from mechlab.metrics.maps import smooth

GRAMMAR = (
    "give pixels, e.g. 4; weights of pixels, e.g. 0.6*2+0.4*4; and classes after a comma, e.g. 4,screw=2"
)


@dataclass(frozen=True, slots=True)
class Mixture:
    """Gaussians of several widths, added with weights that sum to 1."""

    terms: tuple[tuple[float, float], ...]  # (weight, sigma in pixels), narrowest first

    def apply(self, maps: Float[np.ndarray, "item height width"]) -> Float[np.ndarray, "item height width"]:
        """Return Σ weight · smooth(maps, sigma); a constant map stays constant, sigma 0 is the identity."""
        if len(self.terms) == 1:
            return smooth(maps, self.terms[0][1])
        parts = [weight * smooth(maps, sigma) for weight, sigma in self.terms]
        return np.asarray(np.sum(parts, axis=0))

    def __str__(self) -> str:
        if len(self.terms) == 1:
            return f"{self.terms[0][1]:.12g}"
        return "+".join(f"{weight:.12g}*{sigma:.12g}" for weight, sigma in self.terms)


@dataclass(frozen=True, slots=True)
class Smoothing:
    """What smooths the maps of each class."""

    default: Mixture
    by_class: Mapping[str, Mixture] = field(default_factory=dict)

    @classmethod
    def read(cls, words: object) -> "Smoothing":
        """Read a number of pixels, or the words of this file.

        Raises:
            MechlabError: words of another form, a width below 0, weights that do not sum to 1, a class named
                twice.
        """
        default, *others = str(words).split(",")
        by_class: dict[str, Mixture] = {}
        for other in others:
            name, equals, mixture = (part.strip() for part in other.partition("="))
            if not equals or not name or name in by_class:
                raise MechlabError(
                    f"sigma '{words}' has a part '{other}' that names no class once; {GRAMMAR}."
                )
            by_class[name] = _mixture(mixture, words=words)
        return cls(_mixture(default, words=words), by_class)

    def of(self, class_name: str) -> Mixture:
        """Return what smooths the maps of a class."""
        return self.by_class.get(class_name, self.default)

    def refuse_strangers(self, classes: Iterable[str]) -> None:
        """Refuse a class of its own width that is none of `classes`, with the nearest name."""
        known = set(classes)
        for name in self.by_class:
            if name not in known:
                raise unknown("class of this run, in sigma,", name, known)

    @property
    def words(self) -> float | str:
        """The canonical form, by which equal words are equal; a number where one width serves all."""
        named = {name: mixture for name, mixture in self.by_class.items() if mixture != self.default}
        if not named and len(self.default.terms) == 1:
            return self.default.terms[0][1]
        return ",".join([str(self.default), *(f"{name}={named[name]}" for name in sorted(named))])


def _mixture(text: str, *, words: object) -> Mixture:
    terms = []
    for term in text.split("+"):
        weight, times, sigma = term.rpartition("*")
        try:
            terms.append((float(weight) if times else 1.0, float(sigma)))
        except ValueError as fault:
            raise MechlabError(f"sigma '{words}' cannot be read; {GRAMMAR}.") from fault
    if not all(weight > 0 and 0 <= sigma < math.inf for weight, sigma in terms):
        raise MechlabError(f"sigma '{words}' has a width below 0 or a weight that is none; {GRAMMAR}.")
    if abs(sum(weight for weight, _ in terms) - 1) > 1e-9:
        raise MechlabError(f"the weights of sigma '{words}' do not sum to 1; {GRAMMAR}.")
    return Mixture(tuple(sorted(terms, key=lambda term: term[1])))
