#!/bin/sh
# Installs the templates in Elasticsearch and the saved objects in Kibana. Not run in our tests.
set -eu
sh /elk/elasticsearch/install.sh http://elasticsearch:9200
curl --fail --silent --show-error --request POST --header 'kbn-xsrf: true' \
    --form file=@/elk/kibana/partisan.ndjson \
    'http://kibana:5601/api/saved_objects/_import?overwrite=true'
