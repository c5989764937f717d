//! The world of one case: a process over real files, the models of its shops, and the clock. Each
//! step runs in the process and in the model, and the results are compared.

mod compare;
mod tenants;

use std::collections::BTreeMap;
use std::fs;

use http::Method;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use tempfile::TempDir;
use tillbox::primitives::{Origin, Timestamp};
use tillbox::storage::{DataDir, StorageErrorKind};
use tillbox::tenant::inventory;
use tillbox::worker;
use tokio::runtime::Runtime;

use super::generate::{self, Disruption};
use super::mails;
use crate::disk;
use crate::instance::{self, Call, Instance, Reply};
use crate::model::{Action, Expected, ModelShop};
use crate::oracle::{self, Verdict};
use crate::power::scratch;
use crate::rng::Rng;
use crate::table::{Finding, Kind};

const STEPS: u64 = 48;
/// Attempts before a till gives up.
const TRIES: usize = 6;
const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// The greatest time until the expiry of a reservation. A later expiry shows that the clock was set
/// back.
const HOLD_AHEAD_MS: i64 = 2 * 15 * 60 * 1000;
/// Approximate numbers of calls that change the disk: in one sale, in a batch of jobs, and in the
/// creation of a tenant.
const CALLS_OF_AN_ACTION: u64 = 28;
const CALLS_OF_A_BATCH: u64 = 90;
const CALLS_OF_A_SHOP: u64 = 400;
/// One action in this many is sent twice at once.
const DOUBLE_CLICKS: u64 = 12;
/// The permanent shops, and one that is created and removed.
const SHOPS: [&str; 2] = ["corner", "kiosk"];
const TEMPORARY: &str = "temporary";

/// An answered call, and its time.
#[derive(Clone, Debug)]
struct Answered {
    call: Call,
    reply: Reply,
    at: Timestamp,
}

/// A shop: its access and its model.
struct LiveShop {
    id: String,
    secret: String,
    model: ModelShop,
    /// Answered calls whose keys are still valid.
    sent: Vec<Answered>,
    /// Revoked API keys.
    revoked: Vec<String>,
}

pub struct World {
    seed: u64,
    rng: Rng,
    dir: TempDir,
    runtime: Runtime,
    instance: Option<Instance>,
    now: Timestamp,
    starts: u64,
    keys: u64,
    shops: BTreeMap<&'static str, LiveShop>,
    /// The control: tills that repeat a call under another key.
    forgets_keys: bool,
    faults: FaultCounts,
    steps: Vec<String>,
}

/// Counts of disruptions that had an effect.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultCounts {
    /// Answers lost with the process.
    pub lost: u64,
    /// Calls that the process could not carry out.
    pub failed: u64,
}

fn landlord(method: Method, path: String, body: Value) -> Call {
    Call {
        method,
        path,
        secret: None,
        idempotency_key: None,
        body,
    }
}

impl World {
    pub fn new(seed: u64, case: usize, forgets_keys: bool) -> Self {
        let dir = scratch();
        DataDir::prepare(dir.path()).expect("the directory is prepared");
        fs::create_dir(dir.path().join("outbox")).expect("a directory");
        disk::watch(dir.path(), false);
        let mut rng = Rng::new(seed, case as u64);
        mails::begin(Rng::new(rng.next(), 0));
        Self {
            seed: rng.next(),
            rng,
            dir,
            runtime: instance::runtime(1),
            instance: None,
            now: instance::start(),
            starts: 0,
            keys: 0,
            shops: BTreeMap::new(),
            forgets_keys,
            faults: FaultCounts::default(),
            steps: Vec::new(),
        }
    }

    /// Ends the case. Returns the steps and the fault counts.
    pub fn end(mut self) -> (Vec<String>, FaultCounts) {
        disk::inject(None);
        if let Some(instance) = self.instance.take() {
            instance.stop();
        }
        disk::stop();
        (std::mem::take(&mut self.steps), self.faults)
    }

    /// Runs all steps of the case.
    pub fn run(&mut self) -> Verdict {
        self.start()?;
        for slug in SHOPS {
            while !self.shops.contains_key(slug) {
                self.create_shop(slug)?;
            }
            for action in generate::opening(&mut self.rng) {
                self.action(slug, &action)?;
            }
        }
        for _ in 0..STEPS {
            self.step()?;
        }
        self.finish()
    }

