"""What a zone's name and codes tell of its site, side, level and kind; a guess that says what it rests on."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

from guidance.messages import Finding, Severity, ZoneKind, ZoneSide, ZoneSite

_LEFT_CODES: Final = frozenset({"7771000", "G-A101"})
_RIGHT_CODES: Final = frozenset({"24028007", "G-A100"})
_MIDLINE_CODES: Final = frozenset({"261129000", "G-A10A", "373099004", "R-00319"})
_SCHEMES: Final = frozenset({"SCT", "SRT", "99SDM", "SNM3"})  # SRT's names before 2013, PS3.16 table 8-1

# German books number lumbar vertebrae LWK 1 to 5, thoracic BWK, cervical HWK; Th and D are thoracic, too.
_LEVEL_LETTERS: Final = {
    "lwk": "L",
    "bwk": "T",
    "hwk": "C",
    "swk": "S",
    "th": "T",
    "c": "C",
    "t": "T",
    "l": "L",
    "s": "S",
}
_HIGHEST: Final = {"C": 7, "T": 13, "L": 6, "S": 5}  # a thirteenth thoracic and a sixth lumbar vertebra do exist
_LEVEL: Final = re.compile(r" (lwk|bwk|hwk|swk|th|[ctls]) ?(\d{1,2})(?= |[lr] )")
_LEVEL_AND_SIDE: Final = re.compile(r" [ctls]\d{1,2}([lr]) ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A coded concept (PS3.3 section 8): scheme, value and meaning as in the object."""

    scheme: str
    value: str
    meaning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneGuess:
    """What a name and codes tell.

    Attributes:
        site: `other` where nothing told, and for anatomy that the contract's list has no site for.
        side: None where nothing told, or both sides did.
        level: `L5`, `S1`; of two levels the upper one (a disc or foramen L5/S1 is L5's); "" where nothing told.
        kind: bone and lesions are targets, all else is kept out of.
        reason: what it rests on, for people; "" where nothing told the site.
    """

    site: ZoneSite
    side: ZoneSide | None
    level: str
    kind: ZoneKind
    reason: str


def guess_zone(
    name: str, codes: Sequence[Code] = (), *, laterality: Sequence[Code] = (), hints: Sequence[str] = ()
) -> ZoneGuess:
    """Guess what a zone is.

    Codes go before words, for words have many languages; the name goes before the codes' meanings and other hints.

    Args:
        name: as the file has it: English, German, French or Latin words in any spelling.
        codes: what the object says that it is, most telling first.
        laterality: modifiers that may be left or right.
        hints: further words: descriptions, anatomic regions.
    """
    words = [_words(one) for one in (name, *(code.meaning for code in codes), *hints)]
    site, level, reason = _from_codes(codes)
    # A code for tissue or bone in general tells less than a word such as foramen.
    told = next((found for text in words if (found := _site(text))), None)
    if told is not None and (site is None or (site is ZoneSite.BONE and told[0] is not ZoneSite.BONE)):
        site, reason = told[0], f"the word '{told[1]}'"
    side = _side_of_codes(laterality) or next((one for text in words if (one := _side(text))), None)
    level = next((known for text in words if (known := _level(text))), level)
    if site is None and level:
        site, reason = ZoneSite.BONE, f"the level {level}"
    final = ZoneSite.OTHER if site is None else site
    return ZoneGuess(site=final, side=side, level=level, kind=kind_of(final), reason=reason)


def kind_of(site: ZoneSite) -> ZoneKind:
    """Bone and lesions are targets, all else is kept out of."""
    return ZoneKind.TARGET if site in (ZoneSite.BONE, ZoneSite.LESION) else ZoneKind.KEEP_OUT


def guess_findings(guesses: Iterable[tuple[str, ZoneGuess]]) -> tuple[Finding, ...]:
    """Say aloud what was guessed: one finding for all guesses, one for all names that told nothing."""
    guessed, unknown = [], []
    for name, guess in guesses:
        if guess.reason:
            words = (guess.site.value, guess.side and guess.side.value, guess.level, guess.kind.value)
            guessed.append(f"{name}: {' '.join(word for word in words if word)} from {guess.reason}")
        else:
            unknown.append(name)
    findings = []
    if unknown:
        told = f"site not known, kept out of: {', '.join(unknown)}; give each its site"
        findings.append(Finding(code="unknown_site", severity=Severity.WARNING, message=told))
    if guessed:
        told = f"site, side, level and kind are guessed: {'; '.join(guessed)}"
        findings.append(Finding(code="guessed_site", severity=Severity.WARNING, message=told))
    return tuple(findings)


def _words(name: str) -> str:
    """Lower case, without accents, words divided by single blanks, a blank at both ends."""
    divided = re.sub(r"(?<=[a-zäöüß])(?=[A-Z])|(?<=\d)(?=[A-Z][a-z0-9])", " ", name)
    plain = unicodedata.normalize("NFKD", divided).replace("ß", "ss")
    plain = "".join(one for one in plain if not unicodedata.combining(one)).lower()
    return f" {' '.join(re.findall(r'[a-z0-9]+', plain))} "


def _from_codes(codes: Sequence[Code]) -> tuple[ZoneSite | None, str, str]:
    table = _code_table()
    for code in codes:
        row = table.get(code.value) if code.scheme.upper() in _SCHEMES else None
        if row is not None:
            return ZoneSite(row["site"]), row.get("level", ""), f"the code {code.value} ({row['meaning']})"
    return None, "", ""


def _site(words: str) -> tuple[ZoneSite, str] | None:
    for site, patterns in _word_table():
        for pattern in patterns:
            found = pattern.search(words)
            if found:
                return site, found.group().strip()
    return None


def _side_of_codes(laterality: Sequence[Code]) -> ZoneSide | None:
    values = {code.value for code in laterality}
    sides = [
        side
        for side, codes in (
            (ZoneSide.LEFT, _LEFT_CODES),
            (ZoneSide.RIGHT, _RIGHT_CODES),
            (ZoneSide.MIDLINE, _MIDLINE_CODES),
        )
        if codes & values
    ]
    return sides[0] if len(sides) == 1 else None


def _side(words: str) -> ZoneSide | None:
    table: dict[str, list[str]] = _tables()["side"]
    found = set(words.split())
    sides = {side for side in ZoneSide if found & set(table[side.value])}
    letter = _LEVEL_AND_SIDE.search(words)
    if letter:
        sides.add(ZoneSide.LEFT if letter.group(1) == "l" else ZoneSide.RIGHT)
    return sides.pop() if len(sides) == 1 else None


def _level(words: str) -> str:
    for found in _LEVEL.finditer(words):
        letter, number = _LEVEL_LETTERS[found.group(1)], int(found.group(2))
        if 1 <= number <= _HIGHEST[letter]:
            return f"{letter}{number}"
    return ""


@cache
def _tables() -> dict[str, Any]:
    return tomllib.loads(resources.files("guidance.wire").joinpath("data/zone_words.toml").read_text("utf-8"))


@cache
def _word_table() -> tuple[tuple[ZoneSite, tuple[re.Pattern[str], ...]], ...]:
    return tuple(
        (ZoneSite(row["site"]), tuple(re.compile(pattern) for pattern in row["patterns"])) for row in _tables()["site"]
    )


@cache
def _code_table() -> dict[str, dict[str, str]]:
    text = resources.files("guidance.wire").joinpath("data/zone_codes.toml").read_text("utf-8")
    rows: dict[str, dict[str, str]] = tomllib.loads(text)["SCT"]
    return rows | {row["srt"]: row for row in rows.values() if "srt" in row}
