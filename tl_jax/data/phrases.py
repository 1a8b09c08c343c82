"""Phrases of days and times in English with their German: a translation by rule.

Generated, so that a model without weights can learn it within minutes. Two rules need
more than a dictionary: "half past nine" is "halb zehn", the next hour, and the day
comes first in German wherever it stands in English.
"""

from itertools import product

import numpy as np

from tl_jax.data.sources import Examples, from_arrays

DAYS = {
    "Monday": "Montag",
    "Tuesday": "Dienstag",
    "Wednesday": "Mittwoch",
    "Thursday": "Donnerstag",
    "Friday": "Freitag",
    "Saturday": "Samstag",
    "Sunday": "Sonntag",
}
HOURS = {
    "one": "eins",
    "two": "zwei",
    "three": "drei",
    "four": "vier",
    "five": "fünf",
    "six": "sechs",
    "seven": "sieben",
    "eight": "acht",
    "nine": "neun",
    "ten": "zehn",
    "eleven": "elf",
    "twelve": "zwölf",
}
MINUTES = {
    "a quarter past": "Viertel nach",
    "a quarter to": "Viertel vor",
    "ten past": "zehn nach",
    "ten to": "zehn vor",
    "half past": "halb",
}
EVENTS = {
    "the train leaves": "fährt der Zug",
    "the lesson begins": "beginnt der Unterricht",
    "the shop opens": "öffnet der Laden",
    "the concert ends": "endet das Konzert",
    "my sister calls": "ruft meine Schwester an",
    "we meet": "treffen wir uns",
}
NEXT = {"": "", "next": "nächsten", "every": "jeden"}


def phrases() -> Examples:
    """All 15,120 pairs, column `text` to column `target`, in an order of their own.

    Each meaning stands there twice, with the day in front and behind; both are of one
    group, so that they are on one side of a split.
    """
    texts, targets, groups = [], [], []
    parts = list(product(EVENTS, NEXT, DAYS, MINUTES, HOURS))
    drawn = np.random.default_rng(0).permutation(len(parts))
    for group, number in enumerate(drawn):
        event, which, day, minute, hour = parts[number]
        when = f"{which or 'on'} {day}"
        time = f"at {minute} {hour}"
        for text in (f"{event} {when} {time}", f"{when} {event} {time}"):
            texts.append(text)
            targets.append(german(event, which, day, minute, hour))
            groups.append(group)
    made = from_arrays({"text": texts, "target": targets}, name="phrases")
    return made._replace(groups=np.asarray(groups))


def german(event: str, which: str, day: str, minute: str, hour: str) -> str:
    """The German of one meaning; a verb's prefix goes to the end."""
    hours = list(HOURS.values())
    at = list(HOURS).index(hour)
    own = hours[(at + 1) % 12] if minute == "half past" else hours[at]
    when = f"{NEXT[which]} {DAYS[day]}" if which else f"am {DAYS[day]}"
    verb, _, behind = EVENTS[event].partition(" ")
    words = behind.split()
    prefix = words.pop() if words[-1] == "an" else ""
    said = f"{when} {verb} {' '.join(words)} um {MINUTES[minute]} {own}"
    return f"{said} {prefix}".strip()
