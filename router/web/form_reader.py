"""A multipart form, read as it comes: fields kept, the file's bytes to be taken away piece by piece."""

from __future__ import annotations

from email.message import Message
from email.utils import collapse_rfc2231_value

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from common.errors import RequestError, TooLarge, UnsupportedMedia

FILE = "file"
_MOST_FIELDS = 50


class FormReader:
    """`fields`: those that have come whole. `data`: what of the file has come and was not taken; empty it in time.

    Raises `UnsupportedMedia` for a body that is no form, `RequestError` (INVALID_FORM, NO_FILE) for a broken one,
    `TooLarge` as soon as the file or all the fields together pass their limit.
    """

    def __init__(self, content_type: str, *, max_file_bytes: int, max_field_bytes: int) -> None:
        self._max_file_bytes, self._max_field_bytes = max_file_bytes, max_field_bytes
        self._file_bytes = self._field_bytes = 0
        self._headers: dict[bytes, bytes] = {}
        self._header, self._value = bytearray(), bytearray()
        self._name: str | None = None  # of the field that is coming; None while the file is
        self._field = bytearray()
        self._ended = False
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.content_type: str | None = None
        self.data = bytearray()
        self._parser = self._made(content_type)

    def _made(self, content_type: str) -> MultipartParser:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data":
            raise UnsupportedMedia("Send a form, with the header `Content-Type: multipart/form-data; boundary=…`.")
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise _broken("its Content-Type names no boundary")
        try:
            return MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._look,
                    "on_part_data": self._take,
                    "on_part_end": self._end,
                    "on_end": self._end_form,
                },
            )
        except FormParserError as error:
            raise _broken(str(error)) from error

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _broken(str(error)) from error

    def close(self) -> None:
        """The body has ended; was it a whole form?"""
        if not self._ended:
            raise _broken("it ends before its last boundary")
        if self.filename is None:
            raise RequestError(f"The form has no file: send one as the field {FILE!r}.", code="NO_FILE")

    def take(self, size: int) -> bytearray:
        """The first `size` bytes of `data`, which has them."""
        taken, self.data = self.data, self.data[size:]
        del taken[size:]
        return taken

    # What the parser calls.

    def _begin(self) -> None:
        self._headers = {}
        self._name, self._field = None, bytearray()

    def _end_header(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _look(self) -> None:
        disposition = _parameters(self._headers.get(b"content-disposition", b""))
        name = disposition.get("name")
        if name is None:
            raise _broken("a part of it has no name")
        if "filename" not in disposition and name != FILE:
            self._open_field(name)
        elif name != FILE or self.filename is not None:
            raise _broken(f"it has a file as {name!r}, and this call takes one, as {FILE!r}")
        elif not disposition.get("filename"):
            raise RequestError(f"The form's field {FILE!r} is no file: it has no filename.", code="NO_FILE")
        else:
            self.filename = disposition["filename"]
            self.content_type = self._headers.get(b"content-type", b"").decode(errors="replace")

    def _open_field(self, name: str) -> None:
        if name in self.fields:
            raise _broken(f"it has the field {name!r} twice")
        if len(self.fields) == _MOST_FIELDS:
            raise TooLarge(f"The form has more than {_MOST_FIELDS} fields.")
        self._name = name

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._name is None:
            self._file_bytes += end - start
            if self._file_bytes > self._max_file_bytes:
                raise TooLarge(f"The file is larger than {self._max_file_bytes:,} bytes.")
            self.data += memoryview(data)[start:end]
        else:
            self._field_bytes += end - start
            if self._field_bytes > self._max_field_bytes:
                raise TooLarge(f"The form's fields are larger than {self._max_field_bytes:,} bytes.")
            self._field += memoryview(data)[start:end]

    def _end(self) -> None:
        if self._name is not None:
            try:
                self.fields[self._name] = self._field.decode()
            except UnicodeDecodeError as error:
                raise _broken(f"its field {self._name!r} is not UTF-8") from error

    def _end_form(self) -> None:
        self._ended = True


def _parameters(disposition: bytes) -> dict[str, str]:
    """Of a Content-Disposition: names as browsers and curl send them, in plain UTF-8, and as RFC 5987 has them.

    `filename*` is not for forms, says RFC 7578; clients send it all the same, and then mean it more than `filename`.
    """
    message = Message()
    message["Content-Disposition"] = disposition.decode(errors="replace")
    # The standard library puts the extended ones last.
    found = message.get_params(failobj=[], header="Content-Disposition")
    return {name.lower(): collapse_rfc2231_value(value) for name, value in found}


def _broken(why: str) -> RequestError:
    return RequestError(f"The form cannot be read: {why}.", code="INVALID_FORM")
