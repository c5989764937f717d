//! A product list, from the file to the commands. Each row is accepted or refused by itself,
//! whatever the file contains, and no row breaks its batch.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use tillbox::primitives::limits::IMPORT_BATCH;
use tillbox_fuzz::MemoryFile;

fuzz_target!(|data: &[u8]| {
    let file = MemoryFile::new(data);
    let Ok(rows) = tillbox::cli::fuzzing::catalog_rows(&file.path) else {
        return;
    };
    let lines: Vec<u64> = rows.iter().map(|(line, _)| *line).collect();
    assert!(lines.is_sorted(), "{lines:?}");
    let good: Vec<Value> = rows.into_iter().filter_map(|(_, row)| row.ok()).collect();
    for batch in good.chunks(IMPORT_BATCH) {
        let read =
            tillbox::http::fuzzing::catalog_batch(json!({"rows": batch}).to_string().as_bytes());
        let read = read.unwrap_or_else(|problem| panic!("{}", problem.document("req_fuzz")));
        let sent = batch
            .iter()
            .map(|row| row["line"].as_u64().expect("a number"));
        assert!(read.iter().map(|(line, _)| *line).eq(sent));
    }
});
