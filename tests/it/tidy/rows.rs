//! Rows are read by column name, so that a column in the middle of a `SELECT` list moves nothing.
//! A misspelt name fails here and not only where its row is read.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use tillbox::primitives::Timestamp;
use tillbox::storage::{FileKind, Landlord, Statement, Tenant, file};

use super::source::{self, Source};

/// The result columns of each statement of a module.
type Columns = BTreeMap<String, Vec<String>>;

/// A function, and the columns that it reads itself.
struct Function<'a> {
    name: &'a str,
    words: BTreeSet<&'a str>,
    names: BTreeSet<&'a str>,
    /// Reads the first column by its position, as for a count.
    reads_first: bool,
    /// Reads another column by its position.
    reads_place: bool,
}

impl<'a> Function<'a> {
    fn new(code: &'a str, text: &'a str) -> Self {
        let mut words = source::words(code).map(|(_, word)| word);
        let name = words.next().expect("a function has a name");
        let mut found = Self {
            name,
            words: words.collect(),
            names: BTreeSet::new(),
            reads_first: false,
            reads_place: false,
        };
        if code.contains("with_seq(") || code.contains("page.read(") {
            found.names.insert("seq");
        }
        // The mapping of `storage` for two columns.
        if code.contains("measure(row)") {
            found.names.extend(["unit", "quantity_scale"]);
        }
        for call in ["row.get", "money(", "money_if_any("] {
            for place in source::places(code, call) {
                let behind =
                    |text: &'a str| text.split_once('(').map(|(_, rest)| rest.trim_start());
                let argument = behind(&text[place..]).unwrap_or_default();
                let argument = argument
                    .strip_prefix("row,")
                    .unwrap_or(argument)
                    .trim_start();
                let first = argument.chars().next();
                if let Some(name) = argument.strip_prefix('"') {
                    found.names.extend(name.split('"').next());
                } else if argument.starts_with("0)") {
                    found.reads_first = true;
                } else {
                    found.reads_place |= first.is_some_and(|first| first.is_ascii_digit());
                }
            }
        }
        found
    }

    /// The statements that it names.
    fn statements<'c>(&self, columns: &'c Columns) -> Vec<&'c String> {
        let names = columns.keys();
        names
            .filter(|name| self.words.contains(name.as_str()))
            .collect()
    }
}

/// A function with the mappings that it names, directly or through others.
fn with_mappings<'a>(
    function: &'a Function<'a>,
    functions: &'a [Function<'a>],
    columns: &Columns,
) -> Vec<&'a Function<'a>> {
    let (mut read, mut next) = (vec![function], 0);
    while let Some(&reader) = read.get(next) {
        for mapping in functions {
            let is_new = read.iter().all(|known| known.name != mapping.name);
            let is_mapping = mapping.statements(columns).is_empty();
            if is_new && is_mapping && reader.words.contains(mapping.name) {
                read.push(mapping);
            }
        }
        next += 1;
    }
    read
}

/// The functions of a file, each up to the line that closes it at the same indentation.
fn functions(source: &Source) -> Vec<Function<'_>> {
    let (code, mut found, mut start) = (&source.product, Vec::new(), 0);
    for line in code.split_inclusive('\n') {
        let visible = line.trim_start().trim_start_matches("pub");
        let visible = visible
            .trim_start_matches("(super)")
            .trim_start_matches("(crate)");
        if visible.trim_start().starts_with("fn ") {
            let indent = &line[..line.len() - line.trim_start().len()];
            let close = format!("\n{indent}}}");
            let end = code[start..]
                .find(&close)
                .map_or(code.len(), |length| start + length);
            let begin = start + line.find("fn ").expect("it has it") + 3;
            found.push(Function::new(&code[begin..end], &source.text[begin..end]));
        }
        start += line.len();
    }
    found
}

/// Faults of the statements themselves: each column of a row needs its own name.
fn unnamed(columns: &Columns) -> Vec<String> {
    let is_name = |column: &String| column.chars().all(|c| c.is_alphanumeric() || c == '_');
    let of_rows = columns.iter().filter(|(_, columns)| columns.len() > 1);
    of_rows
        .filter(|(_, columns)| {
            let distinct: BTreeSet<&String> = columns.iter().collect();
            distinct.len() < columns.len() || !columns.iter().all(is_name)
        })
        .map(|(name, columns)| format!("{name}: give each column a name of its own: {columns:?}"))
        .collect()
}