    fn step(&mut self) -> Verdict {
        let slug = *self.rng.pick(&SHOPS);
        match self.rng.below(100) {
            0..66 => {
                let action = generate::action(&mut self.rng, &self.shops[slug].model);
                self.action(slug, &action)
            }
            66..74 => self.repeat(slug),
            74..82 => {
                let disruption = Disruption::random(&mut self.rng, CALLS_OF_A_BATCH);
                self.run_jobs_and_compare(disruption)
            }
            82..90 => {
                self.set_clock();
                Ok(())
            }
            90..93 => {
                let is_killed = self.rng.below(2) == 0;
                self.restart(is_killed)?;
                self.compare()
            }
            93..95 => self.close_files(),
            95..97 => self.revoke(slug),
            _ if self.shops.contains_key(TEMPORARY) => self.remove_shop(),
            _ => self.create_shop(TEMPORARY),
        }
    }

    fn log_step(&mut self, what: impl std::fmt::Display) {
        self.steps.push(format!("{} {what}", self.now));
    }

    fn instance(&self) -> &Instance {
        self.instance.as_ref().expect("the process runs")
    }

    // ---------------------------------------- starts and ends

    fn open_instance(&mut self) -> Result<Instance, String> {
        self.starts += 1;
        Instance::start_at(self.dir.path(), self.seed ^ (self.starts << 32), self.now)
            .map_err(|error| error.to_string())
    }

    fn start(&mut self) -> Verdict {
        let instance = self
            .open_instance()
            .map_err(|error| format!("the process does not start: {error}"))?;
        self.instance = Some(instance);
        Ok(())
    }

    /// Ends the process and starts another one, which may die during its start.
    fn restart(&mut self, is_killed: bool) -> Verdict {
        self.log_step(format_args!(
            "{}",
            if is_killed {
                "the process is killed"
            } else {
                "the process is stopped"
            }
        ));
        let kill = |instance: Instance| {
            disk::kill_after(Some(0));
            instance.stop();
        };
        let instance = self.instance.take().expect("the process runs");
        if is_killed {
            kill(instance);
        } else {
            instance.stop();
        }
        disk::kill_after(None);
        if self.rng.below(4) == 0 {
            let calls = self.rng.below(30);
            self.log_step(format_args!(
                "the process dies after {calls} calls of its start"
            ));
            disk::kill_after(Some(calls));
            if let Ok(instance) = self.open_instance() {
                kill(instance);
            }
            disk::kill_after(None);
        }
        self.start()
    }

    fn start_disruption(&mut self, disruption: Disruption) {
        match disruption {
            Disruption::Death(calls) => disk::kill_after(Some(calls.max(1))),
            Disruption::Disk(fault) => drop(disk::inject(Some(fault))),
            Disruption::None | Disruption::Locked { .. } => {}
        }
    }

    /// Ends the disruption of a step. Returns whether the process died in it.
    fn end_disruption(&mut self, disruption: Disruption) -> Verdict<bool> {
        match disruption {
            Disruption::Death(_) => {
                let is_dead = disk::is_dead();
                self.restart(true)?;
                Ok(is_dead)
            }
            _ => {
                disk::inject(None);
                Ok(false)
            }
        }
    }

    // ---------------------------------------- calls

    /// Sends a call once. Returns [`None`] when the process died before it answered.
    fn send(&mut self, call: &Call, disruption: Disruption) -> Verdict<Option<Reply>> {
        self.start_disruption(disruption);
        let reply = match disruption {
            Disruption::Locked { for_long } => self.send_locked(call, for_long)?,
            _ => self.runtime.block_on(self.instance().send(call)),
        };
        let is_lost = self.end_disruption(disruption)?;
        Ok((!is_lost).then_some(reply))
    }

    /// Sends a call while another process has the files of all shops locked.
    fn send_locked(&self, call: &Call, for_long: bool) -> Verdict<Reply> {
        let lock = |shop: &LiveShop| {
            let conn = Connection::open_with_flags(
                self.file(&shop.id),
                OpenFlags::SQLITE_OPEN_READ_WRITE,
            )?;
            conn.set_db_config(
                rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
                true,
            )?;
            conn.execute_batch("PRAGMA busy_timeout=5000; BEGIN IMMEDIATE")?;
            Ok::<_, rusqlite::Error>(conn)
        };
        let locks = self.shops.values().map(lock).collect::<Result<Vec<_>, _>>();
        let locks = locks.map_err(|error| format!("the files cannot be locked: {error}"))?;
        let instance = self.instance();
        Ok(self.runtime.block_on(async move {
            let mut answer = std::pin::pin!(instance.send(call));
            if !for_long {
                // The call is running and waits for the lock.
                if let Ok(early) =
                    tokio::time::timeout(std::time::Duration::from_millis(4), &mut answer).await
                {
                    return early;
                }
                drop(locks);
                return answer.await;
            }
            let answer = answer.await;
            drop(locks);
            answer
        }))
    }

