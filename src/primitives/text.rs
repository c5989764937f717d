//! Short validated texts: slug, SKU, e-mail address, names.
//!
//! Texts are not trimmed or normalised, except for case where the standard demands it: a shop gets
//! back what it entered. Control characters are rejected everywhere, so that no text can break a
//! log line, a mail header or a terminal.

use std::fmt;

use super::limits;

/// The reason why a text is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Empty, or only whitespace.
    #[error("must not be empty")]
    Empty,
    #[error("is too long; the limit is {0} characters")]
    TooLong(usize),
    /// A character or form that is not allowed.
    #[error("{0}")]
    Form(&'static str),
}

fn check(
    text: &str,
    chars_max: usize,
    form: &'static str,
    allowed: impl Fn(char) -> bool,
) -> Result<(), TextError> {
    if text.trim().is_empty() {
        return Err(TextError::Empty);
    }
    if text.chars().count() > chars_max {
        return Err(TextError::TooLong(chars_max));
    }
    if text.chars().all(|c| !c.is_control() && allowed(c)) {
        Ok(())
    } else {
        Err(TextError::Form(form))
    }
}

/// Deserializes a value from its text.
pub(super) fn parsed<'de, T, E: fmt::Display, D: serde::Deserializer<'de>>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, D::Error> {
    let text = <std::borrow::Cow<'_, str> as serde::Deserialize>::deserialize(deserializer)?;
    parse(&text).map_err(serde::de::Error::custom)
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident, $parse:path;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Validates the text.
            pub fn parse(text: &str) -> Result<Self, TextError> {
                $parse(text).map(Self)
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                parsed(deserializer, Self::parse)
            }
        }

        impl std::str::FromStr for $name {
            type Err = TextError;
            fn from_str(text: &str) -> Result<Self, TextError> {
                Self::parse(text)
            }
        }
    )*};
}

texts! {
    /// The short name of a tenant in commands and headers: a DNS label in lower case.
    Slug, slug;
    /// A shop's identifier of a product; case-sensitive.
    Sku, sku;
    /// The code that a scanner reads from a product.
    Barcode, barcode;
    /// An e-mail address in the form of the HTML standard's `type=email`; the domain in lower case.
    Email, email;
    /// The name of a product, category, tenant or key.
    Name, name;
    /// A free-text remark: the reason of an adjustment, a provider's reference.
    Note, note;
    /// A postal address as it is printed on documents, in one to six lines.
    Address, address;
    /// A tax class of goods: `standard`, `reduced` …
    TaxClass, tax_class;
    /// The host name of a storefront, in lower case and without a port.
    HostName, host_name;
}

const ADDRESS_LINES_MAX: usize = 6;

fn slug(text: &str) -> Result<String, TextError> {
    const FORM: &str = "may contain only lower-case letters a-z, digits and inner hyphens";
    check(text, limits::SLUG_CHARS_MAX, FORM, |c| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
    })?;
    if text.starts_with('-') || text.ends_with('-') {
        Err(TextError::Form(FORM))
    } else {
        Ok(text.to_owned())
    }
}

fn sku(text: &str) -> Result<String, TextError> {
    const FORM: &str = "may contain only letters, digits and - _ . / + # :";
    check(text, limits::SKU_CHARS_MAX, FORM, |c| {
        c.is_alphanumeric() || "-_./+#:".contains(c)
    })?;
    Ok(text.to_owned())
}

fn barcode(text: &str) -> Result<String, TextError> {
    check(
        text,
        limits::BARCODE_CHARS_MAX,
        "may contain only printable ASCII characters",
        |c| c.is_ascii_graphic(),
    )?;
    Ok(text.to_owned())
}

fn name(text: &str) -> Result<String, TextError> {
    check(
        text,
        limits::NAME_CHARS_MAX,
        "must not contain control characters",
        |_| true,
    )?;
    Ok(text.to_owned())
}

