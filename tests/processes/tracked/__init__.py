"""A host application whose errors an error tracker collects."""
