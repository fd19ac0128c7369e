"""LaTeX, Unicode and markdown dress of a mathematical answer is taken off; what is left is read by ``math_objects``."""

from __future__ import annotations

import re
import unicodedata

OPEN, CLOSE = "‹", "›"
"""Stand around what was text in LaTeX: ``5\\text{ cm}`` becomes ``5‹cm›``."""

_UNICODE = {
    "−": "-", "–": "-", "—": "-", "×": "\\times ", "·": "\\cdot ", "⋅": "\\cdot ", "÷": "/", "π": "\\pi ",
    "∞": "\\infty ", "∪": "\\cup ", "≤": "\\le ", "≥": "\\ge ", "≠": "\\ne ", "±": "\\pm ", "∅": "\\emptyset ",
    "°": "\\degree ", "≈": "\\approx ", "∈": "\\in ", "²": "^2", "³": "^3", "′": "'", "⁄": "/", "θ": "\\theta ",
}  # fmt: skip
_SYNONYMS = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "leq": "le", "geq": "ge", "leqslant": "le", "geqslant": "ge",
    "neq": "ne", "varnothing": "emptyset", "infin": "infty", "lbrace": "{", "rbrace": "}", "dbinom": "binom",
    "tbinom": "binom", "lt": "<", "gt": ">", "mid": "|", "vert": "|", "lvert": "|", "rvert": "|", "bigcup": "cup",
}  # fmt: skip
_INVISIBLE = re.compile(
    r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits|quad|qquad|thinspace)(?![A-Za-z])|(?<!\\)\\[,;:! ]|~"
)
_TEXT = re.compile(r"\\(?:text(?:bf|it|rm|normal)?|mathrm|mbox|operatorname|textsf)\s*\{([^{}]*)\}")
_STYLE = re.compile(r"\\(?:mathbf|boldsymbol|mathbb|mathit|mathsf|boxed|fbox|bm|mathcal)\s*(?=\{)")
_FRACTION = re.compile(r"\\frac\s*(\d|[A-Za-z])\s*(\d|[A-Za-z]|\{)")
_MIXED = re.compile(
    r"(?<![\d.,^_}\w])(\d+)\s*\\frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}|(?<![\d.,^_}\w/])(\d+)\s+(\d+)/(\d+)"
)


def clean(text: str) -> str:
    r"""The answer without delimiters, spacing, styles and synonyms.

    ``$\dfrac12\text{ cm}$.`` becomes ``\frac{1}{2}‹cm›``; a dollar sign that opens no formula becomes ``\$``; mixed
    numbers become sums in brackets.
    """
    plain = _markdown(_unicode(text.strip()))
    plain = _delimiters(plain)
    plain = plain.replace("{,}", ",").replace("{:}", ":").replace("\\%", "%").replace("%", "\\%")
    plain = re.sub(r"(?<=\d)\\[,!;: ](?=\d{3}(?!\d))", "", plain)
    plain = _INVISIBLE.sub(" ", plain)
    plain = re.sub(r"\\not\s*=", r"\\ne ", plain)
    plain = re.sub(r"\\([A-Za-z]+)", lambda match: _synonym(match[1]), plain)
    plain = _STYLE.sub("", plain)
    plain = _TEXT.sub(_marked, plain)
    plain = re.sub(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\degree", f" {OPEN}degrees{CLOSE} ", plain)
    plain = re.sub(r"^\s*\\approx", "", plain)
    plain = re.sub(r"^\s*(?:minus|negative)\s+(?=[\d\\(])", "-", plain, flags=re.IGNORECASE)
    plain = _FRACTION.sub(_braced, plain)
    plain = _MIXED.sub(_summed, plain)
    return re.sub(r"\s+", " ", _unwrapped(plain)).strip().rstrip(".,;").strip()


def _unicode(text: str) -> str:
    found = []
    for character in text:
        decomposition = unicodedata.decomposition(character)
        if decomposition.startswith("<fraction>"):
            top, _, bottom = unicodedata.normalize("NFKC", character).partition("⁄")
            found.append(f"\\frac{{{top}}}{{{bottom}}}")
        else:
            found.append(_UNICODE.get(character, character))
    plain = "".join(found)
    plain = re.sub(r"√\s*(\d+|[A-Za-z])", r"\\sqrt{\1}", plain).replace("√", "\\sqrt ")
    return unicodedata.normalize("NFKC", plain)


def _markdown(text: str) -> str:
    return re.sub(r"^[*_`]+(.*?)[*_`]+([.,]?)$", r"\1\2", text, flags=re.DOTALL)


def _delimiters(text: str) -> str:
    """Without the signs of a formula; a single ``$`` is money."""
    text = re.sub(r"\\\(|\\\)|(?<!\\)\\\[|(?<!\\)\\\]|\$\$", " ", text)
    num_bare = len(re.findall(r"(?<!\\)\$", text))
    if num_bare % 2 == 0:
        return re.sub(r"(?<!\\)\$", " ", text)
    return re.sub(r"(?<!\\)\$", r"\\$", text)


def _synonym(name: str) -> str:
    other = _SYNONYMS.get(name, name)
    return "\\" + other if other.isalpha() or other in "{}" else other


def _marked(match: re.Match[str]) -> str:
    inside = match[1].strip()
    if not inside or re.fullmatch(r"[-\d.,]+", inside) or inside in ("e", "i", "d"):
        return f" {inside} "
    return f" {OPEN}{inside}{CLOSE} "


def _braced(match: re.Match[str]) -> str:
    second = match[2] if match[2] == "{" else f"{{{match[2]}}}"
    return f"\\frac{{{match[1]}}}{second}"


def _summed(match: re.Match[str]) -> str:
    whole, top, bottom = (match[1], match[2], match[3]) if match[1] else (match[4], match[5], match[6])
    return f"({whole}+{top}/{bottom})"


def _unwrapped(text: str) -> str:
    """Without braces around the whole."""
    text = text.strip()
    while text.startswith("{") and text.endswith("}") and _closes_at_the_end(text) and "," not in text:
        text = text[1:-1].strip()
    return text


def _closes_at_the_end(text: str) -> bool:
    depth = 0
    for index, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return index == len(text) - 1
    return False


def split_outside(text: str, separator: re.Pattern[str]) -> list[str]:
    """The pieces of the text between matches of ``separator`` that stand in no bracket."""
    pieces, depth, start, place = [], 0, 0, 0
    while place < len(text):
        character = text[place]
        match = separator.match(text, place) if depth == 0 else None
        if match is not None and match.end() > place:
            pieces.append(text[start:place].strip())
            start = place = match.end()
            continue
        if character == "\\" and text[place + 1 : place + 2] in ("{", "}"):
            depth += 1 if text[place + 1] == "{" else -1
            place += 2
            continue
        depth += (character in "([{" + OPEN) - (character in ")]}" + CLOSE)
        place += 1
    return [*pieces, text[start:].strip()]
