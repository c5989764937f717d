//! Published numbers: the examples of registers and of python-stdnum, and numbers that companies
//! print on their documents. Each valid one has an invalid neighbour.

use super::*;

/// A valid id, and one of the same form with a wrong check.
const CHECKED: &[(&str, &str)] = &[
    ("ATU13585627", "ATU13585626"),
    ("ATU57194903", "ATU57194904"),
    ("BE0428759497", "BE0431150351"),
    ("BE0697449992", "BE0697449993"),
    ("BG175074752", "BG175074751"),
    ("CHE107787577", "CHE107787578"),
    ("CHE107787577IVA", "CHE107787578IVA"),
    ("CHE107787577MWST", "CHE107787578MWST"),
    ("CHE107787577TPV", "CHE107787578TPV"),
    ("CHE107787577TVA", "CHE107787578TVA"),
    ("CHE100155212", "CHE100155213"),
    ("CY10259033P", "CY10259033Z"),
    ("CZ25123891", "CZ25123890"),
    ("DE136695976", "DE136695978"),
    ("DK13585628", "DK13585627"),
    ("EE100594102", "EE100594103"),
    ("EE100931558", "EE100931559"),
    ("EL094259216", "EL123456781"),
    ("ES54362315K", "ES54362315Z"),
    ("ESB58378431", "ESB58378432"),
    ("ESB64717838", "ESB64717839"),
    ("ESJ99216582", "ESJ99216583"),
    ("ESM1234567L", "ESM1234567M"),
    ("ESX2482300W", "ESX2482300A"),
    ("ESX5253868R", "ESX5253868S"),
    ("FI20774740", "FI20774741"),
    ("FR40303265045", "FR84323140391"),
    ("FR23334175221", "FR23334175222"),
    ("FR61954506077", "FR62954506077"),
    ("FRK7399859412", "FRK7399859413"),
    ("FR4Z123456782", "FRIO334175221"),
    ("GB980780684", "GB802311781"),
    ("GB980780684001", "GB802311781001"),
    ("GBGD001", "GBGD500"),
    ("GBHA599", "GBHA499"),
    ("HR33392005961", "HR33392005962"),
    ("HU12892312", "HU12892313"),
    ("IE6433435F", "IE6433435E"),
    ("IE6433435OA", "IE6433435OB"),
    ("IE8D79739I", "IE8D79739J"),
    ("IT00743110157", "IT00743110158"),
    ("LT100001919017", "LT100001919018"),
    ("LT100004801610", "LT100004801611"),
    ("LT119511515", "LT119511516"),
    ("LU15027442", "LU15027443"),
    ("LV40003521600", "LV40003521601"),
    ("MT11679112", "MT11679113"),
    ("NL002455799B11", "NL002455799B12"),
    ("NL004495445B01", "NL123456789B90"),
    ("NO988077917", "NO988077918"),
    ("NO995525828MVA", "NO995525829MVA"),
    ("PL8567346215", "PL8567346216"),
    ("PT501964843", "PT501964842"),
    ("RO18547290", "RO18547291"),
    ("SE123456789701", "SE123456789101"),
    ("SI50223054", "SI50223055"),
    ("SK2022749619", "SK2022749618"),
    ("XI980780684", "XI802311781"),
    ("XI980780684001", "XI802311781001"),
    ("XIGD001", "XIGD500"),
    ("XIHA599", "XIHA499"),
];

/// Ids of which only the form is checked, each with a text of another form.
const FORM_ONLY: &[(&str, &str)] = &[
    ("BG7111042925", "BG71110429255"),
    ("CZ640903926", "CZ64090392A"),
    ("CZ7103192745", "CZ71031927455"),
    ("LV16117519997", "LV1611751999"),
];

/// Texts that have no form of their country, with the country that the message names.
const MALFORMED: &[(&str, &str)] = &[
    ("AT13585627", "AT"),
    ("ATU1358562", "AT"),
    ("BE428759497", "BE"),
    ("BE2428759497", "BE"),
    ("BG17507475", "BG"),
    ("CH107787577", "CH"),
    ("CHE107787577VAT", "CH"),
    ("CY102590331", "CY"),
    ("CZ2512389", "CZ"),
    ("DE13669597", "DE"),
    ("DE13669597A", "DE"),
    ("DE１３６６９５９７６", "DE"),
    ("DK1358562", "DK"),
    ("EE10093155", "EE"),
    ("EL94259216", "GR"),
    ("GR94259216", "GR"),
    ("ES5836315", "ES"),
    ("FI2077474", "FI"),
    ("FR303265045", "FR"),
    ("GB98078068", "GB"),
    ("GBGD01", "GB"),
    ("HR3339200596", "HR"),
    ("HU1289231", "HU"),
    ("IE64334355", "IE"),
    ("IE8?79739J", "IE"),
    ("IT0074311015", "IT"),
    ("LT11951151", "LT"),
    ("LU1502744", "LU"),
    ("LV4000352160", "LV"),
    ("MT1167911", "MT"),
    ("NL004495445", "NL"),
    ("NL4495445B01", "NL"),
    ("NO99552582MVA", "NO"),
    ("PL856734621", "PL"),
    ("PT50196484", "PT"),
    ("RO1", "RO"),
    ("RO18547290123", "RO"),
    ("SE1234567897", "SE"),
    ("SI5022305", "SI"),
    ("SK202274961", "SK"),
    ("XI98078068", "GB"),
];

