"""/docs: the API for people to read and try, by Swagger UI, whose files come from this server and no other."""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from router.web.routes import Served

# They change with the package only.
_CACHED = {"Cache-Control": "public, max-age=86400"}

# It makes no use of eval, but draws with styles of its own making and icons written into its CSS.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Bucket Brigade: the API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="stylesheet" href="docs/index.css">
<link rel="icon" type="image/png" href="docs/favicon-32x32.png" sizes="32x32">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""

# A file of its own, because the policy allows no script within the page.
_START = """SwaggerUIBundle({
  url: new URL("openapi.json", document.baseURI).href,
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: false,
  validatorUrl: null,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
});
"""

_FILES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "index.css": "text/css",
    "favicon-32x32.png": "image/png",
}


def docs() -> list[Served]:
    """The page, what starts it, and the files that it needs."""

    async def page(_request: Request) -> Response:
        return Response(_PAGE, media_type="text/html", headers={"Content-Security-Policy": _POLICY})

    async def start(_request: Request) -> Response:
        return Response(_START, media_type="text/javascript", headers=_CACHED)

    # Looked up and not imported: the package's own code draws in a template engine and several web frameworks.
    directory = Path(str(distribution("swagger-ui-py").locate_file("swagger_ui/static")))
    files = [_file(directory / name, media_type) for name, media_type in _FILES.items()]
    return [Served("GET", "/docs", page), Served("GET", "/docs/start.js", start), *files]


def _file(path: Path, media_type: str) -> Served:
    async def send(_request: Request) -> Response:
        return FileResponse(path, media_type=media_type, headers=_CACHED)

    return Served("GET", f"/docs/{path.name}", send)
