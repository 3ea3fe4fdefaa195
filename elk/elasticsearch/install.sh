#!/bin/sh
# Installs the component template partisan@mappings and the index template of logs-partisan.* data streams:
#
#     elasticsearch/install.sh https://search.example.com:9200 [any options of curl, such as -u USER]
#
# Run in the tests: on OpenSearch 2.19.6, and against a stand-in that answers as Elasticsearch 9 does.
# For Elasticsearch 8.17 or later and OpenSearch 2.15 or later; it asks the server which one it is.
# Safe to run again; do so after an upgrade. Needs curl.
set -eu
url=${1:?give the address of Elasticsearch or OpenSearch}
url=${url%/}
shift
here=$(dirname "$0")

fail() {
    echo "$1" >&2
    exit 1
}

# Sets status and body to those of the answer to METHOD PATH, with options of curl.
ask() {
    method=$1 path=$2
    shift 2
    answer=$(curl --silent --show-error --write-out '\n%{http_code}' --request "$method" "$@" "$url/$path") ||
        fail "$url does not answer. Check the address; options of curl, such as --cacert, follow it."
    status=$(printf '%s\n' "$answer" | tail -n 1)
    body=$(printf '%s\n' "$answer" | sed '$d')
}

# Fails with the server's reason unless the answer was a success.
demand() {
    case $status in
    2*) return 0 ;;
    401 | 403) remedy="Give an account that may manage index templates, as in: install.sh $url -u USER" ;;
    404) remedy="Is $url the server's own address, without a path of Kibana or of a data stream?" ;;
    *) remedy="Mend what the server names, then run this again." ;;
    esac
    fail "$method $path was refused with status $status: $body
$remedy"
}

# Stores a template: its path, its JSON (@FILE or text), options of curl.
put() {
    path=$1 json=$2
    shift 2
    ask PUT "$path" "$@" --header 'Content-Type: application/json' --data-binary "$json"
    demand
    echo "installed $path"
}

# Fails unless the version found, MAJOR MINOR, is at least the one needed.
need() {
    server=$1 least_major=$2 least_minor=$3 major=$4 minor=$5
    [ "$major" -gt "$least_major" ] || { [ "$major" -eq "$least_major" ] && [ "$minor" -ge "$least_minor" ]; } ||
        fail "$url is $server $major.$minor; $least_major.$least_minor or later is needed. Upgrade it first."
    echo "$url is $server $major.$minor"
}

ask GET '' "$@"
demand
version=$(printf '%s\n' "$body" | sed -n 's/.*"number" *: *"\([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
[ -n "$version" ] || fail "$url is neither Elasticsearch nor OpenSearch; it answers: $body"

# The version is split into two words.
if printf '%s\n' "$body" | grep -q '"distribution" *: *"opensearch"\|"tagline" *: *"The OpenSearch Project'; then
    need OpenSearch 2 15 $version
    template=index-template-opensearch.json
else
    need Elasticsearch 8 17 $version
    template=index-template.json
fi

put '_component_template/partisan@mappings' "@$here/component-template.json" "$@"
if [ "$template" = index-template-opensearch.json ]; then
    # Yours to fill. OpenSearch composes no part that does not exist, so it begins empty.
    ask GET '_component_template/partisan@custom' "$@"
    if [ "$status" = 404 ]; then
        put '_component_template/partisan@custom' '{"template": {}}' "$@"
    else
        demand
    fi
fi
put '_index_template/logs-partisan' "@$here/$template" "$@"
