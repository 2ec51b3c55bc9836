"""Where every random decision comes from, and how a failing one is shrunk.

A generator asks for numbers; what it was given is written down.  The same
list gives the same statement again, and a list with parts taken out or made
smaller gives a simpler one, as 0 is always the simplest alternative."""

import random


class Choices:
    def __init__(self, seed=None, given=None):
        self.random = None if seed is None else random.Random(seed)
        self.given = given or []
        self.made = []

    def draw(self, n):
        """A number below n; 0 once the given ones are used up."""
        if self.random:
            got = self.random.randrange(n)
        elif len(self.made) < len(self.given):
            got = min(self.given[len(self.made)], n - 1)
        else:
            got = 0
        self.made.append(got)
        return got

    def pick(self, alternatives):
        """One of them; the first is the simplest."""
        return alternatives[self.draw(len(alternatives))]

    def chance(self, percent):
        """The simple answer is no."""
        return self.draw(100) >= 100 - percent

    def weighted(self, *alternatives):
        """One of (weight, thing); the first is the simplest."""
        at = self.draw(sum(w for w, _ in alternatives))
        for weight, thing in alternatives:
            if at < weight:
                return thing
            at -= weight
        raise AssertionError


def _shorter(choices):
    """Simpler lists, the boldest first."""
    size = len(choices)
    while size:
        for at in range(0, len(choices), size):
            yield choices[:at] + choices[at + size:]
        size //= 2
    size = len(choices)
    while size:
        for at in range(0, len(choices), size):
            part = choices[at:at + size]
            if any(part):
                yield choices[:at] + [0] * len(part) + choices[at + size:]
        size //= 2
    for at, value in enumerate(choices):
        for less in {value // 2, value - 1}:
            if 0 < less < value:
                yield choices[:at] + [less] + choices[at + 1:]


def shrink(choices, still_fails, tries=2000):
    """The simplest list that was found for which still_fails(list)."""
    seen = {tuple(choices)}
    better = True
    while better:
        better = False
        for simpler in _shorter(choices):
            if tuple(simpler) in seen:
                continue
            seen.add(tuple(simpler))
            tries -= 1
            if tries < 0:
                return choices
            if still_fails(simpler):
                choices, better = simpler, True
                break
    return choices
