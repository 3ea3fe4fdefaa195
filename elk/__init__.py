"""Shipping logs to Elasticsearch: recipes, templates, and what builds those that follow from the code."""
