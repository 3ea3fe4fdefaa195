"""Builders for the templates of Elasticsearch and the saved objects of Kibana."""
