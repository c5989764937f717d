# Sourced by .ci/run and .ci/full: the environment, the steps with their times, and the table at the end.

export CARGO_INCREMENTAL=0      # a cold build gains nothing from it
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"
export INSTA_UPDATE=no          # a snapshot that differs is a failure, never a new file
export INSTA_FORCE_PASS=0
export RUST_BACKTRACE=1
unset TEST_SEED

step_names=()
step_times=()
step_name=
step_begin=0

# Closes the running step and begins another one; without a name it only closes.
step() {
    if [[ -n $step_name ]]; then
        step_names+=("$step_name")
        step_times+=($((SECONDS - step_begin)))
    fi
    step_name="$*"
    step_begin=$SECONDS
    if [[ -n $step_name ]]; then printf '\n== %s (%ss)\n' "$step_name" "$SECONDS"; fi
}

# Prints the time of each step, also after a failure.
table() {
    local status=$? last=$step_name i
    trap - EXIT
    step
    printf '\n%-40s %8s\n' step seconds
    for i in "${!step_names[@]}"; do printf '%-40s %8d\n' "${step_names[i]}" "${step_times[i]}"; done
    printf '%-40s %8d\n' total "$SECONDS"
    if ((status != 0)); then printf '\nFAILED in: %s\n' "$last"; fi
    exit "$status"
}
trap table EXIT

# Prints the versions, and installs the parts of the toolchain that a minimal profile of rustup lacks.
toolchain() {
    rustc --version --verbose
    cargo --version
    "${CC:-cc}" --version | head -n 1
    git --version
    uname -srm
    if command -v rustup >/dev/null; then
        cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
        cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
    fi
}

# Debian's python3 lacks the modules for virtual environments.
python_venv() {
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null && [[ $EUID == 0 ]] && command -v apt-get >/dev/null; then
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends python3 python3-venv; } ||
            echo "python3-venv cannot be installed"
    fi
}

# Checks the spelling. Prints SKIPPED when typos cannot be installed.
spelling() {
    local venv="${CARGO_TARGET_DIR:-target}/typos"
    if [[ ! -x $venv/bin/typos ]]; then
        if ! { python3 -m venv "$venv" &&
            "$venv/bin/pip" install --quiet --disable-pip-version-check typos==1.52.0; }; then
            rm -rf "$venv"
            echo "spelling: SKIPPED, typos cannot be installed" >&2
            return
        fi
    fi
    "$venv/bin/typos" --format brief
    echo "spelling: passed"
}

# SECONDS SEED: runs every fuzz target. fuzz/run.sh prints SKIPPED without a nightly toolchain.
fuzz() {
    if RUSTUP_AUTO_INSTALL=0 cargo +nightly --version >/dev/null 2>&1 && ! cargo fuzz --version >/dev/null 2>&1; then
        cargo install --locked cargo-fuzz --version 0.13.2 || echo "cargo-fuzz cannot be installed"
    fi
    fuzz/run.sh "$@"
}

# Fails when a step has changed or left a file.
tree_is_unchanged() {
    git diff --exit-code
    local untracked
    untracked=$(git ls-files --others --exclude-standard)
    if [[ -n $untracked ]]; then
        printf 'left behind:\n%s\n' "$untracked"
        return 1
    fi
}
