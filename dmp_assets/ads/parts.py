"""The parts into which the truth bridge and the order ledger take an amount apart, in order."""

BRIDGE = ("claimed", "matched", "reversed", "test", "boundary", "view_through", "unexplained")
LEDGER = (
    "gross", "discounts", "refunds", "tax", "gift_cards", "revenue", "cost_of_goods",
    "goods_without_cost", "shipping_cost", "payment_fees", "contribution",
)  # fmt: skip
