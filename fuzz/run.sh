#!/usr/bin/env bash
# Runs every fuzz target for a number of seconds, one target per processor at a time, from the corpora in fuzz/corpus
# and the findings of earlier runs. Needs a nightly toolchain and cargo-fuzz (cargo install --locked cargo-fuzz).
# Without them it prints SKIPPED and exits with 0.
#
# fuzz/run.sh [SECONDS [SEED]]
#
# No sanitizer: the fuzzed code has no unsafe code, so a sanitizer would only check SQLite and the compiler, at half the
# rate and twice the build time. Debug assertions, overflow checks and the targets' assertions find the faults.
set -euo pipefail
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
target=$(realpath -m "${CARGO_TARGET_DIR:-$here/../target}")/fuzz
cd "$here"

seconds=${1:-30}
seed=${2:-$SRANDOM}
mapfile -t names < <(basename -s .rs fuzz_targets/*.rs)

skip() {
    echo "fuzz: SKIPPED, ${#names[@]} of ${#names[@]} targets: $*" >&2
    exit 0
}

export RUSTUP_AUTO_INSTALL=0    # asking for a toolchain must not fetch it
cargo +nightly --version >/dev/null 2>&1 || skip "there is no nightly toolchain"
cargo +nightly fuzz --version >/dev/null 2>&1 || skip "there is no cargo-fuzz"

# The shipped versions of all dependencies.
cp ../Cargo.lock Cargo.lock
cargo +nightly fetch --quiet || skip "the dependencies cannot be fetched"
cargo +nightly fuzz build --sanitizer none --target-dir "$target"
programs=$(dirname "$(find "$target" -mindepth 3 -maxdepth 3 -path '*/release/*' -name "${names[0]}" -print -quit)")

echo "fuzz: ${#names[@]} targets, $seconds s each, seed $seed"
mkdir -p "$target/failed"
rm -f "$target"/*.status

# NAME: runs one target. New findings go below the target directory, not into the committed corpus.
run() {
    local name=$1 log="$target/$1.log" status=0
    mkdir -p "$target/found/$name"
    "$programs/$name" -max_total_time="$seconds" -seed="$seed" -timeout=5 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$target/failed/$name-" "$target/found/$name" "corpus/$name" >"$log" 2>&1 || status=$?
    echo "$status" >"$target/$name.status"
    printf '  %-14s %9s runs  %s\n' "$name" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
        "$( ((status == 0)) && echo passed || echo FAILED)"
    if ((status != 0)); then tail -n 40 "$log"; fi
}
export -f run
export seconds seed target programs
printf '%s\n' "${names[@]}" | xargs -P "$(nproc)" -I NAME bash -c 'run NAME'

failed=$({ grep -Lx 0 "$target"/*.status || true; } | wc -l)
echo "fuzz: seed $seed: $((${#names[@]} - failed)) passed, $failed failed, 0 skipped"
if ((failed > 0)); then
    echo "fuzz: the inputs are in $target/failed; again: $programs/NAME INPUT" >&2
    exit 1
fi
