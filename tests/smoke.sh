#!/usr/bin/env bash
# The first steps of a new user: runs the first command of the README, pastes the curl lines that it prints, kills the
# process, starts it again, and finds the sale. Without curl, the sale is sent by bash's own sockets.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build --release --locked
binary="${CARGO_TARGET_DIR:-target}/release/tillbox"
work=$(mktemp -d)
output="$work/output"
daemon=

finish() {
    local status=$?
    if [[ -n $daemon ]]; then kill -KILL "$daemon" 2>/dev/null || true; fi
    if ((status != 0)); then
        echo "smoke test failed; output of the daemon:" >&2
        cat "$output" >&2 || true
    fi
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT

fail() {
    echo "smoke: $*" >&2
    exit 1
}

# Starts the daemon on a free port and waits until it answers; sets `base`.
start() {
    : >"$output"
    NO_COLOR=1 "$binary" --data-dir "$work/data" serve --dev --listen 127.0.0.1:0 >>"$output" 2>&1 &
    daemon=$!
    for _ in $(seq 300); do
        base=$(grep -Eo 'http://127\.0\.0\.1:[0-9]+' "$output" | head -n 1 || true)
        if [[ -n $base ]] && request GET /health/ready >/dev/null 2>&1; then return; fi
        kill -0 "$daemon" 2>/dev/null || fail "the daemon ended"
        sleep 0.1
    done
    fail "the daemon does not answer"
}

# METHOD PATH [BODY]: prints the body of the answer. Fails when its status is not 2xx.
request() {
    local method=$1 path=$2 body=${3:-} address=${base#http://} status line length=0
    exec 3<>"/dev/tcp/${address%:*}/${address##*:}"
    {
        printf '%s %s HTTP/1.1\r\nhost: %s\r\nconnection: close\r\n' "$method" "$path" "$address"
        if [[ -n ${key:-} ]]; then printf 'authorization: Bearer %s\r\n' "$key"; fi
        if [[ -n $body ]]; then
            printf 'idempotency-key: smoke-%s\r\ncontent-type: application/json\r\n' "$RANDOM$RANDOM"
        fi
        printf 'content-length: %s\r\n\r\n%s' "${#body}" "$body"
    } >&3
    IFS=' ' read -r _ status _ <&3
    while IFS= read -r line <&3; do
        line=${line%$'\r'}
        [[ -z $line ]] && break
        [[ ${line,,} == content-length:* ]] && length=${line##*: }
    done
    if ((length > 0)); then head -c "$length" <&3; fi
    exec 3<&- 3>&-
    [[ $status == 2* ]]
}

# Runs every curl line that the daemon printed, unchanged; sets `sold` to the answer to the sale.
paste() {
    local line answer
    sold=
    while IFS= read -r line; do
        answer=$(bash -c "$line") || fail "the printed line fails: $line"
        [[ $answer == *'"urn:tillbox:problem:'* ]] && fail "the printed line is refused: $line: $answer"
        if [[ $line == *' -X POST '* ]]; then sold=$answer; fi
    done < <(grep '^curl ' "$output")
}

count() {
    request GET "/v1/$1?limit=200" | grep -o '"number":' | wc -l
}

start
key=$(grep -Eo 'tb_[a-z2-9]{8}_[a-z2-9]{52}' "$output" | head -n 1 || true)
[[ -n $key ]] || fail "no API key was printed"

if command -v curl >/dev/null; then
    paste
    [[ -n $sold ]] || fail "no curl line for a sale was printed"
else
    product=$(request GET '/v1/catalog/products?limit=1' |
        grep -Eo '"id":"[0-9a-f-]{36}"' | head -n 1 | cut -d '"' -f 4)
    price=$(request GET "/v1/catalog/products/$product" | grep -Eo '"price_minor":[0-9]+' | cut -d : -f 2)
    lines="[{\"product_id\":\"$product\",\"quantity\":1}]"
    payments="[{\"method\":\"cash\",\"amount_minor\":$((price * 2))}]"
    sold=$(request POST /v1/sales "{\"lines\":$lines,\"payments\":$payments}") ||
        fail "the sale was refused: $sold"
fi
echo "$sold"
[[ $sold == *'"invoice"'* ]] || fail "the answer has no invoice"

orders=$(count orders)
invoices=$(count invoices)
((orders >= 1 && invoices >= 1)) || fail "$orders orders and $invoices invoices after a sale"

kill -KILL "$daemon"
wait "$daemon" 2>/dev/null || true
start
[[ $(count orders) == "$orders" && $(count invoices) == "$invoices" ]] || fail "the sale did not survive kill -9"

kill -TERM "$daemon"
wait "$daemon" || fail "SIGTERM ended with status $?"
daemon=
"$binary" --data-dir "$work/data" integrity check || fail "integrity check"
echo "smoke: passed; the sale survived kill -9"
