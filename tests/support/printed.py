"""What the documentation shows as printed, held against what its code prints."""

import math
import re

NUMBER = r"-?\d+(?:\.\d*)?(?:e[-+]?\d+)?"


def agrees(shown, printed):
    """Tell whether all that is shown is printed, in its order; three dots stand for anything.

    Numbers agree in their first two digits, and whole ones of two digits thus exactly.
    """
    rest = parts(printed)
    for piece in map(parts, shown.split("...")):
        size = len(piece)
        places = [i for i in range(len(rest) - size + 1) if all(map(same, piece, rest[i:]))]
        if not places:
            return False
        rest = rest[places[0] + size :]
    return True


def parts(text):
    """Return the numbers, words and signs of a text."""
    return re.findall(rf"{NUMBER}|\w+|\S", text)


def same(shown, printed):
    if re.fullmatch(NUMBER, shown) and re.fullmatch(NUMBER, printed):
        return close(shown, printed)
    return shown == printed


def close(shown, printed):
    """Tell whether a number is the other one, but for rounding to two digits."""
    value, other = float(shown), float(printed)
    first = math.floor(math.log10(abs(value))) if value else -math.inf
    return abs(value - other) <= max(10.0 ** (first - 1), last_place(shown)) / 2


def last_place(shown):
    """Return what a one in the last place of a number would be, as it is written."""
    digits, _, exponent = shown.partition("e")
    return 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))
