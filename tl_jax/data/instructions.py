"""Short instructions with one right answer each, by rule.

Generated, so that a tuned model's answers can be told right or wrong. A model of chats
knows most of them, but answers in sentences; what is to be learned is to say the answer
alone, and a few rules.
"""

from collections.abc import Iterator

import numpy as np

from tl_jax.data.sources import Examples, from_arrays

DAYS = "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
OPPOSITES = {
    "hot": "cold",
    "big": "small",
    "up": "down",
    "open": "closed",
    "fast": "slow",
    "day": "night",
    "early": "late",
    "rich": "poor",
    "full": "empty",
    "young": "old",
    "happy": "sad",
    "light": "dark",
    "wet": "dry",
    "hard": "soft",
    "high": "low",
    "strong": "weak",
    "first": "last",
    "left": "right",
}
CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Germany": "Berlin",
    "Japan": "Tokyo",
    "China": "Beijing",
    "Greece": "Athens",
    "Egypt": "Cairo",
    "Russia": "Moscow",
    "Portugal": "Lisbon",
    "Austria": "Vienna",
    "Poland": "Warsaw",
    "Ireland": "Dublin",
    "Norway": "Oslo",
    "Sweden": "Stockholm",
    "Cuba": "Havana",
}
WORDS = (
    *("river", "stone", "window", "garden", "music", "silver", "winter", "bread"),
    *("forest", "letter", "bridge", "candle", "market", "summer", "doctor", "yellow"),
    *("planet", "pocket", "mirror", "engine", "basket", "ladder", "button", "corner"),
)
Pair = tuple[str, str]


def instructions() -> Examples:
    """All pairs, column `text` to column `target`, in an order of their own.

    One subject (a day, a word, two numbers) is one group, so that whatever is asked
    about it stands on one side of a split.
    """
    texts, targets, groups = [], [], []
    for group, pairs in enumerate(_subjects()):
        for text, target in pairs:
            texts.append(text)
            targets.append(target)
            groups.append(group)
    order = np.random.default_rng(0).permutation(len(texts))
    columns = {
        "text": [texts[i] for i in order],
        "target": [targets[i] for i in order],
    }
    made = from_arrays(columns, name="instructions", licence="Apache-2.0")
    return made._replace(groups=np.asarray(groups)[order])


def _subjects() -> Iterator[list[Pair]]:
    for names, kind in ((DAYS, "day"), (MONTHS, "month")):
        for i, name in enumerate(names):
            after, before = names[(i + 1) % len(names)], names[i - 1]
            yield [
                (f"Which {kind} comes after {name}?", after),
                (f"Which {kind} comes before {name}?", before),
                (f"Name the {kind} that follows {name}.", after),
            ]
    for word, other in OPPOSITES.items():
        yield [
            (f"What is the opposite of {word}?", other),
            (f"Give the opposite of the word '{word}'.", other),
        ]
    for country, city in CAPITALS.items():
        yield [
            (f"What is the capital of {country}?", city),
            (f"Name the capital city of {country}.", city),
        ]
    for word in WORDS:
        yield [
            (f"Write the word {word} in capital letters.", word.upper()),
            (f"What is the first letter of {word}?", word[0]),
            (f"Repeat the word {word} twice.", f"{word} {word}"),
        ]
    draws = np.random.default_rng(1)
    for _ in range(60):
        a, b = (int(n) for n in draws.choice(99, 2, replace=False) + 1)
        yield [
            (f"Which number is larger, {a} or {b}?", str(max(a, b))),
            (f"Which number is smaller, {a} or {b}?", str(min(a, b))),
        ]
