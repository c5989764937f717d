//! Source files as the rules see them: the text, and its code without comments and the contents of
//! strings.

use std::ops::Range;
use std::path::Path;

pub struct Source {
    /// The path below the root, with `/`.
    pub path: String,
    /// `src/`, `tests/it/` or `tests/lab/`.
    pub root: &'static str,
    pub text: String,
    /// The text with comments and string contents blanked. Offsets and lines stay the same.
    pub code: String,
    /// The text with all but the comments blanked.
    pub comments: String,
    /// The code with test modules and test functions blanked too.
    pub product: String,
    raw_strings: Vec<Range<usize>>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let Split {
            code,
            comments,
            raw_strings,
        } = split(text);
        let is_test_file = path.ends_with("/tests.rs") || path.contains("/tests/");
        let product = if is_test_file {
            String::new()
        } else {
            blank_tests(&code)
        };
        Self {
            path: path.to_owned(),
            root: "src/",
            text: text.to_owned(),
            code,
            comments,
            product,
            raw_strings,
        }
    }

    /// Whether a raw string covers a part of the bytes.
    pub fn is_raw(&self, bytes: &Range<usize>) -> bool {
        let overlaps = |raw: &Range<usize>| raw.start < bytes.end && bytes.start < raw.end;
        self.raw_strings.iter().any(overlaps)
    }

    /// The place of an offset, as `path:line`.
    pub fn at(&self, offset: usize) -> String {
        let line = 1 + self.code[..offset]
            .bytes()
            .filter(|byte| *byte == b'\n')
            .count();
        format!("{}{}:{line}", self.root, self.path)
    }
}

/// All files under `src/`, sorted by path.
pub fn all() -> Vec<Source> {
    below("src/")
}

/// All files under `tests/it/`.
pub fn tests() -> Vec<Source> {
    below("tests/it/")
}

/// All files under `tests/lab/`.
pub fn lab() -> Vec<Source> {
    below("tests/lab/")
}

fn below(root: &'static str) -> Vec<Source> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
    let mut paths = Vec::new();
    walk(&dir, &mut paths);
    paths.sort();
    assert!(paths.len() > 10, "the sources are where they were");
    let read = |path: &std::path::PathBuf| {
        let below = path
            .strip_prefix(&dir)
            .expect("below its root")
            .to_string_lossy()
            .replace('\\', "/");
        let source = Source::new(
            &below,
            &std::fs::read_to_string(path).expect("a source file reads"),
        );
        Source { root, ..source }
    };
    paths.iter().map(read).collect()
}

fn walk(dir: &Path, into: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory reads") {
        let path = entry.expect("an entry reads").path();
        if path.is_dir() {
            walk(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The identifiers and keywords of the code with their offsets.
pub fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + code[rest..].find(is_word)?;
        let end = code[start..]
            .find(|c| !is_word(c))
            .map_or(code.len(), |length| start + length);
        rest = end;
        Some((start, &code[start..end]))
    })
}

/// The offsets of a text in the code.
pub fn places<'a>(code: &'a str, text: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(text).map(|(place, _)| place)
}

struct Split {
    code: String,
    comments: String,
    raw_strings: Vec<Range<usize>>,
}

fn split(text: &str) -> Split {
    let bytes = text.as_bytes();
    let (mut code, mut comments) = (bytes.to_vec(), bytes.to_vec());
    let mut raw_strings = Vec::new();
    let (mut place, mut code_start) = (0, 0);
    while place < bytes.len() {
        let end = match bytes[place] {
            b'/' if bytes[place..].starts_with(b"//") => until(bytes, place, b"\n"),
            b'/' if bytes[place..].starts_with(b"/*") => until(bytes, place + 2, b"*/") + 2,
            b'"' => string_end(bytes, place),
            b'r' if is_raw_string(bytes, place) => raw_string_end(bytes, place),
            b'\'' if bytes[place + 1..].starts_with(b"\\") => until(bytes, place + 3, b"'") + 1,
            b'\'' if bytes.get(place + 2) == Some(&b'\'') => place + 3,
            _ => {
                place += 1;
                continue;
            }
        };
        let end = end.min(bytes.len());
        let is_comment = bytes[place] == b'/';
        if bytes[place] == b'r' {
            raw_strings.push(place..end);
        }
        blank(&mut code[place..end]);
        blank(&mut comments[code_start..if is_comment { place } else { end }]);
        (place, code_start) = (end, end);
    }
    blank(&mut comments[code_start..]);
    let whole = |bytes| String::from_utf8(bytes).expect("whole characters were blanked");
    Split {
        code: whole(code),
        comments: whole(comments),
        raw_strings,
    }
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().filter(|byte| **byte != b'\n') {
        *byte = b' ';
    }
}

