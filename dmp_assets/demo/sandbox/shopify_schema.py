"""The part of Shopify's Admin GraphQL schema (2026-10) that the sandbox serves, and who may see it.

Field names, types and nullability are Shopify's; what our connector has no use for is left out.
"""

from collections.abc import Mapping

from graphql import GraphQLSchema, build_schema

SDL = """
scalar DateTime
scalar Decimal
scalar Money
scalar URL
scalar UnsignedInt64

interface Node { id: ID! }
type PageInfo { hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String }
type Count { count: Int! precision: CountPrecision! }
enum CountPrecision { AT_LEAST EXACT }
type MoneyV2 { amount: Decimal! currencyCode: String! }
type MoneyBag { shopMoney: MoneyV2! presentmentMoney: MoneyV2! }
type UserError { field: [String!] message: String! }

enum OrderSortKeys { CREATED_AT ID PROCESSED_AT UPDATED_AT }
enum ProductVariantSortKeys { ID }

type QueryRoot {
  shop: Shop!
  currentAppInstallation: AppInstallation!
  node(id: ID!): Node
  nodes(ids: [ID!]!): [Node]!
  order(id: ID!): Order
  refund(id: ID!): Refund
  orders(first: Int, after: String, sortKey: OrderSortKeys = PROCESSED_AT,
    reverse: Boolean = false, query: String): OrderConnection!
  ordersCount(query: String, limit: Int = 10000): Count
  productVariants(first: Int, after: String, sortKey: ProductVariantSortKeys = ID,
    query: String): ProductVariantConnection!
  webhookSubscriptions(first: Int, after: String): WebhookSubscriptionConnection!
  bulkOperation(id: ID!): BulkOperation
}
type Mutation {
  bulkOperationRunQuery(query: String!, groupObjects: Boolean = false): BulkOperationRunQueryPayload
  bulkOperationCancel(id: ID!): BulkOperationCancelPayload
  webhookSubscriptionCreate(topic: WebhookSubscriptionTopic!,
    webhookSubscription: WebhookSubscriptionInput!): WebhookSubscriptionCreatePayload
  webhookSubscriptionDelete(id: ID!): WebhookSubscriptionDeletePayload
  appUninstall: AppUninstallPayload
}

type Shop implements Node {
  id: ID! name: String! myshopifyDomain: String! currencyCode: String! ianaTimezone: String!
  plan: ShopPlan!
}
type ShopPlan { publicDisplayName: String! }
type AppInstallation { accessScopes: [AccessScope!]! }
type AccessScope { handle: String! }

type ProductVariantConnection {
  edges: [ProductVariantEdge!]! nodes: [ProductVariant!]! pageInfo: PageInfo!
}
type ProductVariantEdge { cursor: String! node: ProductVariant! }
type ProductVariant implements Node {
  id: ID! sku: String title: String! price: Money! createdAt: DateTime! updatedAt: DateTime!
  inventoryItem: InventoryItem! product: Product!
}
type InventoryItem implements Node { id: ID! unitCost: MoneyV2 }
type Product implements Node {
  id: ID! title: String! productType: String! vendor: String! status: String!
  createdAt: DateTime! updatedAt: DateTime!
}

type OrderConnection { edges: [OrderEdge!]! nodes: [Order!]! pageInfo: PageInfo! }
type OrderEdge { cursor: String! node: Order! }
type Order implements Node {
  id: ID! legacyResourceId: UnsignedInt64! name: String! createdAt: DateTime!
  processedAt: DateTime! updatedAt: DateTime! cancelledAt: DateTime cancelReason: String
  closedAt: DateTime test: Boolean! confirmed: Boolean! displayFinancialStatus: String
  sourceName: String currencyCode: String! presentmentCurrencyCode: String!
  taxesIncluded: Boolean! discountCodes: [String!]! tags: [String!]!
  totalPriceSet: MoneyBag! subtotalPriceSet: MoneyBag totalDiscountsSet: MoneyBag
  totalShippingPriceSet: MoneyBag! totalTaxSet: MoneyBag totalRefundedSet: MoneyBag!
  currentTotalPriceSet: MoneyBag! currentSubtotalPriceSet: MoneyBag! netPaymentSet: MoneyBag!
  customer: Customer
  lineItems(first: Int, after: String): LineItemConnection!
  transactions(first: Int): [OrderTransaction!]!
  refunds(first: Int): [Refund!]!
  customerJourneySummary: CustomerJourneySummary
}
type Customer implements Node { id: ID! numberOfOrders: UnsignedInt64! }
type LineItemConnection { edges: [LineItemEdge!]! nodes: [LineItem!]! pageInfo: PageInfo! }
type LineItemEdge { cursor: String! node: LineItem! }
type LineItem implements Node {
  id: ID! sku: String quantity: Int! currentQuantity: Int! isGiftCard: Boolean!
  originalUnitPriceSet: MoneyBag! discountedTotalSet: MoneyBag! variant: ProductVariant
}
type OrderTransaction implements Node {
  id: ID! kind: String! status: String! gateway: String processedAt: DateTime
  amountSet: MoneyBag! fees: [TransactionFee!]!
}
type TransactionFee { amount: MoneyV2! }
type Refund implements Node {
  id: ID! createdAt: DateTime totalRefundedSet: MoneyBag!
  refundLineItems(first: Int, after: String): RefundLineItemConnection!
  orderAdjustments(first: Int, after: String): OrderAdjustmentConnection!
}
type RefundLineItemConnection {
  edges: [RefundLineItemEdge!]! nodes: [RefundLineItem!]! pageInfo: PageInfo!
}
type RefundLineItemEdge { cursor: String! node: RefundLineItem! }
type RefundLineItem {
  id: ID quantity: Int! restockType: String! subtotalSet: MoneyBag! totalTaxSet: MoneyBag!
  lineItem: LineItem!
}
type OrderAdjustmentConnection {
  edges: [OrderAdjustmentEdge!]! nodes: [OrderAdjustment!]! pageInfo: PageInfo!
}
type OrderAdjustmentEdge { cursor: String! node: OrderAdjustment! }
type OrderAdjustment implements Node {
  id: ID! reason: String amountSet: MoneyBag! taxAmountSet: MoneyBag!
}
type CustomerJourneySummary {
  ready: Boolean! customerOrderIndex: Int daysToConversion: Int firstVisit: CustomerVisit
  lastVisit: CustomerVisit
}
type CustomerVisit {
  occurredAt: DateTime! source: String! sourceType: String landingPage: URL referrerUrl: URL
  utmParameters: UTMParameters
}
type UTMParameters { source: String medium: String campaign: String content: String term: String }

enum BulkOperationStatus { CANCELED CANCELING COMPLETED CREATED EXPIRED FAILED RUNNING }
enum BulkOperationErrorCode { ACCESS_DENIED INTERNAL_SERVER_ERROR TIMEOUT }
type BulkOperation implements Node {
  id: ID! status: BulkOperationStatus! errorCode: BulkOperationErrorCode createdAt: DateTime!
  completedAt: DateTime objectCount: UnsignedInt64! fileSize: UnsignedInt64 url: URL
  partialDataUrl: URL
}
type BulkOperationUserError { field: [String!] message: String! code: String }
type BulkOperationRunQueryPayload {
  bulkOperation: BulkOperation userErrors: [BulkOperationUserError!]!
}
type BulkOperationCancelPayload { bulkOperation: BulkOperation userErrors: [UserError!]! }

enum WebhookSubscriptionTopic {
  APP_SCOPES_UPDATE APP_UNINSTALLED BULK_OPERATIONS_FINISH ORDERS_CANCELLED ORDERS_CREATE
  ORDERS_DELETE ORDERS_PAID ORDERS_UPDATED REFUNDS_CREATE
}
enum WebhookSubscriptionFormat { JSON XML }
input WebhookSubscriptionInput {
  uri: String format: WebhookSubscriptionFormat includeFields: [String!]
}
type WebhookSubscriptionConnection {
  edges: [WebhookSubscriptionEdge!]! nodes: [WebhookSubscription!]! pageInfo: PageInfo!
}
type WebhookSubscriptionEdge { cursor: String! node: WebhookSubscription! }
type WebhookSubscription implements Node {
  id: ID! topic: WebhookSubscriptionTopic! uri: String! format: WebhookSubscriptionFormat!
  includeFields: [String!]!
}
type WebhookSubscriptionCreatePayload {
  webhookSubscription: WebhookSubscription userErrors: [UserError!]!
}
type WebhookSubscriptionDeletePayload {
  deletedWebhookSubscriptionId: ID userErrors: [UserError!]!
}
type AppUninstallError { field: [String!] message: String! code: String }
type App { id: ID! }
type AppUninstallPayload { app: App userErrors: [AppUninstallError!]! }

schema { query: QueryRoot mutation: Mutation }
"""  # noqa: E501

SCOPES: Mapping[tuple[str, str], str] = {
    ("QueryRoot", "order"): "read_orders",
    ("QueryRoot", "refund"): "read_orders",
    ("QueryRoot", "orders"): "read_orders",
    ("QueryRoot", "ordersCount"): "read_orders",
    ("QueryRoot", "productVariants"): "read_products",
    ("InventoryItem", "unitCost"): "read_inventory",
    ("Order", "customer"): "read_customers",
}
"""(type, field) → the access scope that it takes."""
PROTECTED = frozenset({("Order", "customer"), ("Order", "customerJourneySummary")})
"""Protected customer data: an app is approved for it, or sees none."""
MOST_OF_A_PAGE = 250
MOST_DEEP = 25_000


def schema() -> GraphQLSchema:
    """The schema; resolvers are `shopify_graphql`'s."""
    return build_schema(SDL)
