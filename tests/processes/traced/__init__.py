"""A host application whose tasks are traced by real managers and workers."""
