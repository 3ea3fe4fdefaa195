"""Extensions of MkDocs for the documentation site; `make docs` builds it."""
