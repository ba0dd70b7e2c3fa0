"""Experiments as callers define them."""

from typing import Any


def body(**other: Any) -> dict[str, Any]:
    """A definition of an own experiment whose units are customers."""
    return {
        "hypothesis": "Free shipping makes more people buy.",
        "variants": ["control", "free-shipping"],
        "split": [5000, 5000],
        "primary": {"name": "conversion"},
        "least_effect": 0.2,
        "guardrails": [{"metric": {"name": "contribution"}, "margin": 0.05}],
        "secondary": [{"name": "revenue", "is_adjusted": True}, {"name": "order_value"}],
        "tuning": 4_000,
        "days": 14,
        "unit": "customer",
    } | other


def split_body(cells: dict[str, list[str]], account: str, **other: Any) -> dict[str, Any]:
    """A definition of a split test at Meta, by ad sets."""
    return body(
        kind="meta_split", unit=None, primary={"name": "purchases"}, guardrails=[], secondary=[],
        variants=list(cells),
        study={
            "business_id": "501", "account_id": account, "entities": "adsets", "cells": cells,
        },
    ) | other  # fmt: skip
