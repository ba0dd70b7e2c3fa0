"""The rendered dashboard and reports, behind the login."""

import mimetypes
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response

from dmp_assets.platform.api.access import needs
from dmp_assets.platform.api.advertisers import see_report
from dmp_assets.platform.api.problems import Problem, responses
from dmp_assets.platform.api.routes.pages import PageRoute
from dmp_assets.platform.api.state import service_of
from dmp_assets.platform.store.access import Principal

router = APIRouter(prefix="/reports", tags=["reports"], route_class=PageRoute)
# Reports are self-contained pages whose scripts draw charts: they may run, and reach nothing.
_POLICY = (
    "sandbox allow-scripts allow-downloads allow-popups; default-src 'none'; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "frame-ancestors 'none'"
)


@router.get(
    "/{name:path}",
    response_class=Response,
    responses={
        200: {"content": {"text/html": {}}, "description": "The page."},
        **responses(401, 403, 429),
    },
)
def report(
    request: Request,
    name: Annotated[str, Path(max_length=200, description="e.g. `index.html`.")],
    who: Annotated[Principal, Depends(needs("reports:read"))],
) -> Any:
    """A rendered report; `index.html` lists them."""
    folder = service_of(request).home.reports.resolve()
    try:
        path = (folder / (name or "index.html")).resolve()
        there = path.is_relative_to(folder) and path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        there = False
    if not there:
        raise Problem(404, "not-found", "there is no such report; see /reports/index.html")
    see_report(request, who, path.stem)
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "private, no-cache"}
    return Response(path.read_bytes(), media_type=kind, headers=headers)
