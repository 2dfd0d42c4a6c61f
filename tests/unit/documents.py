"""Makers of documents, good and bad. Each returns the file's bytes, unless it says otherwise."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import pymupdf

_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
# Enough of an ELF header for anyone to see a program.
PROGRAM = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00" + bytes(200)
_MIB = 1 << 20
_NOBODY = 0xFFFFFFFF
SOUND = b"fLaC\x00\x00\x00\x22" + bytes(100)


def pdf(*pages: str, owner_password: str = "", user_password: str = "") -> bytes:
    """A page for each text; an empty one makes a page without text. Chinese works."""
    document = pymupdf.open()
    for text in pages:
        page = document.new_page()
        if text:
            page.insert_text((72, 72), text, fontname="china-s" if not text.isascii() else "helv")
    locked = owner_password or user_password
    encryption = pymupdf.PDF_ENCRYPT_AES_256 if locked else pymupdf.PDF_ENCRYPT_NONE
    return bytes(document.tobytes(encryption=encryption, owner_pw=owner_password, user_pw=user_password))


def damaged_but_complete_pdf() -> bytes:
    """Its cross-reference table points nowhere, but all of it is there."""
    data = pdf("All of it is here")
    start = data.rindex(b"startxref")
    return data[:start] + b"startxref\n7\n%%EOF\n"


def picture_pdf() -> bytes:
    """A page with a drawing and no text."""
    document = pymupdf.open()
    document.new_page().draw_circle((100, 100), 50)
    return bytes(document.tobytes())


def endless_pdf() -> bytes:
    """A page that draws a form that draws a form …, ten each time, ten deep: ten thousand million pieces of text."""
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R>>",
        2: b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        3: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</XObject<</F 10 0 R>>>>>>",
        4: _stream(b"/F Do\n" * 10),
        5: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    }
    deepest = 19
    for number in range(10, deepest):
        resources = b"/Resources<</XObject<</F %d 0 R>>>>" % (number + 1)
        objects[number] = _stream(b"/F Do\n" * 10, b"/Type/XObject/Subtype/Form/BBox[0 0 600 800]" + resources)
    text = b"/Type/XObject/Subtype/Form/BBox[0 0 600 800]/Resources<</Font<</T 5 0 R>>>>"
    objects[deepest] = _stream(b"BT /T 1 Tf (x) Tj ET", text)
    return raw_pdf(objects)


def greedy_pdf(inflated_bytes: int) -> bytes:
    """A page whose content is text without end, a thousandth the size while it is compressed."""
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R>>",
        2: b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        3: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</T 5 0 R>>>>>>",
        4: _stream(
            zlib.compress(b"BT /T 1 Tf " + b"(abcdefgh) Tj " * (inflated_bytes // 14) + b"ET"), b"/Filter/FlateDecode"
        ),
        5: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    }
    return raw_pdf(objects)


def one_page_pdf(content: bytes) -> bytes:
    """A page of this content, which may set text in the font T."""
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R>>",
        2: b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        3: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</T 5 0 R>>>>>>",
        4: _stream(content),
        5: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    }
    return raw_pdf(objects)


def pdf_that_says(pages: int) -> bytes:
    """One page, and a page tree that says it has so many."""
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R>>",
        2: b"<</Type/Pages/Kids[3 0 R]/Count %d>>" % pages,
        3: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R>>",
        4: _stream(b""),
    }
    return raw_pdf(objects)


def pdf_bomb(inflated_bytes: int) -> bytes:
    """A page whose content is compressed twice: a millionth the size of the text that it draws."""
    squeeze = zlib.compressobj(9)
    piece = b"(abcdefgh) Tj " * (_MIB // 14)
    once = squeeze.compress(b"BT /T 1 Tf ")
    once += b"".join(squeeze.compress(piece) for _ in range(inflated_bytes // _MIB)) + squeeze.flush()
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R>>",
        2: b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        3: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</T 5 0 R>>>>>>",
        4: _stream(zlib.compress(once, 9), b"/Filter[/FlateDecode/FlateDecode]"),
        5: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    }
    return raw_pdf(objects)


def docx_with_many_parts(declared_bytes: int) -> bytes:
    """Parts that together say to unfold to so many bytes, none of them to many, and all of them lie."""
    share = _MIB
    squeezed = {f"word/part{number}.xml": b"" for number in range(declared_bytes // share)}
    data = bytearray(docx("Hello", members=squeezed))
    position = data.find(b"PK\x01\x02")
    while position >= 0:
        length = int.from_bytes(data[position + 28 : position + 30], "little")
        if data[position + 46 : position + 46 + length].startswith(b"word/part"):
            data[position + 24 : position + 28] = share.to_bytes(4, "little")
        position = data.find(b"PK\x01\x02", position + 1)
    return bytes(data)


def raw_pdf(objects: Mapping[int, bytes]) -> bytes:
    """A PDF of these objects, with a right cross-reference table."""
    out = io.BytesIO(b"%PDF-1.7\n")
    out.seek(0, io.SEEK_END)
    offsets = {}
    for number, body in objects.items():
        offsets[number] = out.tell()
        out.write(b"%d 0 obj\n%b\nendobj\n" % (number, body))
    table = out.tell()
    out.write(b"xref\n0 1\n0000000000 65535 f \n")
    for number, offset in offsets.items():
        out.write(b"%d 1\n%010d 00000 n \n" % (number, offset))
    out.write(b"trailer\n<</Root 1 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF\n" % (max(objects) + 1, table))
    return out.getvalue()


def _stream(content: bytes, entries: bytes = b"") -> bytes:
    return b"<<%b/Length %d>>\nstream\n%b\nendstream" % (entries, len(content), content)


def docx(*paragraphs: str, body: str = "", note: str = "", members: Mapping[str, bytes] | None = None) -> bytes:
    """A Word document of paragraphs, or of raw WordprocessingML, perhaps with a footnote."""
    document = _part("document", f"<w:body>{body or ''.join(map(_paragraph, paragraphs))}</w:body>")
    notes = {"word/footnotes.xml": _part("footnotes", _paragraph(note))} if note else {}
    return archive({"[Content_Types].xml": b"<Types/>", "word/document.xml": document, **notes, **(members or {})})


def _part(name: str, content: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?><w:{name} xmlns:w="{_W}">{content}</w:{name}>'.encode()


def _paragraph(text: str) -> str:
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def table(rows: Iterable[Iterable[str]]) -> str:
    """WordprocessingML of a table."""

    lines = ("".join(f"<w:tc>{_paragraph(cell)}</w:tc>" for cell in row) for row in rows)
    return "<w:tbl>" + "".join(f"<w:tr>{line}</w:tr>" for line in lines) + "</w:tbl>"


def archive(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return out.getvalue()


def office(*members: str) -> bytes:
    """What a file of Office's holds, by the names of its members alone."""
    return archive({"[Content_Types].xml": b"<Types/>", **dict.fromkeys(members, b"")})


