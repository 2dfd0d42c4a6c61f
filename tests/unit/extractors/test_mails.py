"""E-mails in the two forms in which they are kept: who wrote what to whom, and what is attached."""

from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path
from types import ModuleType

import pytest

from common.errors import Rejected
from functions.extractors import Options, eml, msg
from tests.unit import compound
from tests.unit.compound import attachment, message


def options() -> Options:
    return Options("the mail", 0, 1, 1 << 30, 1 << 20, 100, member_levels=1, max_members=100, max_members_bytes=1 << 20)


def text(kind: ModuleType, tmp_path: Path, content: bytes) -> str:
    (tmp_path / "mail").write_bytes(content)
    return "\n".join(page.text for page in kind.extract(tmp_path / "mail", options()))


def attached(kind: ModuleType, tmp_path: Path, content: bytes) -> dict[str, bytes]:
    (tmp_path / "mail").write_bytes(content)
    found = kind.members(tmp_path / "mail", options())
    return {one.name: b"".join(one.content()) for one in found if not one.refused}


def mail(body: str = "Hello Bob.\n\nThe buckets are ready.") -> EmailMessage:
    made = EmailMessage()
    made["Subject"], made["From"], made["To"] = "Über die Eimer 水桶", "Ada <ada@example.org>", "bob@example.org"
    made["Date"] = "Mon, 01 Jan 2024 10:00:00 +0000"
    made.set_content(body)
    return made


def test_a_mail_is_its_subject_its_fields_its_message_and_its_attachments(tmp_path: Path) -> None:
    made = mail()
    made.add_alternative("<p>Hello <b>Bob</b> in HTML.</p>", subtype="html")
    made.add_attachment(b"%PDF-1.7", maintype="application", subtype="pdf", filename="Eimer 水桶.pdf")
    assert text(eml, tmp_path, made.as_bytes()) == (
        "Über die Eimer 水桶\n\n"
        "From: Ada <ada@example.org>\nTo: bob@example.org\nDate: Mon, 01 Jan 2024 10:00:00 +0000\n\n"
        "Hello Bob.\n\nThe buckets are ready.\n\n"
        "Attachments\n\n- Eimer 水桶.pdf, 8 bytes"
    )
    assert attached(eml, tmp_path, made.as_bytes()) == {"Eimer 水桶.pdf": b"%PDF-1.7"}


def test_a_message_in_html_alone_is_read_as_a_page(tmp_path: Path) -> None:
    made = mail(" ")
    made.add_alternative("<style>p{}</style><h1>Buckets</h1><p>All <b>ready</b>.</p>", subtype="html")
    assert text(eml, tmp_path, made.as_bytes()).endswith("Buckets\n\nAll ready.")


def test_pictures_of_a_page_and_signatures_are_no_documents(tmp_path: Path) -> None:
    made = mail(" ")
    made.add_alternative("<p>See <img src=cid:logo></p>", subtype="html")
    page = made.get_payload()[1]  # type: ignore[index]
    page.add_related(b"\x89PNG", "image", "png", cid="<logo>", filename="logo.png", disposition="inline")  # type: ignore[union-attr]
    made.add_attachment(b"-----", maintype="application", subtype="pgp-signature", filename="signature.asc")
    assert attached(eml, tmp_path, made.as_bytes()) == {}
    told = text(eml, tmp_path, made.as_bytes())
    assert "- logo.png: not taken, as it belongs to the message's looks" in told
    assert "- signature.asc: not taken, as it is a signature" in told


def test_what_is_attached_within_an_alternative_is_found(tmp_path: Path) -> None:
    """As Apple's Mail writes: plain text, or else HTML with what is attached to it."""
    content = (
        b"Content-Type: multipart/alternative; boundary=a\n\n--a\nContent-Type: text/plain\n\nPlain words.\n--a\n"
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>Rich words.\n--b\n"
        b"Content-Type: application/pdf; name=a.pdf\n\n%PDF\n--b--\n--a--\n"
    )
    assert attached(eml, tmp_path, content) == {"a.pdf": b"%PDF"}
    told = text(eml, tmp_path, content)
    assert "Plain words." in told
    assert "Rich words." not in told


