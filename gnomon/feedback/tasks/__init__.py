"""The annotation queue, gold items, adjudication, and the judgements of a project."""
