//! Formats of number series, such as `INV-2026-000042`.
//!
//! The configuration parses the format once, so that issuing an invoice cannot fail on it. Months,
//! days and shop names are deliberately absent: a number states the year and the sequence.

use std::fmt;

/// The longest number that a format may produce, in characters.
pub const MAX_RENDERED_CHARS: usize = 40;
/// The widest zero padding of the sequence, in digits.
const MAX_PAD_DIGITS: usize = 12;
/// The digits of the largest sequence number.
const MAX_SEQ_DIGITS: usize = 20;
/// Years are written with four digits.
const YEAR_DIGITS: usize = 4;

/// A validated number format: literal text, one `{seq}` or `{seq:0N}`, at most one `{year}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberFormat {
    source: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Year,
    Seq { pad_digits: usize },
}

/// The reason why a text is not a number format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberFormatError {
    /// Without the sequence all numbers would be equal.
    #[error("must contain {{seq}} or {{seq:0N}}")]
    SeqMissing,
    #[error("contains {{{0}}} more than once")]
    Repeated(&'static str),
    /// Not a known placeholder, or a padding outside 1 to 12 digits.
    #[error("{{{0}}} is not a placeholder; use {{year}}, {{seq}}, or {{seq:01}} to {{seq:012}}")]
    UnknownPlaceholder(String),
    #[error("has a {{ without its }}")]
    Unclosed,
    /// A character that is not safe in file names, URLs and bank references.
    #[error("contains {0:?}; only letters, digits and - _ / . are allowed")]
    BadCharacter(char),
    /// A large sequence number would not fit.
    #[error("can produce {chars} characters; shorten it to at most {MAX_RENDERED_CHARS}")]
    TooLong {
        /// The length with the largest sequence number.
        chars: usize,
    },
}

impl NumberFormat {
    /// Parses a format such as `INV-{year}-{seq:06}`.
    ///
    /// # Errors
    /// Reports the first fault from the left, then a missing sequence, then the length.
    pub fn parse(source: &str) -> Result<Self, NumberFormatError> {
        let mut pieces = Vec::new();
        let mut rest = source;
        while let Some(first) = rest.chars().next() {
            let (piece, after) = if let Some(inner) = rest.strip_prefix('{') {
                let (name, after) = inner.split_once('}').ok_or(NumberFormatError::Unclosed)?;
                (placeholder(name)?, after)
            } else if is_literal(first) {
                let end = rest.find(|c| !is_literal(c)).unwrap_or(rest.len());
                let (text, after) = rest.split_at(end);
                (Piece::Text(text.to_owned()), after)
            } else {
                return Err(NumberFormatError::BadCharacter(first));
            };
            if let Some(name) = repeated(&pieces, &piece) {
                return Err(NumberFormatError::Repeated(name));
            }
            pieces.push(piece);
            rest = after;
        }
        if !pieces.iter().any(|p| matches!(p, Piece::Seq { .. })) {
            return Err(NumberFormatError::SeqMissing);
        }
        let chars = pieces.iter().map(Piece::max_chars).sum();
        if chars > MAX_RENDERED_CHARS {
            return Err(NumberFormatError::TooLong { chars });
        }
        Ok(Self {
            source: source.to_owned(),
            pieces,
        })
    }

    /// Formats one number; `year` is the year of issue (0 to 9999), `seq` the position in the
    /// series.
    #[must_use]
    pub fn render(&self, year: i16, seq: u64) -> String {
        let mut out = String::with_capacity(MAX_RENDERED_CHARS);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Year => out.push_str(&format!("{year:0YEAR_DIGITS$}")),
                Piece::Seq { pad_digits } => out.push_str(&format!("{seq:0pad_digits$}")),
            }
        }
        out
    }

    /// The name of the series of a number: its text without the sequence. Formats that could
    /// produce the same number in the same year share one series, whatever their padding, and
    /// continue its count.
    #[must_use]
    pub fn series(&self, year: i16) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Year => format!("{year:0YEAR_DIGITS$}"),
            Piece::Seq { .. } => "#".to_owned(),
        };
        self.pieces.iter().map(piece).collect()
    }

    /// The source text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl fmt::Display for NumberFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl Piece {
    fn max_chars(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Year => YEAR_DIGITS,
            Self::Seq { .. } => MAX_SEQ_DIGITS,
        }
    }
}