def docx_bomb(inflated_bytes: int, declared_bytes: int | None = None) -> bytes:
    """A document that unfolds to so many bytes of blanks, and is a thousandth of that; its directory may lie."""
    squeeze = zlib.compressobj(wbits=-15)
    # The same compressed mebibyte again and again: to compress two gigabytes takes half a minute.
    piece = squeeze.compress(b" " * _MIB) + squeeze.flush(zlib.Z_FULL_FLUSH)
    data = piece * (inflated_bytes // _MIB) + squeeze.flush()
    declared = inflated_bytes if declared_bytes is None else declared_bytes
    members = ((b"[Content_Types].xml", 0, b"", 0), (b"word/document.xml", 8, data, declared))
    local = directory = b""
    for name, method, content, size in members:
        # From APPNOTE.TXT: version, flags, method, time, date, CRC, sizes packed and not, lengths of name and extra.
        entry = struct.pack("<5H3I2H", 20, 0, method, 0, 0, 0, len(content), size, len(name), 0)
        directory += b"PK\x01\x02" + struct.pack("<H", 20) + entry + struct.pack("<3H2I", 0, 0, 0, 0, len(local)) + name
        local += b"PK\x03\x04" + entry + name + content
    end = b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 2, 2, len(directory), len(local), 0)
    return local + directory + end


def large_text(path: Path, size: int) -> None:
    """Write `size` bytes or a little more of English and Chinese prose."""
    prose = (
        "The quick brown fox jumps over the lazy dog, number {}. It does so every day. 敏捷的棕色狐狸跳过了懒狗。"
        "它每天都这样做。\n\n"
    )
    with path.open("w", encoding="utf-8") as file:
        number = 0
        while file.tell() < size:
            file.writelines(prose.format(number + ahead) for ahead in range(1000))
            number += 1000


