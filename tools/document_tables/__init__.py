"""The tables of the documentation that are made from the code: `python -m tools.document_tables`."""