fn is_literal(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/' | '.')
}

fn placeholder(name: &str) -> Result<Piece, NumberFormatError> {
    let unknown = || NumberFormatError::UnknownPlaceholder(name.to_owned());
    match name {
        "year" => Ok(Piece::Year),
        "seq" => Ok(Piece::Seq { pad_digits: 1 }),
        _ => {
            let digits = name.strip_prefix("seq:0").ok_or_else(unknown)?;
            let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
            match digits.parse() {
                Ok(pad_digits) if plain && (1..=MAX_PAD_DIGITS).contains(&pad_digits) => {
                    Ok(Piece::Seq { pad_digits })
                }
                _ => Err(unknown()),
            }
        }
    }
}

fn repeated(before: &[Piece], piece: &Piece) -> Option<&'static str> {
    let (name, seen) = match piece {
        Piece::Text(_) => return None,
        Piece::Year => ("year", before.contains(&Piece::Year)),
        Piece::Seq { .. } => ("seq", before.iter().any(|p| matches!(p, Piece::Seq { .. }))),
    };
    seen.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn renders_year_and_padded_sequence() {
        let format = NumberFormat::parse("INV-{year}-{seq:06}").unwrap();
        assert_eq!(format.render(2026, 42), "INV-2026-000042");
        assert_eq!(format.render(2026, 1_234_567), "INV-2026-1234567");
        assert_eq!(format.series(2026), "INV-2026-#");
        let padded = NumberFormat::parse("INV-2026-{seq:04}").unwrap();
        assert_eq!(
            padded.series(2026),
            format.series(2026),
            "these two share a series"
        );
        assert_eq!(format.to_string(), "INV-{year}-{seq:06}");
        let plain = NumberFormat::parse("R/{seq}").unwrap();
        assert_eq!(plain.render(2026, 7), "R/7");
        assert_eq!(
            (plain.series(2026), plain.series(2027)),
            ("R/#".to_owned(), "R/#".to_owned())
        );
    }

    #[test]
    fn rejects_invalid_formats_with_reason() {
        use NumberFormatError as E;
        let long = "A".repeat(21) + "{seq}";
        let cases = [
            ("", E::SeqMissing),
            ("INV-{year}", E::SeqMissing),
            ("{seq}{seq:03}", E::Repeated("seq")),
            ("{year}{year}{seq}", E::Repeated("year")),
            ("{seq:013}", E::UnknownPlaceholder("seq:013".into())),
            ("{seq:00}", E::UnknownPlaceholder("seq:00".into())),
            ("{seq:0}", E::UnknownPlaceholder("seq:0".into())),
            ("{seq:6}", E::UnknownPlaceholder("seq:6".into())),
            ("{month}{seq}", E::UnknownPlaceholder("month".into())),
            ("{seq", E::Unclosed),
            ("INV {seq}", E::BadCharacter(' ')),
            ("{seq}}", E::BadCharacter('}')),
            ("É{seq}", E::BadCharacter('É')),
            (long.as_str(), E::TooLong { chars: 41 }),
        ];
        for (source, expected) in cases {
            assert_eq!(NumberFormat::parse(source), Err(expected), "{source}");
        }
    }

    proptest! {
        #[test]
        fn rendered_number_fits_limit(source in "[A-Z{}a-z:0-9/-]{0,50}", year in 0i16..=9999,
            seq: u64) {
            if let Ok(format) = NumberFormat::parse(&source) {
                prop_assert!(format.render(year, seq).len() <= MAX_RENDERED_CHARS);
            }
        }

        #[test]
        fn different_sequences_render_differently(a: u64, b: u64) {
            let format = NumberFormat::parse("{year}/{seq:04}").unwrap();
            prop_assert_eq!(a == b, format.render(2026, a) == format.render(2026, b));
        }
    }
}