/// Faults of the mappings of a file. A function reads the columns of the statements that it names,
/// itself or with the functions that it names and that have no statements of their own.
fn misread(source: &Source, columns: &Columns) -> Vec<String> {
    let (functions, mut faults) = (functions(source), Vec::new());
    let mut unread: BTreeMap<&String, BTreeSet<&str>> = columns
        .iter()
        .filter(|(_, columns)| columns.len() > 1)
        .map(|(name, columns)| (name, columns.iter().map(String::as_str).collect()))
        .collect();
    let mut unused: BTreeSet<&str> = functions
        .iter()
        .flat_map(|one| one.names.iter().copied())
        .collect();
    for function in &functions {
        let at = format!("src/{}: `{}`", source.path, function.name);
        if function.reads_place {
            faults.push(format!("{at} reads a column by its position"));
        }
        let run = function.statements(columns);
        let widths: Vec<usize> = run.iter().map(|name| columns[*name].len()).collect();
        if widths.iter().all(|width| *width == 0) {
            continue;
        }
        let has_rows = widths.iter().any(|width| *width > 1);
        let read = if has_rows {
            with_mappings(function, &functions, columns)
        } else {
            vec![function]
        };
        if read.iter().any(|reader| reader.reads_first) && !widths.contains(&1) {
            faults.push(format!(
                "{at} reads the first of several columns by its position"
            ));
        }
        for name in read.iter().flat_map(|reader| reader.names.iter()) {
            unused.remove(name);
            if !run
                .iter()
                .any(|run| columns[*run].iter().any(|column| column == name))
            {
                faults.push(format!(
                    "{at} reads `{name}`, which none of its statements returns"
                ));
            }
            for statement in &run {
                unread.entry(statement).or_default().remove(name);
            }
        }
    }
    faults.extend(
        unused
            .iter()
            .map(|name| format!("src/{}: no statement returns `{name}`", source.path)),
    );
    unread.retain(|_, columns| !columns.is_empty());
    faults.extend(unread.iter().map(|(name, columns)| {
        format!(
            "src/{}: {name} returns {columns:?}, which nothing reads",
            source.path
        )
    }));
    faults
}

/// The columns of all statements, by the path of their file.
fn columns_of<K: FileKind>(lists: &[&[Statement]]) -> BTreeMap<String, Columns> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("new.db");
    file::create::<K>(&path, [7; 16], Timestamp::from_millis_clamped(0)).expect("the file is made");
    let conn = Connection::open(path).expect("the file opens");
    let mut found: BTreeMap<String, Columns> = BTreeMap::new();
    for statement in lists.iter().copied().flatten() {
        let (module, name) = statement
            .name()
            .rsplit_once("::")
            .expect("a name in a module");
        let prepared = conn.prepare(statement.sql()).expect("it prepares");
        let columns = prepared
            .column_names()
            .into_iter()
            .map(str::to_owned)
            .collect();
        let path = module.trim_start_matches("tillbox::").replace("::", "/");
        found
            .entry(path)
            .or_default()
            .insert(name.to_owned(), columns);
    }
    found
}

#[test]
fn reads_rows_by_column_name() {
    let mut by_path = columns_of::<Tenant>(tillbox::tenant::STATEMENTS);
    by_path.extend(columns_of::<Landlord>(tillbox::tenancy::STATEMENTS));
    by_path.extend(columns_of::<Landlord>(tillbox::landlord::STATEMENTS));
    let mut faults = Vec::new();
    for source in source::all() {
        let path = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
        if let Some(columns) = by_path.remove(path) {
            faults.extend(unnamed(&columns));
            faults.extend(misread(&source, &columns));
        }
    }
    assert!(
        by_path.is_empty(),
        "these files are not found: {:?}",
        by_path.keys()
    );
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn detects_wrong_names_and_positions() {
    let columns = |columns: &[&str]| columns.iter().map(|&column| column.to_owned()).collect();
    let statements = Columns::from([
        ("FIND".to_owned(), columns(&["id", "total_minor"])),
        ("COUNT".to_owned(), columns(&["count(*)"])),
    ]);
    let faults = |mapping: &str| {
        let text = format!(
            "fn find(view: &View) {{\n    view.find(&FIND, [], order)\n}}\n\
             fn count(view: &View) {{\n    view.one(&COUNT, [], |row| row.get(0))\n}}\n\
             fn order(row: &Row) {{\n    {mapping}\n}}\n"
        );
        misread(&Source::new("a.rs", &text), &statements).len()
    };
    assert_eq!(
        faults("(row.get::<_, i64>(\"id\"), money(row, \"total_minor\", EUR))"),
        0
    );
    assert_eq!(
        faults("(row.get(\"id\"), money(\n    row,\n    \"total_minor\", EUR))"),
        0
    );
    // The wrong name, and the column that is not read.
    assert_eq!(faults("(row.get(\"id\"), money(row, \"total\", EUR))"), 2);
    assert_eq!(faults("(row.get(\"id\"), money(row, 1, EUR))"), 2);
    assert_eq!(faults("(row.get(0), money(row, \"total_minor\", EUR))"), 2);
    assert_eq!(faults("row.get(\"id\")"), 1);
    let unnamed = |names: &[&str]| !unnamed(&[("A".to_owned(), columns(names))].into()).is_empty();
    assert!(unnamed(&["id", "id"]) && unnamed(&["id", "count(*)"]));
    assert!(!unnamed(&["id", "seq"]) && !unnamed(&["count(*)"]));
}
