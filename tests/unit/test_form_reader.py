"""Forms with a file in them, read as they come, however they are cut."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BrigadeError, RequestError, TooLarge
from common.http import Call
from common.principal import Principal
from common.services import Services
from common.settings import Settings
from functions.http.streamed import DocumentForm, DocumentUpload, decode_form
from router.web.form_reader import FormReader
from tests.unit.forms import KIND, file, form, part


def reader(kind: str = KIND) -> FormReader:
    return FormReader(kind, max_file_bytes=1000, max_field_bytes=100)


def read(body: bytes, kind: str = KIND) -> FormReader:
    found = reader(kind)
    found.feed(body)
    found.close()
    return found


@given(
    content=st.binary(max_size=300) | st.lists(st.sampled_from([b"\r\n", b"--x-x", b"-", b"\r", b"a"])).map(b"".join),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=30),
)
def test_a_form_is_the_same_however_it_is_cut(content: bytes, sizes: list[int]) -> None:
    if b"\r\n--x-x" in b"\r\n" + content:
        return  # that is a boundary
    body = form(part('name="a"', "前".encode()), file(content), part('name="b"', b"after"))
    found, at = reader(), 0
    while at < len(body):
        size = sizes[at % len(sizes)]
        found.feed(body[at : at + size])
        at += size
    found.close()
    assert (found.fields, found.filename, bytes(found.data)) == ({"a": "前", "b": "after"}, "a.txt", content)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ('filename="中文 名.txt"', "中文 名.txt"),
        ("filename*=UTF-8''%E4%B8%AD%E6%96%87.txt", "中文.txt"),
        ("filename*=UTF-8''%E4%B8%AD.txt; filename=\"plain.txt\"", "中.txt"),
        ("filename=\"plain.txt\"; filename*=utf-8'zh'%E4%B8%AD.txt", "中.txt"),
        (r'filename="a\"b;c.txt"', 'a"b;c.txt'),
        ("filename=bare.txt", "bare.txt"),
        ("filename=\"a; filename*=UTF-8''b.txt\"", "a; filename*=UTF-8''b.txt"),
    ],
)
def test_a_file_has_the_name_that_its_client_means(said: str, name: str) -> None:
    assert read(form(file(name=said))).filename == name


@given(st.text(max_size=200).filter(lambda text: "\r" not in text and "\n" not in text))
def test_no_disposition_is_a_fault_of_ours(said: str) -> None:
    with suppress(BrigadeError):
        read(form(file(name=said)))


def test_a_part_says_nothing_of_the_next() -> None:
    assert read(form(part('name="a"', b"", "Content-Type: text/html\r\n"), file())).content_type == ""


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "INVALID_FORM"),
        (b"{}", "INVALID_FORM"),
        (file(), "INVALID_FORM"),
        (form(), "NO_FILE"),
        (form(part('name="metadata"', b"{}")), "NO_FILE"),
        (form(part('name="file"', b"text")), "NO_FILE"),
        (form(part('name="file"; filename=""')), "NO_FILE"),
        (form(file(), file()), "INVALID_FORM"),
        (form(file(), part('name="other"; filename="b"')), "INVALID_FORM"),
        (form(part('filename="a"')), "INVALID_FORM"),
        (form(b"--x-x\r\n\r\nbare\r\n"), "INVALID_FORM"),
        (form(part('name="a"', b"1"), part('name="a"', b"2"), file()), "INVALID_FORM"),
        (form(part('name="a"', b"\xff"), file()), "INVALID_FORM"),
        (form(part('name="a"', b"1", "X: " + 5000 * "y" + "\r\n")), "INVALID_FORM"),
        (form(part('name="a"', b"1", 20 * "X: y\r\n")), "INVALID_FORM"),
        (form(part('name="a"', bytes(101)), file()), "TOO_LARGE"),
        (form(*(part(f'name="{n}"') for n in range(51)), file()), "TOO_LARGE"),
        (form(file(bytes(1001))), "TOO_LARGE"),
    ],
)
def test_a_form_that_is_not_right_is_refused_with_a_reason(body: bytes, code: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(body)
    assert caught.value.code == code


def test_a_file_and_fields_of_just_their_limits_are_taken() -> None:
    found = read(form(part('name="a"', 100 * b"f"), file(1000 * b"c")))
    assert (len(found.fields["a"]), len(found.data)) == (100, 1000)


def test_a_file_that_is_taken_away_counts_still() -> None:
    found = reader()
    found.feed(part('name="file"; filename="a"', bytes(900)))
    assert found.take(100) == bytes(100)
    with pytest.raises(TooLarge):
        found.feed(bytes(101))


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("", 415),
        ("application/json", 415),
        ("multipart/mixed; boundary=x-x", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        ("multipart/form-data; boundary=" + 300 * "x", 400),
    ],
)
def test_a_body_that_is_no_form_is_refused_by_its_header(kind: str, status: int) -> None:
    with pytest.raises(RequestError) as caught:
        reader(kind)
    assert caught.value.status == status


def test_fields_are_read_as_what_they_are_to_be() -> None:
    given = {"metadata": '{"a": [1]}', "allow_duplicate": "true", "sha256": "", "csrf": "x", "knowledge_base_id": "b"}
    assert decode_form(given) == DocumentForm(metadata={"a": [1]}, allow_duplicate=True, knowledge_base_id="b")


@pytest.mark.parametrize(
    "given",
    [
        {"metadata": "{"},
        {"metadata": "[]"},
        {"metadata": "null"},
        {"metadata": '{"a": "\\u0000"}'},
        {"sha256": "abc"},
        {"allow_duplicate": "perhaps"},
        {"knowledge_base_id": "a\0"},
        {"knowledge_base_id": 201 * "a"},
    ],
)
def test_fields_that_are_not_right_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(RequestError) as caught:
        decode_form(given)
    assert caught.value.code == "INVALID_BODY"


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ('{"a": ' + 40 * "[" + 40 * "]" + "}", "INVALID_BODY"),
        ('{"a": "' + 20_000 * "b" + '"}', "METADATA_TOO_LARGE"),
    ],
)
def test_metadata_before_the_file_is_refused_before_it_comes(metadata: str, code: str) -> None:
    services = cast("Services", SimpleNamespace(settings=Settings()))
    upload = DocumentUpload(Call(services, {}, Principal("me", is_admin=False)))
    with pytest.raises(RequestError) as caught:
        upload.begin("a.txt", "", {"metadata": metadata})
    assert caught.value.code == code
    upload.abort()
