"""What the writers put: small documents whose every sentence has a word that no other holds, so that each is told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

_WORDS = (
    *("bucket", "water", "well", "fire", "brigade", "hand", "line", "people", "river", "ladder", "hose", "street"),
    *("tower", "bell", "night", "morning", "captain", "engine", "pump", "barrel", "smoke", "roof", "wall", "door"),
)
# What the writers put and how often: most are short, a few take two batches of VECTORIZE.
_KINDS = {"short": 60, "medium": 20, "long": 6, "empty": 7, "broken": 7}
_SENTENCES = {"short": (1, 3), "medium": (4, 9), "long": (40, 60)}


@dataclass(frozen=True)
class Body:
    """`status`: how a task of it must end."""

    kind: str
    suffix: str
    data: bytes

    @property
    def status(self) -> str:
        return "FAILED" if self.kind in ("empty", "broken") else "COMPLETED"

    @property
    def marks(self) -> list[str]:
        """The words that only this body holds, one of each sentence."""
        return marks_in(self.data.decode()) if self.status == "COMPLETED" else []


def make(random: Random, key: str = "") -> Body:
    """Any body; or any that this key's name can hold."""
    pdf = key.endswith(".pdf")
    kinds = {kind: often for kind, often in _KINDS.items() if not key or (kind == "broken") == pdf}
    kind = random.choices(list(kinds), list(kinds.values()))[0]
    if kind == "broken":
        return Body(kind, ".pdf", b"%PDF-1.7\n" + random.randbytes(200))
    if kind == "empty":
        return Body(kind, ".txt", b"")
    count = random.randint(*_SENTENCES[kind])
    return Body(kind, ".txt", " ".join(_sentence(random) for _ in range(count)).encode())


def marks_in(text: str) -> list[str]:
    return re.findall(r"mark[a-p]{12}", text)


def _sentence(random: Random) -> str:
    # Letters only: an analyzer that splits at digits must not find half a mark.
    mark = "mark" + "".join(chr(ord("a") + random.randrange(16)) for _ in range(12))
    words = random.choices(_WORDS, k=random.randint(5, 9))
    return f"The {' '.join(words)} {mark}."
