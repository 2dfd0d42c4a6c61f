"""What is measured on: Debian's reference in English and in Chinese, its pages one by one, and a very long text."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import cycle, islice
from pathlib import Path

import pymupdf

from common.errors import BrigadeError

_PACKAGES = ("debian-reference-en", "debian-reference-zh-cn")
# Debian's package, and where in it the chapters are, of a book in each language.
_CHAPTERS = {
    ("reference", "en"): (_PACKAGES[0], "usr/share/debian-reference/ch*.en.html"),
    ("reference", "zh-cn"): (_PACKAGES[1], "usr/share/debian-reference/ch*.zh-cn.html"),
    ("guide", "en"): ("installation-guide-amd64", "usr/share/doc/installation-guide-amd64/en/[ac]*.html"),
    ("guide", "zh-cn"): ("installation-guide-amd64", "usr/share/doc/installation-guide-amd64/zh_CN/[ac]*.html"),
    ("handbook", "en"): ("debian-handbook", "usr/share/doc/debian-handbook/html/en-US/sect.*.html"),
    ("handbook", "zh-cn"): ("debian-handbook", "usr/share/doc/debian-handbook/html/zh-CN/sect.*.html"),
}
# What leads from page to page has headings of its own and of others.
_AROUND = re.compile(
    r"<title.*?</title>|<div[^>]*class=\"navheader\".*?</table>|<div[^>]*class=\"navfooter\".*"
    r"|<ul class=\"docnav.*?</ul>",
    re.DOTALL,
)
# A page with less is a title, or blank.
_LEAST_CHARACTERS = 500
_MIB = 1 << 20


class CorpusMissing(BrigadeError):
    """The documents to measure on could not be had."""

    code = "CORPUS_MISSING"


class Corpus:
    """Keeps what it fetched and cut in `directory`, for the next time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    @cached_property
    def long_pdfs(self) -> list[Path]:
        """The two books: 261 and 251 pages in version 2.100."""
        return [self._pdf(package) for package in _PACKAGES]

    def chapters(self, book: str, language: str) -> list[Path]:
        """Those of Debian's "reference", installation "guide" or administrator's "handbook" in "en" or "zh-cn"."""
        directory = self._directory / f"{book}-{language}"
        if not directory.exists():
            name, pages = _CHAPTERS[book, language]
            with _unfolded(name, directory.with_suffix(".package")) as package:
                unfinished = directory.with_suffix(".new")
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir()
                for page in package.glob(pages):
                    (unfinished / page.name).write_text(_AROUND.sub("", page.read_text("utf-8")), "utf-8")
                unfinished.replace(directory)
        return sorted(directory.glob("*.html"))

    def one_pagers(self, count: int, *, edition: int = 0) -> list[bytes]:
        """PDFs of one real page each, English and Chinese in turn. No two have the same bytes, in any edition.

        They are different pages as long as there are any; then they come again, with something behind their end.
        """
        pages = [path.read_bytes() for path in self._pages(min(count, self._available))]
        return [_salted(page, edition, number // len(pages)) for number, page in enumerate(islice(cycle(pages), count))]

    def marked(self, number: int, mark: str) -> bytes:
        """One of the pages, with a line of its own at the top."""
        (path,) = islice(self._pages(self._available), number % self._available, number % self._available + 1)
        with pymupdf.open(path) as document:
            document[0].insert_text((72, 24), mark)
            return bytes(document.tobytes())

    def text(self, megabytes: int) -> Path:
        """A UTF-8 text of so many MiB: both books over and over, each time under a heading of its own."""
        path = self._directory / f"text-{megabytes}.txt"
        if not path.exists():
            unfinished = path.with_suffix(".new")
            with unfinished.open("wb") as file:
                for part in self._endless_text():
                    file.write(part[: megabytes * _MIB - file.tell()])
                    if file.tell() == megabytes * _MIB:
                        break
            unfinished.replace(path)
        return path

    def _endless_text(self) -> Iterator[bytes]:
        books = []
        for path in self.long_pdfs:
            with pymupdf.open(path) as document:
                books.append("\n\n".join(page.get_text() for page in document))
        for number, book in enumerate(cycle(books), start=1):
            yield f"\n\nVolume {number}\n\n{book}".encode()

    @cached_property
    def _texts(self) -> list[tuple[Path, int]]:
        """Book and page number of each page with text, the books in turn."""
        found = []
        for path in self.long_pdfs:
            with pymupdf.open(path) as document:
                numbers = [page.number for page in document if len(page.get_text()) >= _LEAST_CHARACTERS]
            found.append([(path, number) for number in numbers])
        return [one for pair in zip(*found, strict=False) for one in pair]

    @property
    def _available(self) -> int:
        return len(self._texts)

    def _pages(self, count: int) -> Iterator[Path]:
        """The first `count` pages with text as files; a page takes 40 ms to cut, once."""
        directory = self._directory / "pages"
        directory.mkdir(exist_ok=True)
        for book, number in self._texts[:count]:
            path = directory / f"{book.stem}-{number:03}.pdf"
            if not path.exists():
                unfinished = path.with_suffix(".new")
                unfinished.write_bytes(_cut(book, number))
                unfinished.replace(path)
            yield path

    def _pdf(self, package: str) -> Path:
        path = self._directory / f"{package}.pdf"
        if not path.exists():
            with _unfolded(package, path.with_suffix(".package")) as directory:
                (found,) = directory.glob("usr/share/**/*.pdf*")
                data = found.read_bytes()
                path.write_bytes(gzip.decompress(data) if found.suffix == ".gz" else data)
        return path


def _cut(book: Path, number: int) -> bytes:
    with pymupdf.open(book) as source, pymupdf.open() as page:
        page.insert_pdf(source, from_page=number, to_page=number, links=False, annots=False)
        return bytes(page.tobytes(garbage=3, deflate=True))


def _salted(pdf: bytes, edition: int, copy: int) -> bytes:
    # Readers look for the end mark in the last 1,024 bytes, so a comment behind it changes nothing.
    return pdf + b"%% edition %d, copy %d\n" % (edition, copy)


@contextmanager
def _unfolded(package: str, directory: Path) -> Iterator[Path]:
    """What a Debian package holds. Needs no root: it is downloaded and unfolded, not installed."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise CorpusMissing(
            f"The documents to measure on come from Debian's package {package}, but this machine has no apt-get. "
            f"Put its PDF and its chapters where {directory.parent} has those of others."
        )
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    _run(["apt-get", "download", "-q", package], directory, package)
    (archive,) = directory.glob("*.deb")
    _run(["dpkg-deb", "-x", archive.name, "."], directory, package)
    yield directory
    shutil.rmtree(directory)


def _run(command: list[str], directory: Path, package: str) -> None:
    ended = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise CorpusMissing(
            f"Could not get Debian's package {package}: {' '.join(command)} said:\n{ended.stderr.strip()}\n"
            "If it is unknown, type: sudo apt-get update"
        )
