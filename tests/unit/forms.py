"""Multipart forms as clients send them, byte by byte."""

from __future__ import annotations

KIND = "multipart/form-data; boundary=x-x"


def part(disposition: str, content: bytes = b"", more: str = "") -> bytes:
    return f"--x-x\r\nContent-Disposition: form-data; {disposition}\r\n{more}\r\n".encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--x-x--\r\n"


def file(content: bytes = b"bytes", name: str = 'filename="a.txt"') -> bytes:
    return part(f'name="file"; {name}', content)