fn country(code: &str) -> Country {
    Country::parse(code).expect(code)
}

fn id(text: &str) -> VatId {
    VatId::parse(text).unwrap_or_else(|error| panic!("{text} {error}"))
}

#[test]
fn accepts_published_ids() {
    for (valid, _) in CHECKED.iter().chain(FORM_ONLY) {
        assert_eq!(id(valid).as_str(), *valid);
    }
}

#[test]
fn rejects_wrong_check_digits() {
    for (_, wrong) in CHECKED {
        assert_eq!(VatId::parse(wrong), Err(VatIdError::Checksum), "{wrong}");
    }
}

#[test]
fn rejects_other_forms_and_shows_an_example() {
    let by_form_only = FORM_ONLY.iter().map(|(_, other)| (*other, &other[..2]));
    for (text, code) in MALFORMED.iter().copied().chain(by_form_only) {
        let Err(VatIdError::Form {
            country: of,
            example,
        }) = VatId::parse(text)
        else {
            panic!("{text}: {:?}", VatId::parse(text));
        };
        assert_eq!(of, country(code), "{text}");
        assert_eq!(id(example).country(), of, "{text}");
    }
}

#[test]
fn removes_separators_and_writes_capitals() {
    for (text, normal) in [
        (" DE 136.695-976 ", "DE136695976"),
        ("de136695976", "DE136695976"),
        ("CHE-107.787.577 MWST", "CHE107787577MWST"),
        ("che\u{2011}107.787.577\u{a0}tva", "CHE107787577TVA"),
        ("NO 995 525 828 mva", "NO995525828MVA"),
        ("BE 0428.759.497", "BE0428759497"),
        ("FR 40 303 265 045", "FR40303265045"),
        ("GR 094259216", "EL094259216"),
        ("US 12-3456789", "US123456789"),
    ] {
        assert_eq!(id(text).as_str(), normal, "{text:?}");
        assert_eq!(text.parse(), Ok(id(normal)), "{text:?}");
    }
}

#[test]
fn accepts_letters_and_digits_of_other_countries() {
    for text in ["US12", "US123456789", "LI12345", "CN91310000MA1FL5EX9"] {
        assert_eq!(id(text).country(), country(&text[..2]));
    }
    let too_long = format!("US{}", "1".repeat(19));
    let blanks = format!("US{}12", " ".repeat(50));
    for text in [
        "US1", "US", "US12_34", "US+123", "US12é", &too_long, &blanks,
    ] {
        assert_eq!(VatId::parse(text), Err(VatIdError::UnknownForm), "{text}");
    }
}

#[test]
fn rejects_ids_without_a_prefix() {
    for text in [
        "",
        " ",
        "D",
        "136695976",
        "12-3456789",
        "B58378431",
        "UK980780684",
        "EU123456789",
        "é1",
        "1é2",
        "ÄÖ123456",
        "..--",
    ] {
        assert_eq!(VatId::parse(text), Err(VatIdError::Prefix), "{text:?}");
    }
}

#[test]
fn knows_ids_of_another_country() {
    for (text, code, belongs) in [
        ("DE136695976", "DE", true),
        ("DE136695976", "AT", false),
        ("EL094259216", "GR", true),
        ("EL094259216", "CY", false),
        ("XI980780684", "GB", true),
        ("XI980780684", "IE", false),
        ("GB980780684", "IM", true),
        ("FR40303265045", "MC", true),
        ("FR40303265045", "RE", true),
        ("FR40303265045", "PF", false),
        ("FI20774740", "AX", true),
        ("MC12345", "MC", true),
        ("US123456789", "CA", false),
    ] {
        assert_eq!(id(text).belongs_to(country(code)), belongs, "{text} {code}");
        assert_eq!(id(text).require_country(country(code)).is_ok(), belongs);
    }
}

#[test]
fn says_what_is_wrong_and_what_to_do() {
    let error = |text| VatId::parse(text).expect_err(text).to_string();
    assert_eq!(
        error("12-3456789"),
        "has no country prefix; write it with the prefix, such as DE136695976"
    );
    assert_eq!(
        error("FR303265045"),
        "is not a VAT id of FR; write it like FR40303265045"
    );
    assert_eq!(
        error("DE136695978"),
        "has a wrong check digit; compare it with the document that it was copied from"
    );
    assert_eq!(
        error("US1"),
        "is not a VAT id; write 4 to 20 letters and digits, the country prefix included"
    );
    let mismatch = id("DE136695976").require_country(country("AT"));
    assert_eq!(
        mismatch.expect_err("another country").to_string(),
        "is a VAT id of DE, not of AT; correct the VAT id or the country"
    );
}

#[test]
fn detects_every_wrong_digit_of_numbers_with_one_check_digit() {
    // Rests of 0 and 10 share a digit under some rules, which lets a few errors pass there.
    for valid in [
        "ATU13585627",
        "BE0428759497",
        "CHE107787577",
        "DE136695976",
        "DK13585628",
        "FI20774740",
        "FR40303265045",
        "HR33392005961",
        "IT00743110157",
        "NO995525828MVA",
        "PL8567346215",
    ] {
        for (place, c) in valid.char_indices().filter(|(_, c)| c.is_ascii_digit()) {
            for digit in ('0'..='9').filter(|digit| *digit != c) {
                let mut wrong = valid.to_owned();
                wrong.replace_range(place..=place, &digit.to_string());
                assert!(VatId::parse(&wrong).is_err(), "{wrong}");
            }
        }
    }
}
