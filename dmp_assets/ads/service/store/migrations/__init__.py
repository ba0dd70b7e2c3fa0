"""Migrations of ad performance in the operational store."""
