"""The history of the feedback store's tables, for Alembic."""
