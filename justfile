# Shortcuts for the commands in CONTRIBUTING.md. `just` lists them; nothing depends on just.

_default:
    @just --list

# Type-check everything, tests and benches included
check:
    cargo check --tests --benches

# Format the tree
fmt:
    cargo fmt --all

# Lint as .ci/run does
lint:
    cargo clippy --all-targets --locked -- -D warnings

# All tests, with a short laboratory; arguments filter by name
test *ARGS:
    cargo test {{ARGS}}

# Integration tests by a part of their name: just it catalog
it *ARGS:
    cargo test --test it {{ARGS}}

# The laboratory in full, or one part: just lab power --seed 7
lab *ARGS="--ci":
    cargo test --release --test lab -- {{ARGS}}

# Benchmarks, as ratios: just bench --bench sale -- library
bench *ARGS:
    cargo bench {{ARGS}}

# The rules of tables and migrations, after a change of schema/
schema:
    cargo test --test it schema
    cargo test --lib migrate

# Accept changed query plans, then show them
plans:
    INSTA_UPDATE=always cargo test --test it plans
    git diff --stat

# Accept a changed list of routes
routes:
    INSTA_UPDATE=always cargo test --test it routes

# What has to pass before a merge
ci:
    .ci/run

# The long forms, before a release
full:
    .ci/full