    /// Releases held files. A file whose disk failed twice waits for the operator, who has checked
    /// the disk.
    fn release(&self) {
        let Some(instance) = &self.instance else {
            return;
        };
        for (id, kind) in instance.app.stores.registry.list_unavailable() {
            if kind == StorageErrorKind::Held {
                instance.app.stores.registry.release(id);
            }
        }
    }

    /// Sends a call until it is answered, as a till does. Returns whether an answer was lost on the
    /// way.
    fn send_until_answered(
        &mut self,
        call: &Call,
        mut disruption: Disruption,
    ) -> Verdict<(Reply, bool)> {
        let mut call = call.clone();
        for attempt in 0..TRIES {
            match self.send(&call, disruption)? {
                Some(reply) if reply.status < 500 => return Ok((reply, attempt > 0)),
                Some(reply) if attempt == 0 && matches!(disruption, Disruption::None) => {
                    return Err(format!(
                        "{} {}: got {reply:?} without a disruption",
                        call.method, call.path
                    )
                    .into());
                }
                Some(reply) => {
                    self.faults.failed += 1;
                    self.release();
                    self.log_step(format_args!(
                        "answered by {} {}",
                        reply.status,
                        reply.text("/code")
                    ));
                }
                None => {
                    self.faults.lost += 1;
                    self.log_step("no answer");
                }
            }
            if self.forgets_keys {
                self.keys += 1;
                call.idempotency_key = Some(format!("till {}", self.keys));
            }
            disruption = if self.rng.below(8) == 0 {
                Disruption::random(&mut self.rng, CALLS_OF_AN_ACTION)
            } else {
                Disruption::None
            };
            if attempt > 0 {
                self.move_clock(6_000);
            }
        }
        Err(format!(
            "{} {}: no answer after all attempts",
            call.method, call.path
        )
        .into())
    }

    fn action(&mut self, slug: &'static str, action: &Action) -> Verdict {
        self.keys += 1;
        let shop = &self.shops[slug];
        let (path, body) = shop.model.request(action);
        let call = Call {
            method: Method::POST,
            path,
            secret: Some(shop.secret.clone()),
            idempotency_key: Some(format!("till {}", self.keys)),
            body,
        };
        let expected = shop.model.predict(action);
        let disruption = Disruption::random_with_locks(&mut self.rng, CALLS_OF_AN_ACTION);
        let clicks_twice = matches!(disruption, Disruption::None)
            && expected.status != 402
            && self.rng.below(DOUBLE_CLICKS) == 0;
        self.log_step(format_args!(
            "{slug}: {action:?}, {} {}{}; disruption: {disruption:?}",
            expected.status,
            expected.code,
            if clicks_twice { ", twice at once" } else { "" }
        ));
        if clicks_twice {
            let instance = self.instance.as_ref().expect("the process runs");
            let (one, other) = self
                .runtime
                .block_on(async { tokio::join!(instance.send(&call), instance.send(&call)) });
            // Refusals differ in their request id.
            let is_same = one == other
                || (one.status, one.text("/code")) == (other.status, other.text("/code"))
                    && one.status >= 300;
            if !is_same {
                return Err(Finding::new(
                    Kind::Doubled,
                    format!("a double click got {one:?} and {other:?}"),
                ));
            }
            return self.check_answer(slug, action, call, expected, one, false);
        }
        let (reply, was_lost) = self.send_until_answered(&call, disruption)?;
        self.check_answer(slug, action, call, expected, reply, was_lost)
    }

