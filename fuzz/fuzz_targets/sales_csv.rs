//! Past sales, from their two files to the commands. Each sale is accepted or refused by itself,
//! whatever the files contain, and no sale breaks its batch.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use tillbox::primitives::limits::IMPORT_BATCH;
use tillbox_fuzz::{MemoryFile, two_parts};

fuzz_target!(|data: &[u8]| {
    let (invoices, lines) = two_parts(data);
    let (invoices, lines) = (MemoryFile::new(invoices), MemoryFile::new(lines));
    let Ok(rows) = tillbox::cli::fuzzing::sales_rows(&invoices.path, &lines.path) else {
        return;
    };
    let good: Vec<Value> = rows.into_iter().filter_map(|(_, row)| row.ok()).collect();
    for batch in good.chunks(IMPORT_BATCH) {
        let read =
            tillbox::http::fuzzing::sales_batch(json!({"sales": batch}).to_string().as_bytes());
        let read = read.unwrap_or_else(|problem| panic!("{}", problem.document("req_fuzz")));
        let sent = batch
            .iter()
            .map(|row| row["line"].as_u64().expect("a number"));
        assert!(read.iter().map(|(line, _)| *line).eq(sent));
    }
});
