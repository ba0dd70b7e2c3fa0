"""The documents that our client sends to the Admin GraphQL API, and nothing else.

Of money the shop's own currency is taken, for sums; of an order's total that of the buyer, too.
"""

MONEY = "{ amount currencyCode }"
SHOP_MONEY = f"{{ shopMoney {MONEY} }}"

_ORDER = f"""
id legacyResourceId name createdAt processedAt updatedAt cancelledAt cancelReason closedAt test
confirmed displayFinancialStatus sourceName currencyCode presentmentCurrencyCode taxesIncluded
discountCodes tags
totalPriceSet {{ shopMoney {MONEY} presentmentMoney {MONEY} }}
subtotalPriceSet {SHOP_MONEY} totalDiscountsSet {SHOP_MONEY} totalShippingPriceSet {SHOP_MONEY}
totalTaxSet {SHOP_MONEY} totalRefundedSet {SHOP_MONEY} currentTotalPriceSet {SHOP_MONEY}
currentSubtotalPriceSet {SHOP_MONEY} netPaymentSet {SHOP_MONEY}
transactions {{ id kind status gateway processedAt amountSet {SHOP_MONEY} fees {{ amount {MONEY} }} }}
refunds {{ id createdAt totalRefundedSet {SHOP_MONEY} }}
"""  # noqa: E501
_CUSTOMER = "customer { id numberOfOrders }"
_LINE = f"""
id sku quantity currentQuantity isGiftCard originalUnitPriceSet {SHOP_MONEY}
discountedTotalSet {SHOP_MONEY} variant {{ id }}
"""
_UTM = "utmParameters { source medium campaign content term }"
_VISIT = f"occurredAt source sourceType landingPage referrerUrl {_UTM}"
_JOURNEY = f"""
customerJourneySummary {{
  ready customerOrderIndex daysToConversion firstVisit {{ {_VISIT} }} lastVisit {{ {_VISIT} }}
}}
"""
_PAGE = "pageInfo { hasNextPage endCursor }"

SHOP = "{ shop { id name myshopifyDomain currencyCode ianaTimezone plan { publicDisplayName } } }"
ACCESS_SCOPES = "{ currentAppInstallation { accessScopes { handle } } }"

ORDERS = f"""
query Orders($first: Int!, $after: String, $query: String!) {{
  orders(first: $first, after: $after, sortKey: UPDATED_AT, query: $query) {{
    {_PAGE}
    nodes {{
      {_ORDER} {_CUSTOMER} {_JOURNEY}
      lineItems(first: 5) {{ {_PAGE} nodes {{ {_LINE} }} }}
    }}
  }}
}}
"""
ORDERS_BY_ID = f"""
query OrdersById($ids: [ID!]!) {{
  nodes(ids: $ids) {{
    ... on Order {{
      {_ORDER} {_CUSTOMER} {_JOURNEY}
      lineItems(first: 5) {{ {_PAGE} nodes {{ {_LINE} }} }}
    }}
  }}
}}
"""
LINES = f"""
query Lines($id: ID!, $first: Int!, $after: String) {{
  order(id: $id) {{ lineItems(first: $first, after: $after) {{ {_PAGE} nodes {{ {_LINE} }} }} }}
}}
"""
_REFUND_LINE = f"""
id quantity restockType subtotalSet {SHOP_MONEY} totalTaxSet {SHOP_MONEY} lineItem {{ id }}
"""
_ADJUSTMENT = f"id reason amountSet {SHOP_MONEY} taxAmountSet {SHOP_MONEY}"
REFUNDS = f"""
query Refunds($ids: [ID!]!) {{
  nodes(ids: $ids) {{
    ... on Order {{
      id updatedAt
      refunds {{
        id
        refundLineItems(first: 5) {{ {_PAGE} nodes {{ {_REFUND_LINE} }} }}
        orderAdjustments(first: 5) {{ {_PAGE} nodes {{ {_ADJUSTMENT} }} }}
      }}
    }}
  }}
}}
"""
REFUND_LINES = f"""
query RefundLines($id: ID!, $first: Int!, $after: String) {{
  refund(id: $id) {{
    refundLineItems(first: $first, after: $after) {{ {_PAGE} nodes {{ {_REFUND_LINE} }} }}
  }}
}}
"""
REFUND_ADJUSTMENTS = f"""
query RefundAdjustments($id: ID!, $first: Int!, $after: String) {{
  refund(id: $id) {{
    orderAdjustments(first: $first, after: $after) {{ {_PAGE} nodes {{ {_ADJUSTMENT} }} }}
  }}
}}
"""
JOURNEYS = f"""
query Journeys($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on Order {{ id updatedAt {_JOURNEY} }} }} }}
"""
ORDER_IDS = f"""
query OrderIds($first: Int!, $after: String, $query: String!) {{
  orders(first: $first, after: $after, sortKey: CREATED_AT, query: $query) {{
    {_PAGE} nodes {{ id }}
  }}
}}
"""
ORDERS_COUNT = "query Count($query: String!) { ordersCount(query: $query, limit: null) { count } }"
ORDERS_THERE = "query There($ids: [ID!]!) { nodes(ids: $ids) { id } }"
VARIANTS = f"""
query Variants($first: Int!, $after: String) {{
  productVariants(first: $first, after: $after, sortKey: ID) {{
    {_PAGE}
    nodes {{
      id sku title price createdAt updatedAt inventoryItem {{ id unitCost {MONEY} }}
      product {{ id title productType vendor status createdAt updatedAt }}
    }}
  }}
}}
"""


def bulk_orders(query: str, *, with_protected: bool = True) -> str:
    """Everything of orders but the lines of refunds, which no bulk operation can have.

    `query`: a search without double quotes; `with_protected`: customers and journeys, too.
    """
    protected = f"{_CUSTOMER} {_JOURNEY}" if with_protected else ""
    lines = f"lineItems {{ edges {{ node {{ {_LINE} }} }} }}"
    return f"""
{{ orders(query: "{query}") {{ edges {{ node {{ {_ORDER} {protected} {lines} }} }} }} }}
"""


BULK_RUN = """
mutation Run($query: String!) {
  bulkOperationRunQuery(query: $query, groupObjects: false) {
    bulkOperation { id status } userErrors { field message code }
  }
}
"""
BULK_OPERATION = """
query Operation($id: ID!) {
  bulkOperation(id: $id) {
    id status errorCode objectCount fileSize url partialDataUrl
  }
}
"""
BULK_CANCEL = """
mutation Cancel($id: ID!) {
  bulkOperationCancel(id: $id) { bulkOperation { id status } userErrors { field message } }
}
"""

SUBSCRIPTIONS = f"""
query Subscriptions($first: Int!, $after: String) {{
  webhookSubscriptions(first: $first, after: $after) {{ {_PAGE} nodes {{ id topic uri }} }}
}}
"""
SUBSCRIBE = """
mutation Subscribe($topic: WebhookSubscriptionTopic!, $what: WebhookSubscriptionInput!) {
  webhookSubscriptionCreate(topic: $topic, webhookSubscription: $what) {
    webhookSubscription { id } userErrors { field message }
  }
}
"""
UNINSTALL = "mutation Uninstall { appUninstall { app { id } userErrors { field message code } } }"