    fn check_answer(
        &mut self,
        slug: &'static str,
        action: &Action,
        call: Call,
        expected: Expected,
        reply: Reply,
        was_lost: bool,
    ) -> Verdict {
        let code = if reply.status < 300 {
            String::new()
        } else {
            reply.text("/code")
        };
        let fits = (reply.status, code.as_str()) == (expected.status, expected.code);
        // Nothing is stored under the key of a declined payment. When its answer was lost, the
        // repeated call learns that the payment has ended.
        let has_payment_ended = was_lost
            && expected.status == 402
            && (reply.status, code.as_str()) == (409, "payment_over");
        if !fits && !has_payment_ended {
            return Err(format!(
                "{slug}: {action:?}: the model expects {expected:?}, the shop answered {reply:?}"
            )
            .into());
        }
        let at = self.now;
        let shop = self.shops.get_mut(slug).expect("the shop exists");
        shop.model
            .apply(action, expected, &reply)
            .map_err(|error| format!("{slug}: {action:?}: {error}"))?;
        if reply.status < 300 {
            shop.sent.push(Answered { call, reply, at });
        }
        if was_lost { self.compare() } else { Ok(()) }
    }

    /// Repeats an answered call.
    fn repeat(&mut self, slug: &'static str) -> Verdict {
        let sent = &self.shops[slug].sent;
        if sent.is_empty() {
            return Ok(());
        }
        let sent = self.rng.pick(sent).clone();
        let disruption = Disruption::random_with_locks(&mut self.rng, CALLS_OF_AN_ACTION);
        self.log_step(format_args!(
            "{slug}: {:?} is repeated; disruption: {disruption:?}",
            sent.call.idempotency_key
        ));
        self.require_same(&sent, disruption)
    }

    fn require_same(&mut self, sent: &Answered, disruption: Disruption) -> Verdict {
        let (again, _) = self.send_until_answered(&sent.call, disruption)?;
        if again == sent.reply {
            Ok(())
        } else {
            let text = format!(
                "{}: first answered {:?}, and now {again:?}",
                sent.call.path, sent.reply
            );
            Err(Finding::new(
                if again.status < 300 {
                    Kind::Doubled
                } else {
                    Kind::Lost
                },
                text,
            ))
        }
    }

    // ---------------------------------------- time and jobs

    /// Sets the clock, or lets time pass.
    fn set_clock(&mut self) {
        let by = match self.rng.below(14) {
            0 => -HOUR_MS,
            1 => HOUR_MS,
            2 => DAY_MS + self.rng.below(DAY_MS as u64) as i64,
            3 => -400 * DAY_MS,
            4 => 3_652 * DAY_MS,
            5 => 1 - self.rng.below(5_000) as i64,
            _ => self.rng.below(10 * 60_000) as i64,
        };
        let year = self.now.plus_millis(by).year();
        if (2_015..2_070).contains(&year) {
            self.move_clock(by);
            self.log_step(format_args!("the clock moves by {by} ms"));
        }
    }

    fn move_clock(&mut self, by: i64) {
        self.now = self.now.plus_millis(by);
        self.instance().clock.set(self.now);
        let now = self.now.as_millis();
        // Answers that are older than a day by the clock may be forgotten.
        for shop in self.shops.values_mut() {
            shop.sent.retain(|sent| now - sent.at.as_millis() < DAY_MS);
        }
    }

    /// Runs one pass of the worker: the due jobs and its sweep.
    fn run_jobs(&self) {
        self.release();
        let instance = self.instance();
        worker::run_until_idle_with(&instance.app, *mails::HANDLERS);
        for access in oracle::tenants(instance).unwrap_or_default() {
            if let Ok(db) = instance.app.stores.registry.open(&access) {
                // A failed sweep is repeated in the next pass; the comparison finds anything left.
                drop(
                    db.write(Origin::system(), inventory::expire_reservations)
                        .wait(),
                );
            }
        }
    }

    fn run_jobs_and_compare(&mut self, disruption: Disruption) -> Verdict {
        self.log_step(format_args!("jobs; disruption: {disruption:?}"));
        self.start_disruption(disruption);
        self.run_jobs();
        self.end_disruption(disruption)?;
        if !matches!(disruption, Disruption::None) {
            self.run_jobs();
        }
        let now = self.now;
        for shop in self.shops.values_mut() {
            shop.model.expire(|until| {
                until <= now || until.as_millis() - now.as_millis() > HOLD_AHEAD_MS
            });
        }
        self.compare()
    }

    /// Closes the files as after a long idle time: the content of their WALs goes into the
    /// databases.
    fn close_files(&mut self) -> Verdict {
        let disruption = Disruption::random(&mut self.rng, CALLS_OF_A_BATCH);
        self.log_step(format_args!(
            "the files are closed; disruption: {disruption:?}"
        ));
        self.start_disruption(disruption);
        self.instance().app.stores.registry.close_all();
        self.end_disruption(disruption)?;
        self.compare()
    }
}