fn note(text: &str) -> Result<String, TextError> {
    check(
        text,
        limits::NOTE_CHARS_MAX,
        "must not contain control characters",
        |_| true,
    )?;
    Ok(text.to_owned())
}

fn address(text: &str) -> Result<String, TextError> {
    const FORM: &str = "must be one to six lines without control characters";
    check(text, limits::NOTE_CHARS_MAX, FORM, |_| true).or_else(|error| {
        // Line breaks are the only control characters of an address.
        let one_line = text.replace(['\r', '\n'], " ");
        let lines = text.lines().count();
        match error {
            TextError::Form(_) if lines <= ADDRESS_LINES_MAX => {
                check(&one_line, limits::NOTE_CHARS_MAX, FORM, |_| true)
            }
            error => Err(error),
        }
    })?;
    Ok(text.lines().collect::<Vec<_>>().join("\n"))
}

fn tax_class(text: &str) -> Result<String, TextError> {
    const FORM: &str = "may contain only lower-case letters a-z, digits, - and _";
    check(text, limits::SLUG_CHARS_MAX, FORM, |c| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_'
    })?;
    Ok(text.to_owned())
}

fn host_name(text: &str) -> Result<String, TextError> {
    const FORM: &str =
        "is not a host name; write it like shop.example.org, without a scheme or a port";
    check(text, limits::HOST_CHARS_MAX, FORM, |c| {
        c.is_ascii_alphanumeric() || c == '-' || c == '.'
    })?;
    let label_ok = |label: &str| {
        !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
    };
    if text.split('.').all(label_ok) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(TextError::Form(FORM))
    }
}

fn email(text: &str) -> Result<String, TextError> {
    const FORM: &str = "is not an e-mail address; write it like name@example.org";
    check(text, limits::EMAIL_CHARS_MAX, FORM, |c| {
        c.is_ascii_graphic()
    })?;
    let (local, domain) = text.rsplit_once('@').ok_or(TextError::Form(FORM))?;
    // Dots separate non-empty parts (RFC 5321 §4.1.2, Dot-string): the mailer would reject others.
    let local_ok = local.len() <= 64
        && local.split('.').all(|part| !part.is_empty())
        && local
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c));
    match host_name(domain) {
        Ok(domain) if local_ok => Ok(format!("{local}@{domain}")),
        _ => Err(TextError::Form(FORM)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_valid_texts_unchanged() {
        assert_eq!(
            Slug::parse("corner-shop-2").expect("good").as_str(),
            "corner-shop-2"
        );
        assert_eq!(
            Sku::parse("TRK-00001/ä").expect("good").as_str(),
            "TRK-00001/ä"
        );
        assert_eq!(
            Email::parse("Anna.B+x@Example.ORG").expect("good").as_str(),
            "Anna.B+x@example.org"
        );
        assert_eq!(
            HostName::parse("Shop.Example.org").expect("good").as_str(),
            "shop.example.org"
        );
    }

    #[test]
    fn rejects_invalid_texts() {
        for text in ["", "-a", "a-", "A", "a_b", "ä", "a b", "../a"] {
            assert!(Slug::parse(text).is_err(), "{text:?}");
        }
        for text in ["", " ", "a\u{0}", "a\nb", "a b"] {
            assert!(Sku::parse(text).is_err(), "{text:?}");
        }
        for text in [
            "",
            "a",
            "@b.c",
            "a@",
            "a@b..c",
            "a@b c",
            "a\r\nBcc: x@y.z",
            "a@@b.c",
            "<a@b.c>",
            ".a@b.c",
            "a.@b.c",
            "a..b@c.d",
        ] {
            assert!(Email::parse(text).is_err(), "{text:?}");
        }
        assert!(Name::parse("a\u{1b}[31m").is_err());
        assert_eq!(Name::parse(&"x".repeat(201)), Err(TextError::TooLong(200)));
    }
}
