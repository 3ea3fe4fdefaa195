"""Generate the tables of the documentation from the code: `python -m tools.document_tables`."""
