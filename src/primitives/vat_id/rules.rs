//! The forms of VAT ids by prefix, and their check digits: pure functions of the number behind the
//! prefix.
//!
//! The forms are those of the European Commission's table "VAT identification number structure"
//! (the FAQ of VIES); for `GB`, `CH` and `NO` those of the national tax authorities. National law
//! leaves the algorithms to the registers. They are published by the registers, or are known from
//! the Commission's list of algorithms for VIES and from open validators (python-stdnum). A check
//! exists only where the algorithm is undisputed: a wrong rule would refuse a genuine number.

/// The rule of one prefix.
pub(super) struct Rule {
    pub prefix: &'static str,
    forms: &'static [&'static str],
    has_valid_check: fn(&str) -> bool,
    /// A genuine or published VAT id, for messages.
    pub example: &'static str,
}

impl Rule {
    /// Finds the rule of a prefix.
    pub fn of(prefix: &str) -> Option<&'static Self> {
        RULES.iter().find(|rule| rule.prefix == prefix)
    }

    /// Tells whether the number behind the prefix has one of the forms.
    pub fn has_form(&self, number: &str) -> bool {
        self.forms.iter().any(|form| matches_form(form, number))
    }

    /// Tells whether the check digits of a number that has one of the forms are right.
    pub fn has_valid_check(&self, number: &str) -> bool {
        (self.has_valid_check)(number)
    }
}

/// Compares with a form of the Commission's table, its classes in lower case: `9` is a digit, `l` a
/// letter, `x` a letter or a digit, `s` a letter, a digit, `+` or `*`. All else stands for itself.
fn matches_form(form: &str, number: &str) -> bool {
    let fits = |(class, c): (u8, u8)| match class {
        b'9' => c.is_ascii_digit(),
        b'l' => c.is_ascii_uppercase(),
        b'x' => c.is_ascii_uppercase() || c.is_ascii_digit(),
        b's' => c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'+' || c == b'*',
        _ => c == class,
    };
    form.len() == number.len() && form.bytes().zip(number.bytes()).all(fits)
}

macro_rules! rules {
    ($($prefix:literal: $forms:expr, $has_valid_check:expr, $example:literal;)*) => {
        const RULES: &[Rule] = &[$(Rule {
            prefix: $prefix,
            forms: &$forms,
            has_valid_check: $has_valid_check,
            example: $example,
        }),*];
    };
}

rules! {
    "AT": ["U99999999"], austria, "ATU13585627";
    "BE": ["0999999999", "1999999999"], belgium, "BE0428759497";
    "BG": ["999999999", "9999999999"], bulgaria, "BG175074752";
    "CH": ["E999999999", "E999999999MWST", "E999999999TVA", "E999999999IVA", "E999999999TPV"],
        switzerland, "CHE107787577MWST";
    "CY": ["99999999l"], cyprus, "CY10259033P";
    "CZ": ["99999999", "999999999", "9999999999"], czechia, "CZ25123891";
    "DE": ["999999999"], germany, "DE136695976";
    "DK": ["99999999"], denmark, "DK13585628";
    "EE": ["999999999"], estonia, "EE100931558";
    "EL": ["999999999"], greece, "EL094259216";
    "ES": ["x9999999x"], spain, "ESB58378431";
    "FI": ["99999999"], finland, "FI20774740";
    "FR": ["xx999999999"], france, "FR40303265045";
    "GB": ["999999999", "999999999999", "GD999", "HA999"], united_kingdom, "GB980780684";
    "HR": ["99999999999"], croatia, "HR33392005961";
    "HU": ["99999999"], hungary, "HU12892312";
    "IE": ["9s99999l", "9999999ll"], ireland, "IE6433435F";
    "IT": ["99999999999"], italy, "IT00743110157";
    "LT": ["999999999", "999999999999"], lithuania, "LT119511515";
    "LU": ["99999999"], luxembourg, "LU15027442";
    "LV": ["99999999999"], latvia, "LV40003521600";
    "MT": ["99999999"], malta, "MT11679112";
    "NL": ["999999999B99"], netherlands, "NL004495445B01";
    "NO": ["999999999", "999999999MVA"], norway, "NO995525828MVA";
    "PL": ["9999999999"], poland, "PL8567346215";
    "PT": ["999999999"], portugal, "PT501964843";
    "RO": ["99", "999", "9999", "99999", "999999", "9999999", "99999999", "999999999",
        "9999999999"], romania, "RO18547290";
    "SE": ["999999999999"], sweden, "SE123456789701";
    "SI": ["99999999"], slovenia, "SI50223054";
    "SK": ["9999999999"], slovakia, "SK2022749619";
    "XI": ["999999999", "999999999999", "GD999", "HA999"], united_kingdom, "XI980780684";
}

