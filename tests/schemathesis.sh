#!/usr/bin/env bash
# Bad input by the thousand: schemathesis makes requests of what /openapi.json describes, good ones and bad ones, and sequences of them, and
# sends them to the real daemon, as the shop's own programs, as anybody, and as the landlord. Demanded: no answer of 5xx; no status and no code
# that is not described at its operation, and every one that is described was met; every answer has its described form; what has the
# described form is not refused for its form.
#
# tests/schemathesis.sh [EXAMPLES [SEED]]    of each operation, in each of the three runs; the same seed sends the same requests
#
# Skips, loudly and with status 0, where schemathesis cannot be installed; with SCHEMATHESIS_REQUIRED=1 that is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

examples=${1:-20}
seed=${2:-$SRANDOM}
target=${CARGO_TARGET_DIR:-target}
venv="$target/schemathesis"
lists=tests/schemathesis
work=$(mktemp -d)
output="$work/output"
daemon=

finish() {
    local status=$?
    if [[ -n $daemon ]]; then kill -KILL "$daemon" 2>/dev/null || true; fi
    if ((status != 0)) && [[ -n $daemon ]]; then
        echo "schemathesis failed; the daemon said:" >&2
        tail -n 40 "$output" >&2 || true
    fi
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT

fail() {
    echo "schemathesis: $*" >&2
    exit 1
}

skip() {
    if [[ ${SCHEMATHESIS_REQUIRED:-} == 1 ]]; then fail "$*"; fi
    echo "schemathesis: SKIPPED, 5 of 5 parts: $*" >&2
    exit 0
}

# The pinned set, anew when the list has changed.
if ! cmp -s "$lists/requirements.txt" "$venv/installed.txt"; then
    command -v python3 >/dev/null || skip "there is no python3"
    rm -rf "$venv"
    python3 -m venv "$venv" >"$output" 2>&1 || skip "python3 makes no virtual environment: $(tail -n 1 "$output")"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$lists/requirements.txt" >"$output" 2>&1 ||
        skip "the packages cannot be installed: $(tail -n 1 "$output")"
    cp "$lists/requirements.txt" "$venv/installed.txt"
fi

# Debug assertions and checks of overflow are on in this build: a fault is a 500 here that would be a wrong figure there.
cargo build --locked
binary="$target/debug/tillbox"

# One caller, as often as it can.
for policy in CHECKOUT PAYMENT WEBHOOK LOGIN SALES STOREFRONT STOREFRONT_READ STOREFRONT_TENANT BAD_KEYS; do export "TILLBOX_RATE_LIMITS__$policy=1000000/s"; done
NO_COLOR=1 "$binary" --data-dir "$work/data" serve --dev --listen 127.0.0.1:0 >"$output" 2>&1 &
daemon=$!
for _ in $(seq 300); do
    base=$(grep -Eo 'http://127\.0\.0\.1:[0-9]+' "$output" | head -n 1 || true)
    if [[ -n $base ]]; then break; fi
    kill -0 "$daemon" 2>/dev/null || fail "the daemon ended"
    sleep 0.1
done
[[ -n $base ]] || fail "the daemon does not listen"

new_key() {
    "$binary" --data-dir "$work/data" api-key create "$@" --json | grep -Eo 'tb_[a-z0-9]{8}_[a-z0-9]{52}'
}
shop_key=$(new_key --tenant demo --name schemathesis --scope catalog:read catalog:write checkout orders payments inventory finance reports pos admin)
house_key=$(new_key --landlord --name schemathesis)

export TILLBOX_POOL="$work/pool.json" TILLBOX_SEEN="$work/seen.jsonl" SCHEMATHESIS_HOOKS="$PWD/$lists/hooks.py" PYTHONDONTWRITEBYTECODE=1
config="$PWD/$lists/schemathesis.toml"
schemathesis=$(realpath "$venv/bin/schemathesis")

echo "schemathesis: $examples examples of each operation, seed $seed; again: tests/schemathesis.sh $examples $seed"
"$venv/bin/python" "$lists/walk.py" "$base" "$shop_key" "$house_key" "$work"

failed=()
# NAME OPTION…: one run.
run() {
    local name=$1
    shift
    echo "schemathesis: $name"
    # It writes into the directory that it stands in. `hooks.py` has the excluded check in a sharper form: what the description allows may be
    # refused by a rule of the shop, and never as malformed. One worker: with more, CPython 3.11 fails in its own parser now and then.
    (cd "$work" && "$schemathesis" --config-file "$config" run "$base/openapi.json" --checks all \
        --exclude-checks positive_data_acceptance --workers 1 --max-examples "$examples" \
        --seed "$seed" --no-color --warnings off "$@") || failed+=("$name")
}

run "the shop" --header "Authorization: Bearer $shop_key" --exclude-path-regex '^/v1/landlord/'
run "anybody" --header "X-Tillbox-Tenant: demo"
run "the landlord" --header "Authorization: Bearer $house_key" --include-path-regex '^/(v1/landlord/|health)'

kill -0 "$daemon" 2>/dev/null || fail "the daemon ended"
"$venv/bin/python" "$lists/seen.py" "$work" || failed+=("what was seen")
kill -TERM "$daemon"
wait "$daemon" || fail "SIGTERM ended with status $?"
daemon=
# Whatever came in, the books are right.
"$binary" --data-dir "$work/data" integrity check || failed+=("integrity check")
passed=$((5 - ${#failed[@]}))
printf 'schemathesis: seed %s: %s passed, %s failed, 0 skipped\n' "$seed" "$passed" "${#failed[@]}"
((${#failed[@]} == 0)) || fail "failed: ${failed[*]}"
