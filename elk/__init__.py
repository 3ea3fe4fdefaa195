"""Shipping logs to Elasticsearch: recipes, templates, and builders of the files generated from the code."""