fn digits(text: &str) -> impl DoubleEndedIterator<Item = u32> + '_ {
    text.chars().filter_map(|c| c.to_digit(10))
}

/// The digits as a number; the forms keep it within 12 digits.
fn number(text: &str) -> u64 {
    digits(text).fold(0, |number, digit| number * 10 + u64::from(digit))
}

/// The sum of the digits, each times the weight of its place. Digits beyond the weights have none.
fn weighted(text: &str, weights: &[u32]) -> u32 {
    digits(text).zip(weights).map(|(digit, w)| digit * w).sum()
}

/// The sum of Luhn's algorithm (ISO/IEC 7812-1, annex B): from the right, every second digit is
/// doubled, and the digits of the products are added up.
fn luhn_sum(text: &str) -> u32 {
    digits(text)
        .rev()
        .enumerate()
        .map(|(place, digit)| match place % 2 {
            0 => digit,
            _ => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum()
}

/// ISO/IEC 7064, MOD 11,10: a hybrid system whose last digit is the check digit.
fn is_mod_11_10(text: &str) -> bool {
    let (body, check) = text.split_at(text.len() - 1);
    let rest = digits(body).fold(10, |product, digit| {
        let sum = match (product + digit) % 10 {
            0 => 10,
            sum => sum,
        };
        sum * 2 % 11
    });
    digits(check).all(|check| (rest + check) % 10 == 1)
}

/// UID (UStG 1994, Art. 28 BMR): Luhn's sum of the first seven digits, plus 4.
fn austria(text: &str) -> bool {
    let (body, check) = text.split_at(text.len() - 1);
    (luhn_sum(body) + 4 + weighted(check, &[1])).is_multiple_of(10)
}

/// Ondernemingsnummer (royal decree of 24 June 2003, art. 2): 97 minus the rest of the first eight
/// digits by 97.
fn belgium(text: &str) -> bool {
    let (body, check) = text.split_at(8);
    (number(body) + number(check)).is_multiple_of(97)
}

/// EIK (BULSTAT Register Act) of nine digits. The ten digits of a natural person follow one of
/// three rules, so only their form is checked.
fn bulgaria(text: &str) -> bool {
    if text.len() == 10 {
        return true;
    }
    let (body, check) = text.split_at(8);
    let rest = match weighted(body, &[1, 2, 3, 4, 5, 6, 7, 8]) % 11 {
        10 => weighted(body, &[3, 4, 5, 6, 7, 8, 9, 10]) % 11 % 10,
        rest => rest,
    };
    weighted(check, &[1]) == rest
}

/// UID (Federal Act on the Enterprise Identification Number, SR 431.03; eCH-0097): modulo 11.
fn switzerland(text: &str) -> bool {
    weighted(text, &[5, 4, 3, 2, 7, 6, 5, 4, 1]).is_multiple_of(11)
}

/// The check letter: the digits at odd places are replaced, those at even places count as they are.
fn cyprus(text: &str) -> bool {
    const AT_ODD_PLACES: [u32; 10] = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21];
    let (body, check) = text.split_at(8);
    let sum: u32 = digits(body)
        .enumerate()
        .map(|(place, digit)| match place % 2 {
            0 => AT_ODD_PLACES[digit as usize],
            _ => digit,
        })
        .sum();
    check
        .bytes()
        .all(|letter| u32::from(letter - b'A') == sum % 26)
}

/// DIČ: the IČO of a legal person, eight digits, modulo 11. Birth numbers (nine or ten digits) have
/// exceptions, so only their form is checked.
fn czechia(text: &str) -> bool {
    if text.len() > 8 {
        return true;
    }
    let (body, check) = text.split_at(7);
    let sum = weighted(body, &[8, 7, 6, 5, 4, 3, 2]);
    weighted(check, &[1]) == (11 - sum % 11) % 10
}

/// USt-IdNr. (UStG § 27a; the Federal Central Tax Office): ISO/IEC 7064, MOD 11,10.
fn germany(text: &str) -> bool {
    !text.starts_with('0') && is_mod_11_10(text)
}

/// CVR number (Danish Business Authority): modulo 11.
fn denmark(text: &str) -> bool {
    !text.starts_with('0') && weighted(text, &[2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11)
}

/// KMKR number: the weights 3, 7, 1 of Estonian bank accounts, modulo 10.
fn estonia(text: &str) -> bool {
    weighted(text, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)
}

/// AFM: powers of two, modulo 11.
fn greece(text: &str) -> bool {
    let (body, check) = text.split_at(8);
    let sum = weighted(body, &[256, 128, 64, 32, 16, 8, 4, 2]);
    weighted(check, &[1]) == sum % 11 % 10
}

/// NIF (Real Decreto 1065/2007, art. 18-28; Orden EHA/451/2008): the letter of a natural person is
/// the number modulo 23; a legal person has Luhn's digit or its letter. Lists differ about which
/// kind of legal person has which, so both are valid.
fn spain(text: &str) -> bool {
    const LETTERS: &[u8] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    let (body, check) = text.split_at(8);
    let letter_of = |number: u64| LETTERS[(number % 23) as usize];
    let check = check.as_bytes()[0];
    match body.as_bytes()[0] {
        b'0'..=b'9' | b'K' | b'L' | b'M' => check == letter_of(number(body)),
        first @ b'X'..=b'Z' => {
            check == letter_of(u64::from(first - b'X') * 10_000_000 + number(body))
        }
        b'I' | b'O' | b'T' => false,
        _ => {
            let digit = (10 - luhn_sum(&format!("{body}0")) % 10) % 10;
            let letters = b"JABCDEFGHI";
            u32::from(check) == u32::from(b'0') + digit || check == letters[digit as usize]
        }
    }
}

/// Y-tunnus (Finnish Patent and Registration Office): modulo 11.
fn finland(text: &str) -> bool {
    weighted(text, &[7, 9, 10, 5, 8, 4, 2, 1]).is_multiple_of(11)
}

/// Numéro de TVA (CGI, art. 286 ter; BOI-TVA-DECLA-20-10-30): two digits are 12 plus three times
/// the SIREN, modulo 97. A key with letters has no published rule: there the SIREN is checked
/// (Luhn), which numbers of Monaco (`000…`) do not contain.
fn france(text: &str) -> bool {
    let (key, siren) = text.split_at(2);
    if key.contains(['I', 'O']) {
        return false;
    }
    if key.bytes().all(|c| c.is_ascii_digit()) {
        return number(key) == (12 + 3 * (number(siren) % 97)) % 97;
    }
    siren.starts_with("000") || luhn_sum(siren).is_multiple_of(10)
}

/// VAT registration number (HMRC): modulo 97; numbers from 100 on also have 55 added or subtracted
/// (since 2010). Branches add three digits; `GD` is a government department, `HA` a health
/// authority.
fn united_kingdom(text: &str) -> bool {
    match text.split_at(2) {
        ("GD", department) => number(department) < 500,
        ("HA", authority) => number(authority) >= 500,
        _ => {
            let rest = weighted(text, &[8, 7, 6, 5, 4, 3, 2, 10, 1]) % 97;
            rest == 0 || ([97 - 55, 55].contains(&rest) && number(&text[..3]) >= 100)
        }
    }
}

/// OIB (Osobni identifikacijski broj Act): ISO/IEC 7064, MOD 11,10.
fn croatia(text: &str) -> bool {
    is_mod_11_10(text)
}

/// The first eight digits of the adószám (Act CL of 2017, annex): modulo 10.
fn hungary(text: &str) -> bool {
    weighted(text, &[9, 7, 3, 1, 9, 7, 3, 1]).is_multiple_of(10)
}

/// The check letter is the eighth character: modulo 23, with the letter behind it (since 2013)
/// times 9. In the old form the first digit counts as the seventh, and the sign is left out.
fn ireland(text: &str) -> bool {
    const LETTERS: &[u8] = b"WABCDEFGHIJKLMNOPQRSTUV";
    let value_of = |letter: u8| LETTERS.iter().position(|l| *l == letter);
    let second = match text.as_bytes()[1] {
        b'0'..=b'9' => text[..7].to_owned(),
        _ => format!("0{}{}", &text[2..7], &text[..1]),
    };
    let behind = text.as_bytes().get(8).map_or(Some(0), |c| value_of(*c));
    let Some(behind) = behind else {
        return false;
    };
    let sum = weighted(&second, &[8, 7, 6, 5, 4, 3, 2]) as usize + 9 * behind;
    LETTERS[sum % 23] == text.as_bytes()[7]
}

/// Partita IVA (D.P.R. 633/1972, art. 35): Luhn.
fn italy(text: &str) -> bool {
    luhn_sum(text).is_multiple_of(10)
}

/// PVM code: modulo 11, with other weights when the rest is 10.
fn lithuania(text: &str) -> bool {
    let (body, check) = text.split_at(text.len() - 1);
    let rest = match weighted(body, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2]) % 11 {
        10 => weighted(body, &[3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4]) % 11 % 10,
        rest => rest,
    };
    weighted(check, &[1]) == rest
}

/// Numéro d'identification TVA: the first six digits modulo 89.
fn luxembourg(text: &str) -> bool {
    let (body, check) = text.split_at(6);
    number(body) % 89 == number(check)
}

/// PVN number of a legal person: modulo 11, with the rest 3. The codes of natural persons (first
/// digit 0 to 3) have two forms, so only their form is checked.
fn latvia(text: &str) -> bool {
    text.starts_with(['0', '1', '2', '3'])
        || weighted(text, &[9, 1, 4, 8, 3, 10, 2, 5, 7, 6, 1]) % 11 == 3
}

/// VAT number: modulo 37.
fn malta(text: &str) -> bool {
    weighted(text, &[3, 4, 6, 7, 8, 9, 10, 1]).is_multiple_of(37)
}

/// Btw-identificatienummer (Wet OB 1968, art. 2a; Belastingdienst): modulo 11 over the RSIN. Sole
/// traders have since 2020 a number without their BSN: ISO/IEC 7064, MOD 97-10, prefix included
/// (`N` is 23, `L` 21, `B` 11).
fn netherlands(text: &str) -> bool {
    let (body, suffix) = text.split_at(9);
    let is_rsin = weighted(body, &[9, 8, 7, 6, 5, 4, 3, 2, 10]).is_multiple_of(11);
    let whole = format!("2321{body}11{}", &suffix[1..]);
    let rest = digits(&whole).fold(0, |rest, digit| (rest * 10 + digit) % 97);
    number(body) > 0 && (is_rsin || rest == 1)
}

/// Organisasjonsnummer (Enhetsregisterloven; Brønnøysund Register Centre): modulo 11.
fn norway(text: &str) -> bool {
    weighted(text, &[3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11)
}

/// NIP (Act of 13 October 1995 on the registration of taxpayers): modulo 11; a rest of 10 is not
/// issued.
fn poland(text: &str) -> bool {
    let (body, check) = text.split_at(9);
    weighted(body, &[6, 5, 7, 2, 3, 4, 5, 6, 7]) % 11 == weighted(check, &[1])
}

/// NIF (Decreto-Lei 14/2013): modulo 11.
fn portugal(text: &str) -> bool {
    let (body, check) = text.split_at(8);
    let sum = weighted(body, &[9, 8, 7, 6, 5, 4, 3, 2]);
    !text.starts_with('0') && weighted(check, &[1]) == (11 - sum % 11) % 11 % 10
}

/// CUI: the weights 753217532, aligned at the right, times 10, modulo 11.
fn romania(text: &str) -> bool {
    let (body, check) = text.split_at(text.len() - 1);
    let sum = weighted(&format!("{body:0>9}"), &[7, 5, 3, 2, 1, 7, 5, 3, 2]);
    !text.starts_with('0') && weighted(check, &[1]) == sum * 10 % 11 % 10
}

/// Momsregistreringsnummer (Skatteverket): the organisationsnummer (Luhn) and two digits, nearly
/// always `01`.
fn sweden(text: &str) -> bool {
    luhn_sum(&text[..10]).is_multiple_of(10)
}

/// Davčna številka (Tax Administration Act): modulo 11; a rest of 0 is not issued.
fn slovenia(text: &str) -> bool {
    let (body, check) = text.split_at(7);
    let rest = weighted(body, &[8, 7, 6, 5, 4, 3, 2]) % 11;
    !text.starts_with('0') && rest != 0 && weighted(check, &[1]) == (11 - rest) % 10
}

/// IČ DPH: the number is a multiple of 11.
fn slovakia(text: &str) -> bool {
    number(text).is_multiple_of(11)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_each_prefix_once_and_a_valid_example_of_it() {
        assert!(RULES.is_sorted_by(|a, b| a.prefix < b.prefix));
        assert_eq!(RULES.len(), 27 + 4, "the Union, XI, GB, CH and NO");
        for rule in RULES {
            let number = rule.example.strip_prefix(rule.prefix);
            let number = number.expect("the example begins with the prefix");
            assert!(rule.has_form(number), "{}", rule.example);
            assert!(rule.has_valid_check(number), "{}", rule.example);
        }
    }
}
