"""The recipes: one Prefect flow per file; parameters are pydantic models; no torch in here."""
