"""Migrations of the tables of ad performance, in the store's one line of history."""
