"""Migrations of the tables of promo-code abuse, in the store's one line of history."""
