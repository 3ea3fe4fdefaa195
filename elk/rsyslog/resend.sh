#!/bin/sh
# Resends requests that failed as a whole (for example with 503, or with 401 for an expired key). rsyslog does
# not retry them, but writes them to the file not_sent. Run in the tests, together with partisan.conf.
#
#     resend.sh https://search.example.com:9200 /var/log/partisan/not_sent [PIDFILE of rsyslog [options of curl]]
#
# Documents that are already stored are not duplicated. Requests that fail again stay in a file, whose name is
# printed. Needs curl and jq.
set -eu
url=${1:?the URL of Elasticsearch or OpenSearch is required}
file=${2:?the path of the file not_sent is required}
pidfile=${3:-/run/rsyslogd.pid}
shift 2
[ $# -eq 0 ] || shift
taken=$file.$(date +%s)

mv "$file" "$taken"
# rsyslog keeps the file open until it receives HUP.
kill -HUP "$(cat "$pidfile")"
sleep 1
while IFS= read -r line; do
    printf '%s\n' "$line" | jq --join-output .request.postdata |
        curl --fail --silent --show-error "$@" --header 'Content-Type: application/x-ndjson' \
            --data-binary @- "${url%/}/_bulk" |
        jq --exit-status '[.items[][] | select(.status > 299 and .status != 409)] == []' >/dev/null ||
        printf '%s\n' "$line" >>"$taken.left"
done <"$taken"
rm "$taken"
if [ -e "$taken.left" ]; then
    mv "$taken.left" "$taken"
    echo "not everything could be sent; $(wc -l <"$taken") requests stay in $taken" >&2
    exit 1
fi
