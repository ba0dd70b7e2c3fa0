"""What services tell the installation of by themselves."""

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from dmp_assets.ads.service.consenting import connections_of
from dmp_assets.platform.api.problems import Problem
from dmp_assets.platform.api.state import service_of
from dmp_assets.sources.shopify.errors import WebhookRefusedError
from dmp_assets.sources.shopify.settings import ShopifySettings
from dmp_assets.sources.shopify.signatures import Secrets
from dmp_assets.sources.shopify.webhooks import WEBHOOKS, Receiver

router = APIRouter(include_in_schema=False)


@router.post(WEBHOOKS)
async def from_shopify(request: Request) -> Response:
    """Note what Shopify tells of; whoever reads the shop next acts on it.

    Raises Problem 401 for what is not signed by it with the secret of our app.
    """
    service, body = service_of(request), await request.body()
    now = service.now()
    secrets = Secrets.of(service.settings.of(ShopifySettings), now)
    receiver = Receiver(service.store, connections_of(service))
    try:
        outcome = await run_in_threadpool(
            receiver.receive, dict(request.headers), body, secrets, now
        )
    except WebhookRefusedError as error:
        service.metrics.denied.labels("webhook").inc()
        raise Problem(401, "unauthenticated", str(error)) from error
    service.log.info("webhook", service="Shopify", outcome=outcome)
    return Response(status_code=200)
