"""What the page shows for the main calls: real-looking, and true to the types, which a test sees to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TASK = "0199f2c8-5d3e-7b1a-9c44-2f6f0c1b7e90"
_DOCUMENT = "0199f2c8-5d3e-7a02-8d11-6b7a5e0c3f21"
_KEY = f"incoming/{_DOCUMENT}/handbook.pdf"

EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "create_upload": {
        "body": {
            "filename": "handbook.pdf",
            "size": 1_482_330,
            "content_type": "application/pdf",
            "metadata": {"department": "people", "language": "de"},
        },
    },
    "search": {
        "body": {"query": "How many days of leave do I have?", "top_k": 3, "mode": "hybrid"},
        "answer": {
            "hits": [
                {
                    "document_id": _DOCUMENT,
                    "document_name": "handbook.pdf",
                    "version": 1,
                    "chunk": 17,
                    "page": 12,
                    "start": 20_133,
                    "end": 20_841,
                    "text": "Everybody has 30 days of leave a year, of which five may be taken in the next.",
                    "score": 0.0328,
                }
            ],
            "took_ms": 21.4,
        },
    },
}
