"""Dates as people write them in many languages, and the same by ISO 8601. Generated, seeded."""

from __future__ import annotations

import datetime
from functools import lru_cache
from typing import Literal

import numpy as np
from babel import Locale
from babel.dates import format_date, get_date_format

Form = Literal["full", "long", "medium"]
#: Languages of the dates, by CLDR's names of locales. Each writes years of the common era.
LOCALES = (
    "bg", "ca", "cs", "da", "de", "de_AT", "el", "en_GB", "en_US", "es", "es_MX", "et", "eu",
    "fi", "fr", "fr_CA", "ga", "gl", "hr", "hu", "id", "is", "it", "ja", "ko", "lt", "lv", "nb",
    "nl", "pl", "pt", "pt_BR", "ro", "ru", "sk", "sl", "sr", "sv", "sw", "tr", "uk", "vi", "zh",
)  # fmt: skip
#: CLDR's forms that have the year in full.
FORMS: tuple[Form, ...] = ("full", "long", "medium")
#: Languages that write the year first, so that numbers cannot be taken for one another.
_CLEAR = ("ja", "zh", "ko", "hu", "lt", "eu")
#: First and last day of what is generated.
FIRST, LAST = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)


def generate(count: int, seed: int) -> tuple[list[str], list[str]]:
    """Dates of random days in random languages and forms.

    Every date names its day, month and year in full, and no form is taken that would make two
    days of one text: `03/04/2025` is another day in London than in New York.

    Args:
        count: how many.
        seed: of all that is random.

    Returns:
        Source lines as people write them, target lines as ISO 8601 writes them.
    """
    random = np.random.default_rng(seed)
    days = random.integers(0, (LAST - FIRST).days + 1, count)
    places = random.integers(0, len(LOCALES), count)
    forms = random.integers(0, len(FORMS), count)
    sources, targets = [], []
    for day, place, form in zip(days, places, forms, strict=True):
        date = FIRST + datetime.timedelta(days=int(day))
        sources.append(written(date, LOCALES[place], FORMS[form]))
        targets.append(date.isoformat())
    return sources, targets


def written(date: datetime.date, locale: str, form: Form) -> str:
    """A date in a language: `full`, `long` or `medium`, the year always in four digits."""
    return format_date(date, _pattern(locale, form), locale=locale)


@lru_cache(maxsize=256)
def _pattern(locale: str, form: Form) -> str:
    """The locale's pattern, or its long one where the month would be a number alone."""
    pattern = get_date_format(form, locale=locale).pattern
    if "MMM" not in pattern and "L" not in pattern and Locale.parse(locale).language not in _CLEAR:
        pattern = get_date_format("long", locale=locale).pattern
    return pattern
