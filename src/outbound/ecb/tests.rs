//! The bank's files, and files that differ slightly from them.

use super::*;

const DAILY: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">
	<gesmes:subject>Reference rates</gesmes:subject>
	<gesmes:Sender>
		<gesmes:name>European Central Bank</gesmes:name>
	</gesmes:Sender>
	<Cube>
		<Cube time='2026-01-14'>
			<Cube currency='USD' rate='1.1684'/>
			<Cube currency='JPY' rate='186.75'/>
		</Cube>
	</Cube>
</gesmes:Envelope>"#;

fn shown(publication: &Publication) -> String {
    let day = |(day, rates): &(Day, Vec<(Currency, ExchangeRate)>)| {
        let rates: Vec<String> = rates
            .iter()
            .map(|(currency, rate)| format!("{currency} {rate}"))
            .collect();
        format!("{day}: {}", rates.join(", "))
    };
    let days: Vec<String> = publication.days.iter().map(day).collect();
    format!(
        "{}; without [{}]",
        days.join("; "),
        publication.left_out.join(" ")
    )
}

#[test]
fn parses_daily_file() {
    let read = parse_xml(DAILY.as_bytes()).expect("the bank's");
    assert_eq!(
        shown(&read),
        "2026-01-14: USD 1.1684, JPY 186.75; without []"
    );
}

#[test]
fn rejects_malformed_daily_file() {
    for (old, new) in [
        ("2026-01-14", "2026-02-30"),
        ("2026-01-14", "14.01.2026"),
        ("1.1684", "1,1684"),
        ("1.1684", "N/A"),
        ("1.1684", "0"),
        ("1.1684", "-1.1684"),
        ("1.1684", ""),
        ("'USD'", "'usd'"),
        ("'USD'", "'EUR'"),
        ("'USD'", "'JPY'"),
        ("'USD'", "'DOLLAR'"),
        ("currency='USD' ", ""),
        (" rate='1.1684'", ""),
        (" time='2026-01-14'", ""),
        ("rate=", "rate='1' rate="),
        ("rate=", "multiplier='100' rate="),
        ("</gesmes:Envelope>", ""),
        ("gesmes:Envelope", "html"),
        (
            "<gesmes:Envelope",
            "<!DOCTYPE x [<!ENTITY y 'z'>]><gesmes:Envelope",
        ),
        ("\t\t</Cube>\n", ""),
    ] {
        assert!(DAILY.contains(old), "{old}");
        let text = DAILY.replace(old, new);
        assert!(
            parse_xml(text.as_bytes()).is_err(),
            "{old:?} -> {new:?}: {:?}",
            parse_xml(text.as_bytes())
        );
    }
    for bytes in [
        b"".as_slice(),
        b"<html><body>Maintenance</body></html>",
        b"\xff\xfe",
        b"Date,USD\n2026-01-14,1.1\n",
    ] {
        assert!(parse_xml(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn parses_history_with_gaps() {
    let text = "Date,USD,EEK,HRK,\n2023-01-02,1.0683,N/A,N/A,\n2022-12-30,1.0666,N/A,7.5365,\n";
    let read = parse_csv(text.as_bytes()).expect("the bank's");
    assert_eq!(
        shown(&read),
        "2023-01-02: USD 1.0683; 2022-12-30: USD 1.0666, HRK 7.5365; without [EEK]"
    );
}

#[test]
fn reports_line_of_error_in_history() {
    for (text, wanted) in [
        (
            "Date,USD,JPY\n2026-01-14,1.1,180\n2026-01-13,1.1,abc\n",
            "line 3: the rate \"abc\" of JPY on 2026-01-13 ",
        ),
        (
            "Date,USD\n2026-01-32,1.1\n",
            "line 2: the day \"2026-01-32\" ",
        ),
    ] {
        let message = parse_csv(text.as_bytes())
            .expect_err("malformed")
            .to_string();
        assert!(message.starts_with(wanted), "{message}");
    }
    let message = parse_csv(b"Date,USD\n2026-01-14,1.1,2.2\n")
        .expect_err("malformed")
        .to_string();
    assert!(message.contains("line: 2"), "the reader's own: {message}");
}

#[test]
fn rejects_malformed_history() {
    for text in [
        "",
        "Day,USD\n2026-01-14,1.1\n",
        "Date,USD\n2026-01-32,1.1\n",
        "Date,USD\n2026-01-14,\n",
        "Date,USD\n2026-01-14,n/a\n",
        "Date,USD\n2026-01-14,1.1,2.2\n",
        "Date,USD,USD\n2026-01-14,1.1,1.1\n",
        "Date,EUR\n2026-01-14,1\n",
        "Date,,USD\n2026-01-14,,1.1\n",
        "Date,EEK\n2026-01-14,many\n",
    ] {
        assert!(
            parse_csv(text.as_bytes()).is_err(),
            "{text:?}: {:?}",
            parse_csv(text.as_bytes())
        );
    }
}
