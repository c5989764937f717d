//! Every SQL statement is in a list, so that one test prepares them all.

use tillbox::storage::Statement;

use super::source::{self, Source};

/// The module of a file, as `module_path!` returns it.
fn module_of(path: &str) -> String {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    format!("tillbox::{}", path.replace('/', "::"))
}

fn has_statements(source: &Source) -> bool {
    source
        .code
        .lines()
        .any(|line| line.trim_start().starts_with("statements! {"))
}

fn is_listed(source: &Source, listed: &[&Statement]) -> bool {
    let prefix = format!("{}::", module_of(&source.path));
    let is_own = |statement: &&&Statement| {
        statement
            .name()
            .strip_prefix(&prefix)
            .is_some_and(|name| !name.contains("::"))
    };
    listed.iter().any(|statement| is_own(&statement))
}

#[test]
fn lists_every_module_with_sql() {
    let lists = [
        tillbox::tenant::STATEMENTS,
        tillbox::tenancy::STATEMENTS,
        tillbox::landlord::STATEMENTS,
    ];
    let listed: Vec<&Statement> = lists
        .into_iter()
        .flatten()
        .flat_map(|module| module.iter())
        .collect();
    let sources = source::all();
    let with_sql: Vec<&Source> = sources
        .iter()
        .filter(|source| has_statements(source))
        .collect();
    assert!(with_sql.len() >= 8, "the macro is still called what it was");
    for source in with_sql {
        assert!(
            is_listed(source, &listed),
            "src/{}: its STATEMENTS are missing in the STATEMENTS of tenant, tenancy or landlord",
            source.path
        );
    }
    let stranger = Source::new(
        "tenant/stranger.rs",
        "statements! {\n    A = \"SELECT 1\";\n}",
    );
    assert!(has_statements(&stranger) && !is_listed(&stranger, &listed));
}
