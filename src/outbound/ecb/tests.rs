//! Files as the bank writes them, and files that are nearly so.

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
fn the_daily_file_is_read() {
    let read = parse_xml(DAILY.as_bytes()).expect("the bank's");
    assert_eq!(
        shown(&read),
        "2026-01-14: USD 1.1684, JPY 186.75; without []"
    );
}

#[test]
fn a_daily_file_that_is_not_quite_so_is_refused() {
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
fn the_history_is_read_with_its_holes() {
    let text = "Date,USD,EEK,HRK,\n2023-01-02,1.0683,N/A,N/A,\n2022-12-30,1.0666,N/A,7.5365,\n";
    let read = parse_csv(text.as_bytes()).expect("the bank's");
    assert_eq!(
        shown(&read),
        "2023-01-02: USD 1.0683; 2022-12-30: USD 1.0666, HRK 7.5365; without [EEK]"
    );
}

#[test]
fn what_is_wrong_with_a_history_is_told_with_its_line() {
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
        let said = parse_csv(text.as_bytes())
            .expect_err("it is wrong")
            .to_string();
        assert!(said.starts_with(wanted), "{said}");
    }
    let said = parse_csv(b"Date,USD\n2026-01-14,1.1,2.2\n")
        .expect_err("it is wrong")
        .to_string();
    assert!(said.contains("line: 2"), "the reader's own: {said}");
}

#[test]
fn a_history_that_is_not_quite_so_is_refused() {
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
