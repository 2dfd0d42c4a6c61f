"""Which text nobody can read."""

from __future__ import annotations

import base64
import random

import pytest

from functions.extractors.garbled import is_garbled

ENGLISH = "The quick brown fox jumps over the lazy dog, and it does so every day of the year. " * 8
CHINESE = "物有本末，事有终始，知所先后，则近道矣。古之欲明明德于天下者，先治其国；" * 4
TRADITIONAL = "物有本末，事有終始，知所先後，則近道矣。古之欲明明德於天下者，先治其國；" * 4
VIETNAMESE = "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi. " * 8


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        ENGLISH,
        CHINESE,
        TRADITIONAL,
        VIETNAMESE,
        "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。" * 5,
        "Zażółć gęślą jaźń. Wszyscy ludzie rodzą się wolni i równi pod względem swej godności. " * 8,
        base64.b64encode(random.Random(1).randbytes(3000)).decode(),
        "\n".join(f"{number:08x}  7f 45 4c 46 02 01 01 00" for number in range(100)),
        "\uf0b7 an item of a list, with the bullet of a symbol font\n" * 10,
        "BRD GmbH KG NRW PKW LKW " * 5,
    ],
)
def test_text_that_somebody_can_read_is_not_garbled(text: str) -> None:
    assert not is_garbled(text)


def shifted(text: str, by: int) -> str:
    return "".join(chr(ord(one) + by) for one in text)


@pytest.mark.parametrize(
    "text",
    [
        "\ufffd" * 40,
        "Some of it can be read. " + "\ufffd\ue012" * 20,
        "(cid:12)(cid:45)(cid:7) " * 20,
        shifted(ENGLISH, -29),
        "".join(one if one == " " else shifted(one, 3) for one in ENGLISH.lower()),
        CHINESE.encode("gb18030").decode("latin-1"),
        "".join(chr(random.Random(seed).randrange(0x4E00, 0x9FA6)) for seed in range(200)),
    ],
)
def test_text_that_nobody_can_read_is_garbled(text: str) -> None:
    assert is_garbled(text)