/// Whether `r"…"`, `r#"…"#` or such a byte string begins at this `r`.
fn is_raw_string(bytes: &[u8], place: usize) -> bool {
    let is_prefix = match place.checked_sub(1).map(|before| bytes[before]) {
        Some(b'b') => !is_word_byte(bytes, place - 1),
        _ => !is_word_byte(bytes, place),
    };
    let quote = bytes[place + 1..].iter().find(|byte| **byte != b'#');
    is_prefix && quote == Some(&b'"')
}

fn raw_string_end(bytes: &[u8], start: usize) -> usize {
    let hashes = bytes[start + 1..]
        .iter()
        .take_while(|byte| **byte == b'#')
        .count();
    let close = [&b"\""[..], &b"#".repeat(hashes)].concat();
    until(bytes, start + hashes + 2, &close) + close.len()
}

/// Whether the byte before belongs to a word.
fn is_word_byte(bytes: &[u8], place: usize) -> bool {
    place > 0 && (bytes[place - 1].is_ascii_alphanumeric() || bytes[place - 1] == b'_')
}

fn until(bytes: &[u8], from: usize, end: &[u8]) -> usize {
    let from = from.min(bytes.len());
    let found = bytes[from..]
        .windows(end.len())
        .position(|window| window == end);
    found.map_or(bytes.len(), |length| from + length)
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut place = start + 1;
    while place < bytes.len() {
        match bytes[place] {
            b'\\' => place += 2,
            b'"' => return place + 1,
            _ => place += 1,
        }
    }
    bytes.len()
}

/// Blanks every item behind `#[cfg(test)]`, up to the line that closes it at the same indentation.
fn blank_tests(code: &str) -> String {
    // Blank lines keep their lengths, so that offsets stay the same.
    let blank_line = |line: &str| " ".repeat(line.len());
    let mut out: Vec<String> = Vec::new();
    let mut closing: Option<String> = None;
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        if let Some(close) = &closing {
            if line == close {
                closing = None;
            }
            out.push(blank_line(line));
        } else if line.trim() == "#[cfg(test)]" {
            let indent = &line[..line.len() - line.trim_start().len()];
            out.push(blank_line(line));
            let item = lines
                .by_ref()
                .inspect(|line| out.push(blank_line(line)))
                .find(|line| !line.trim().starts_with("#["));
            if item.is_some_and(|item| !item.trim_end().ends_with([';', '}'])) {
                closing = Some(format!("{indent}}}"));
            }
        } else {
            out.push(line.to_owned());
        }
    }
    out.join("\n")
}

#[test]
fn blanks_comments_strings_and_tests() {
    let text = "//! doc\nlet a = \"x.unwrap()\"; // .unwrap()\nlet q = '\"'; \
        b();\n#[cfg(test)]\nmod tests {\n    c.unwrap();\n}\nfn d() {}\n";
    let source = Source::new("a.rs", text);
    assert!(!source.code.contains("doc") && !source.code.contains("x.unwrap"));
    assert!(source.code.contains("b();") && source.code.contains("c.unwrap()"));
    assert!(!source.product.contains("unwrap") && source.product.contains("fn d()"));
    assert!(source.comments.contains("doc") && source.comments.contains(".unwrap()"));
    assert!(!source.comments.contains('x') && !source.comments.contains("fn d"));
    assert_eq!(
        source.at(source.product.find("fn d").expect("kept")),
        "src/a.rs:8"
    );
    assert!(
        Source::new("a/tests.rs", "fn c() { d.unwrap() }")
            .product
            .is_empty()
    );
}

#[test]
fn finds_raw_strings() {
    let text = "f(r\"a\"); g(br##\"b\"# \"##); h(\"c\"); var\n";
    let source = Source::new("a.rs", text);
    let is_raw = |word: &str| {
        let start = text.find(word).expect("a word");
        source.is_raw(&(start..start + word.len()))
    };
    assert!(is_raw("a\"") && is_raw("b\"# ") && !is_raw("c\"") && !is_raw("var"));
    assert_eq!(source.code.trim_end().len(), text.trim_end().len());
}
