"""Writes `.env` for docker-compose.yml, every secret made anew: `python3 -m deploy.docker.env`.

It needs Python alone, so that a machine with nothing but Docker on it can start from a checkout.
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

EXAMPLE = Path(__file__).with_name("env.example")
_SECRET_BYTES = 16


def filled(example: str) -> str:
    """The example with a secret of 128 random bits after each `NAME=` that has no value; hex, as it goes into URLs."""
    return re.sub(r"^(\w+)=$", lambda line: f"{line[0]}{secrets.token_hex(_SECRET_BYTES)}", example, flags=re.MULTILINE)


def main() -> None:
    content = filled(EXAMPLE.read_text())
    try:
        file = os.open(".env", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SystemExit(
            "error: .env is there already, and the data in Docker's volumes is under its passwords. "
            "To begin anew, type: docker compose down --volumes && rm .env"
        ) from None
    with os.fdopen(file, "w") as env:
        env.write(content)
    print("The secrets are in .env. Next, type: docker compose up --build --wait")


if __name__ == "__main__":
    main()
