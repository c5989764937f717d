//! Short texts with a form of their own: slug, SKU, e-mail address, names.
//!
//! All are trimmed of nothing and normalised in nothing but the case where the standard says so:
//! what a shop typed is what it gets back. Control characters are refused everywhere, so that no
//! text can break a log line, a mail header or a terminal.

use std::fmt;

use super::limits;

/// Why a text is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing, or only blanks.
    #[error("must not be empty")]
    Empty,
    /// Too many characters.
    #[error("is too long; the limit is {0} characters")]
    TooLong(usize),
    /// A character that has no place in it.
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

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident, $parse:path;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Checks the form.
            ///
            /// # Errors
            /// [`TextError`], which says what the form is.
            pub fn parse(text: &str) -> Result<Self, TextError> {
                $parse(text).map(Self)
            }

            /// The text.
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

        impl std::str::FromStr for $name {
            type Err = TextError;
            fn from_str(text: &str) -> Result<Self, TextError> {
                Self::parse(text)
            }
        }
    )*};
}

texts! {
    /// A tenant's short name in commands and headers: a DNS label in lower case.
    Slug, slug;
    /// A shop's own number of a product; capitals and small letters differ.
    Sku, sku;
    /// What a scanner reads from the product.
    Barcode, barcode;
    /// An e-mail address, as the HTML standard's `type=email` takes it; the domain in lower case.
    Email, email;
    /// The name of a product, category, tenant or key.
    Name, name;
    /// A remark in free text: the reason of an adjustment, a provider's reference.
    Note, note;
    /// A class of goods for tax: `standard`, `reduced` …
    TaxClass, tax_class;
    /// A host name of a storefront, in lower case and without a port.
    HostName, host_name;
}

fn slug(text: &str) -> Result<String, TextError> {
    const FORM: &str = "may hold small letters a-z, digits and inner hyphens only";
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
    const FORM: &str = "may hold letters, digits and - _ . / + # : only";
    check(text, limits::SKU_CHARS_MAX, FORM, |c| {
        c.is_alphanumeric() || "-_./+#:".contains(c)
    })?;
    Ok(text.to_owned())
}

fn barcode(text: &str) -> Result<String, TextError> {
    check(
        text,
        limits::BARCODE_CHARS_MAX,
        "may hold printable ASCII characters only",
        |c| c.is_ascii_graphic(),
    )?;
    Ok(text.to_owned())
}

fn name(text: &str) -> Result<String, TextError> {
    check(
        text,
        limits::NAME_CHARS_MAX,
        "must not hold control characters",
        |_| true,
    )?;
    Ok(text.to_owned())
}

fn note(text: &str) -> Result<String, TextError> {
    check(
        text,
        limits::NOTE_CHARS_MAX,
        "must not hold control characters",
        |_| true,
    )?;
    Ok(text.to_owned())
}

fn tax_class(text: &str) -> Result<String, TextError> {
    const FORM: &str = "may hold small letters a-z, digits, - and _ only";
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
    // A dot stands between two parts (RFC 5321 §4.1.2, Dot-string): what the mailer would refuse is
    // refused here.
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
    fn good_texts_are_kept_as_they_are() {
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
    fn bad_texts_are_refused() {
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