def test_an_attached_message_is_a_mail_of_its_own_byte_for_byte(tmp_path: Path) -> None:
    inner = b"Subject: Inner/most\nX-Long: " + b"x " * 200 + b"\n\nInside.\n"
    content = b"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: message/rfc822\n\n" + inner + b"--a--\n"
    assert attached(eml, tmp_path, content) == {"Inner_most.eml": inner.rstrip(b"\n")}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"Subject: \xb1\xa8\xb8\xe6\xba\xcd\xcb\xb5\xc3\xf7\n\nx", "报告和说明"),  # GBK that is not said to be so
        (b"Subject: =?no-such?B?xxx?=\n\nWords", "Words"),
        (b"Content-Type: text/plain; charset=no-such\n\nW\xc3\xb6rds", "Wörds"),
        (b'Content-Type: text/plain; charset="utf-8\nContent-Transfer-Encoding: base64\n\nV29yZHM', "Words"),
        ("Content-Type: text/plain; charset=gb2312\n\n你好，世界".encode("gb18030"), "你好，世界"),
        (b"From: @@@<<>>\nTo: ;;;:::\nDate: never\n\nWords", "Words"),
        (b"Content-Type: multipart/mixed\n\nWords without a boundary", "the mail"),
        (b"\n\nNo header at all", "No header at all"),
        (b"Content-Type: text/plain\n\n" + bytes(range(256)), "the mail"),
    ],
)
def test_a_mail_that_breaks_the_rules_is_read_as_far_as_it_goes(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in text(eml, tmp_path, content)


def nested(levels: int) -> bytes:
    parts = (b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (level, level) for level in range(levels))
    return b"Subject: Deep\n" + b"".join(parts) + b"Content-Type: text/plain\n\nBottom"


def test_parts_within_parts_are_followed_so_far_and_no_further(tmp_path: Path) -> None:
    assert "Bottom" in text(eml, tmp_path, nested(20))
    assert "it lies deeper in other parts" in text(eml, tmp_path, nested(60))
    with pytest.raises(Rejected) as caught:
        text(eml, tmp_path, nested(2000))
    assert caught.value.code == "FILE_DAMAGED"


def test_an_outlook_message_is_read_as_any_mail(tmp_path: Path) -> None:
    content = compound.msg("Über die Eimer 水桶", "Hello Bob.", attached=attachment("a.pdf", b"%PDF-1.7"))
    assert text(msg, tmp_path, content) == (
        "Über die Eimer 水桶\n\n"
        "From: Ada <ada@example.org>\nTo: Bob; Carol\nDate: Wed, 17 Jan 2024 21:20:00 +0000\n\n"
        "Hello Bob.\n\nAttachments\n\n- a.pdf, 8 bytes"
    )
    assert attached(msg, tmp_path, content) == {"a.pdf": b"%PDF-1.7"}


@pytest.mark.parametrize(
    "body", [{"html": b"<p>Only <b>here</b>."}, {"rtf": rb"{\rtf1\ansi Only \b here\b0.\par}"}], ids=["html", "rtf"]
)
def test_an_outlook_message_without_plain_text_is_read_from_what_it_has(tmp_path: Path, body: dict[str, bytes]) -> None:
    assert text(msg, tmp_path, compound.msg("Buckets", **body)).endswith("Only here.")  # type: ignore[arg-type]


def test_a_message_attached_in_outlook_becomes_a_mail_the_same_each_time(tmp_path: Path) -> None:
    inner = message("Inner", "Inside.", attached=attachment("deep.txt", b"Deep"), header=24)
    content = compound.msg("Outer", "Outside.", attached=attachment("x", inner))
    found = attached(msg, tmp_path, content)
    assert found == attached(msg, tmp_path, content)
    assert list(found) == ["Inner.eml"]
    assert "Inside." in text(eml, tmp_path, found["Inner.eml"])
    assert attached(eml, tmp_path, found["Inner.eml"]) == {"deep.txt": b"Deep"}


def test_an_outlook_message_that_is_damaged_is_refused_or_read_in_part(tmp_path: Path) -> None:
    whole = compound.msg("Buckets", "Hello.")
    assert text(msg, tmp_path, whole[:-600]).startswith("the mail")
    with pytest.raises(Rejected) as caught:
        text(msg, tmp_path, whole[:100])
    assert caught.value.code == "FILE_DAMAGED"