def compound(*names: str, within: Iterable[str] = (), endless: bool = False) -> bytes:
    """An OLE2 file with empty streams of these names, beside others within a storage; an endless directory follows its
    own tail.
    """
    within = tuple(within)
    deep = len(names) + 1
    entries = _compound_entry("Root Entry", 5, child=1)
    for number, name in enumerate(names, start=1):
        entries += _compound_entry(name, 2, right=number + 1)
    entries += _compound_entry("Storage", 1, child=deep + 1)
    for number, name in enumerate(within, start=deep + 1):
        entries += _compound_entry(name, 2, right=number + 1 if number < deep + len(within) else _NOBODY)
    sectors = -(-len(entries) // 512)
    chain = [0xFFFFFFFD, *range(2, sectors + 1), 1 if endless else 0xFFFFFFFE]
    tables = -(-len(chain) // 128)
    assert tables < 109
    # The tables come last but for the first, which stands before the directory.
    at = [0, *range(sectors + 1, sectors + tables)]
    table = struct.pack(f"<{128 * tables}I", *chain, *[0xFFFFFFFF] * (128 * tables - len(chain)))
    header = struct.pack(
        "<8s16x5H6x9I",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        0x3E,
        3,
        0xFFFE,
        9,
        6,
        0,
        tables,
        1,
        0,
        4096,
        0xFFFFFFFE,
        0,
        0xFFFFFFFE,
        0,
    )
    header += struct.pack("<109I", *at, *[0xFFFFFFFF] * (109 - tables))
    return header + table[:512] + entries.ljust(512 * sectors, b"\0") + table[512:]


def _compound_entry(name: str, kind: int, *, right: int = _NOBODY, child: int = _NOBODY) -> bytes:
    """Of [MS-CFB] 2.6.1: name, its length, kind, colour, left, right, child, …, first sector, size."""
    rest = struct.pack("<HBB3I36xIQ", 2 * len(name) + 2, kind, 1, _NOBODY, right, child, 0xFFFFFFFE, 0)
    return name.encode("utf-16-le").ljust(64, b"\0") + rest


_ODF = "".join(
    f' xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for prefix, name in (
        *(("office", "office"), ("text", "text"), ("table", "table"), ("style", "style")),
        *(("draw", "drawing"), ("presentation", "presentation")),
    )
)


def opendocument(kind: str, body: str, styles: str = "", members: Mapping[str, bytes] | None = None) -> bytes:
    """An OpenDocument file of that kind ("text", "spreadsheet", "presentation") with these automatic styles."""
    content = f"<office:automatic-styles>{styles}</office:automatic-styles><office:body>{body}</office:body>"
    whole = f"<office:document-content{_ODF}>{content}</office:document-content>".encode()
    return stored_first(f"application/vnd.oasis.opendocument.{kind}", {"content.xml": whole, **(members or {})})


def stored_first(media_type: str, members: Mapping[str, bytes]) -> bytes:
    """A zip that begins with its media type, as OpenDocument and EPUB do."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("mimetype", media_type, zipfile.ZIP_STORED)
        for name, data in members.items():
            file.writestr(name, data)
    return out.getvalue()


def epub(*chapters: str, members: Mapping[str, bytes] | None = None) -> bytes:
    """A book of these chapters, each XHTML, with a table of contents before them."""
    kind = 'media-type="application/xhtml+xml"'
    items = "".join(f'<item id="c{n}" href="text%20{n}.xhtml" {kind}/>' for n in range(len(chapters)))
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
        "<dc:title>The book</dc:title><dc:creator>Ann</dc:creator><dc:creator>李明</dc:creator></metadata><manifest>"
        f'<item id="nav" href="nav.xhtml" properties="nav" {kind}/>'
        f'<item id="i" href="i.png" media-type="image/png"/>{items}</manifest>'
        f'<spine><itemref idref="nav"/><itemref idref="i"/>{spine}</spine></package>'
    )
    container = '<container><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>'
    texts = {f"OPS/text {n}.xhtml": text.encode() for n, text in enumerate(chapters) if text}
    parts = {
        "META-INF/container.xml": container.encode(),
        "OPS/book.opf": package.encode(),
        "OPS/nav.xhtml": b"<p>Contents",
    }
    return stored_first("application/epub+zip", {**parts, **texts, **(members or {})})
