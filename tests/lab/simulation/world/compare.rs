//! Comparison of the files with the models, after each recovery and at the end.

use std::path::PathBuf;

use http::Method;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::super::mails;
use super::{Disruption, HOUR_MS, LiveShop, SHOPS, Verdict, World, landlord};
use crate::instance::Call;
use crate::model::{FACTS, Facts};
use crate::oracle;
use crate::table::{Finding, Kind};

impl World {
    pub(super) fn file(&self, id: &str) -> PathBuf {
        self.dir.path().join("tenants").join(format!("{id}.db"))
    }

    /// Checks that the files match the models.
    pub(super) fn compare(&mut self) -> Verdict {
        for access in oracle::tenants(self.instance())? {
            let opened = self.instance().app.stores.registry.open(&access);
            drop(opened.map_err(|error| format!("{}: {error}", access.slug()))?);
        }
        for (slug, shop) in &self.shops {
            let facts = self
                .read(&shop.id)
                .map_err(|error| format!("{slug}: {error}"))?;
            differ(&shop.model.facts(), &facts).map_err(|found| found.at(slug))?;
            self.compare_balance(shop).map_err(|found| found.at(slug))?;
            self.require_key_status(&shop.secret, 200)?;
            shop.revoked
                .iter()
                .try_for_each(|secret| self.require_key_status(secret, 401))?;
        }
        match mails::mismatch() {
            None => oracle::tenant_files(self.instance()),
            Some(mismatch) => Err(Finding::new(Kind::Doubled, mismatch)),
        }
    }

    pub(super) fn read(&self, id: &str) -> Result<Facts, rusqlite::Error> {
        let conn = Connection::open_with_flags(self.file(id), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let mut prepared = conn.prepare(FACTS)?;
        let rows = prepared.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut facts = rows.collect::<rusqlite::Result<Facts>>()?;
        facts.retain(|_, value| *value != 0);
        Ok(facts)
    }

    /// Compares the trial balance of the API at a far future instant, whatever the clock shows.
    pub(super) fn compare_balance(&self, shop: &LiveShop) -> Verdict {
        let call = Call {
            secret: Some(shop.secret.clone()),
            ..landlord(
                Method::GET,
                "/v1/ledger/trial-balance?as_of=9000-01-01T00:00:00Z".to_owned(),
                Value::Null,
            )
        };
        let reply = self.runtime.block_on(self.instance().send(&call));
        if reply.status != 200 {
            return Err(format!("no trial balance: {reply:?}").into());
        }
        let mut found = Facts::new();
        for account in reply.body["accounts"].as_array().into_iter().flatten() {
            for side in ["debit", "credit"] {
                let text = |field: &str| account[field].as_str().unwrap_or_default();
                let name = format!("{side} {} {}", text("code"), text("currency"));
                found.insert(
                    name,
                    account[format!("{side}_minor")]
                        .as_i64()
                        .unwrap_or(i64::MIN),
                );
            }
        }
        found.retain(|_, value| *value != 0);
        let mut expected = shop.model.facts();
        expected.retain(|name, _| name.starts_with("debit ") || name.starts_with("credit "));
        differ(&expected, &found)
    }

    /// Ends the case: kills the process once more, runs everything that is due, and checks that
    /// nothing is left.
    pub(super) fn finish(&mut self) -> Verdict {
        self.log_step("the end");
        self.restart(true)?;
        self.compare()?;
        for _ in 0..12 {
            self.run_jobs_and_compare(Disruption::None)?;
            if oracle::jobs(self.instance()).is_ok() {
                break;
            }
            self.move_clock(HOUR_MS);
        }
        oracle::jobs(self.instance())?;
        oracle::books(self.instance())?;
        for slug in SHOPS {
            for sent in self.shops[slug].sent.clone() {
                self.require_same(&sent, Disruption::None)?;
            }
        }
        self.compare()
    }
}

/// Compares the facts of a model with those found.
fn differ(expected: &Facts, found: &Facts) -> Verdict {
    let names = expected.keys().chain(found.keys());
    for name in names {
        let of = |facts: &Facts| facts.get(name).copied().unwrap_or(0);
        let (expected, found) = (of(expected), of(found));
        if expected != found {
            let kind = if found < expected {
                Kind::Lost
            } else {
                Kind::Doubled
            };
            return Err(Finding::new(
                kind,
                format!("{name}: {found}, but the model expects {expected}"),
            ));
        }
    }
    Ok(())
}
