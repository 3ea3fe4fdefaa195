#!/bin/sh
# Sends again what the server answered with an error as a whole (such as 503, or 401 for an expired key), which
# rsyslog does not try again but keeps in the file not_sent. Run in the tests, together with partisan.conf.
#
#     resend.sh https://search.example.com:9200 /var/log/partisan/not_sent [PIDFILE of rsyslog [options of curl]]
#
# Needs curl and jq. What is there already is not doubled. What is refused again stays in the file that it names.
set -eu
url=${1:?give the address of Elasticsearch or OpenSearch}
file=${2:?give the path of the file not_sent}
pidfile=${3:-/run/rsyslogd.pid}
shift 2
[ $# -eq 0 ] || shift
taken=$file.$(date +%s)

mv "$file" "$taken"
# rsyslog has the file open until it is told.
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
