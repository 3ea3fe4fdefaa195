#!/bin/sh
# Installs the component template partisan@mappings and the index template of logs-partisan.* data streams:
#
#     elasticsearch/install.sh https://elasticsearch.example.com:9200 [any options of curl, such as -u USER]
#
# Run in the tests, against a stand-in for Elasticsearch. Safe to run again; do so after an upgrade.
set -eu
url=${1:?give the address of Elasticsearch}
shift
here=$(dirname "$0")

put() {
    curl --fail --silent --show-error "$@" --header 'Content-Type: application/json' --request PUT
    echo
}

put "$@" --data-binary "@$here/component-template.json" "$url/_component_template/partisan@mappings"
put "$@" --data-binary "@$here/index-template.json" "$url/_index_template/logs-partisan"
