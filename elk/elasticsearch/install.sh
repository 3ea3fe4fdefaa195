#!/bin/sh
# Installs the component template partisan@mappings and the index template of logs-partisan.* data streams:
#
#     elasticsearch/install.sh https://search.example.com:9200 [any options of curl, such as -u USER]
#
# Run in the tests: on OpenSearch 2.19.6, and against a stub that answers like Elasticsearch 9.
# Works with Elasticsearch 8.17 or later and OpenSearch 2.15 or later, and detects which of them the server is.
# It can be run again; do so after an upgrade. Needs curl.
set -eu
url=${1:?the URL of Elasticsearch or OpenSearch is required}
url=${url%/}
shift
here=$(dirname "$0")

fail() {
    echo "$1" >&2
    exit 1
}

# Sends METHOD PATH, with options of curl, and sets status and body from the answer.
ask() {
    method=$1 path=$2
    shift 2
    answer=$(curl --silent --show-error --write-out '\n%{http_code}' --request "$method" "$@" "$url/$path") ||
        fail "$url does not answer. Check the URL; put options of curl, such as --cacert, after it."
    status=$(printf '%s\n' "$answer" | tail -n 1)
    body=$(printf '%s\n' "$answer" | sed '$d')
}

# Fails with the server's message unless the request succeeded.
demand() {
    case $status in
    2*) return 0 ;;
    401 | 403) remedy="Use an account that is allowed to manage index templates, as in: install.sh $url -u USER" ;;
    404) remedy="Is $url the URL of the server itself, not of Kibana or a data stream?" ;;
    *) remedy="Fix the error that the server reports, then run this again." ;;
    esac
    fail "$method $path was refused with status $status: $body
$remedy"
}

# Stores a template. Arguments: its path, its JSON (@FILE or text), options of curl.
put() {
    path=$1 json=$2
    shift 2
    ask PUT "$path" "$@" --header 'Content-Type: application/json' --data-binary "$json"
    demand
    echo "installed $path"
}

# Fails if the server is too old. Arguments: its name, the required MAJOR MINOR, its own MAJOR MINOR.
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

# $version is unquoted: it is two arguments.
if printf '%s\n' "$body" | grep -q '"distribution" *: *"opensearch"\|"tagline" *: *"The OpenSearch Project'; then
    need OpenSearch 2 15 $version
    template=index-template-opensearch.json
else
    need Elasticsearch 8 17 $version
    template=index-template.json
fi

put '_component_template/partisan@mappings' "@$here/component-template.json" "$@"
if [ "$template" = index-template-opensearch.json ]; then
    # For your own mappings. OpenSearch refuses missing components, so create an empty one.
    ask GET '_component_template/partisan@custom' "$@"
    if [ "$status" = 404 ]; then
        put '_component_template/partisan@custom' '{"template": {}}' "$@"
    else
        demand
    fi
fi
put '_index_template/logs-partisan' "@$here/$template" "$@"
