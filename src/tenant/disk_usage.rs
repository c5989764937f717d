//! Disk usage of a tenant's file: the bytes of its tables with their indexes, by kind.
//!
//! SQLite's `dbstat` table counts the pages. It reads all of them, which takes seconds per
//! gigabyte. So the caller reads with a deadline and gets no result for a file that is too large.

use serde::Serialize;

use crate::storage::{StorageError, TenantView, statements};

statements! {
    // The inner rows are pages, in the order of their trees; the outer ones are trees.
    BY_TREE = "SELECT coalesce((SELECT tbl_name FROM sqlite_schema AS part WHERE part.name = \
        tree.name), tree.name) AS table_name, tree.bytes
               FROM (SELECT name, sum(pgsize) AS bytes FROM dbstat GROUP BY name) AS tree";
}

/// The bytes of a tenant's file, by kind. Free pages and the WAL come on top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Parts {
    /// Orders, payments, invoices, the ledger, and their number series.
    pub documents_bytes: i64,
    /// Stored answers of idempotency keys.
    pub answers_bytes: i64,
    /// Carts and their items.
    pub carts_bytes: i64,
    /// Jobs, ended ones included.
    pub jobs_bytes: i64,
    /// The audit trail.
    pub audit_bytes: i64,
    /// The catalog, stock with its movements, settings, rates, and the schema.
    pub other_bytes: i64,
}

impl Parts {
    fn part(&mut self, table: &str) -> &mut i64 {
        match table {
            "sales_order" | "order_line" | "payment" | "invoice" | "series" => {
                &mut self.documents_bytes
            }
            _ if table.starts_with("financial_") || table.starts_with("ledger_") => {
                &mut self.documents_bytes
            }
            "idempotency_key" | "keyless_answer" => &mut self.answers_bytes,
            "cart" | "cart_item" => &mut self.carts_bytes,
            "job" | "alert_window" => &mut self.jobs_bytes,
            "audit_log" | "audit_anchor" => &mut self.audit_bytes,
            _ => &mut self.other_bytes,
        }
    }
}

/// Measures the parts of a file. Reads all pages: use the reader for long reads.
///
/// # Errors
/// [`StorageError`], also when the read exceeds its deadline.
pub fn measure(view: &TenantView) -> Result<Parts, StorageError> {
    let trees: Vec<(String, i64)> = view.all(&BY_TREE, [], |row| {
        Ok((row.get("table_name")?, row.get("bytes")?))
    })?;
    let mut parts = Parts::default();
    for (table, bytes) in trees {
        *parts.part(&table) += bytes;
    }
    Ok(parts)
}
