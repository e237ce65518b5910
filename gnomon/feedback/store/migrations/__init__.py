"""Migrations of the feedback store's tables, executed by Alembic."""
