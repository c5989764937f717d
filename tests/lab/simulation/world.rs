//! The world of one case: a process over real files, the models of its shops, and the clock. Each
//! step is done in it and in the model, and what they say is held against each other.

use std::collections::BTreeMap;
use std::fs;

use http::Method;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tempfile::TempDir;
use tillbox::primitives::{Origin, Timestamp};
use tillbox::storage::{DataDir, StorageErrorKind};
use tillbox::tenant::inventory;
use tillbox::worker;
use tokio::runtime::Runtime;

use super::chance::{self, Trouble};
use super::mails;
use crate::dice::Dice;
use crate::disk;
use crate::house::{self, Call, House, Reply};
use crate::model::{Act, Expected, FACTS, Facts, Shop};
use crate::oracle;
use crate::power::scratch;
use crate::table::{Finding, Kind};

const STEPS: u64 = 48;
/// How often a till sends a call before it gives up.
const TRIES: usize = 6;
const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// How long a hold lasts, and how far ahead the end of one can lie at the most before it is the
/// mark of a clock that was set back.
const HOLD_AHEAD_MS: i64 = 2 * 15 * 60 * 1000;
/// The calls of one sale that change the disk are about so many, those of a turn of the jobs, and
/// of a shop that is made.
const CALLS_OF_AN_ACT: u64 = 28;
const CALLS_OF_A_TURN: u64 = 90;
const CALLS_OF_A_SHOP: u64 = 400;
/// One act in so many is a double click.
const DOUBLE_CLICKS: u64 = 12;
/// The shops that sell, and the one that comes and goes.
const SHOPS: [&str; 2] = ["corner", "kiosk"];
const PASSING: &str = "passing";

type Verdict<T = ()> = Result<T, Finding>;

/// A call that was answered, and when.
#[derive(Clone, Debug)]
struct Sent {
    call: Call,
    reply: Reply,
    at: Timestamp,
}

/// A shop: how to enter it, and its model.
struct Place {
    id: String,
    secret: String,
    shop: Shop,
    /// The calls whose keys still stand.
    sent: Vec<Sent>,
    /// API keys that were taken back.
    revoked: Vec<String>,
}

pub struct World {
    seed: u64,
    dice: Dice,
    dir: TempDir,
    runtime: Runtime,
    house: Option<House>,
    now: Timestamp,
    starts: u64,
    keys: u64,
    places: BTreeMap<&'static str, Place>,
    /// The control: tills that send again under another key.
    forgets_keys: bool,
    struck: Struck,
    steps: Vec<String>,
}

/// How often something went wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Struck {
    /// Answers that were lost with the process.
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
        let mut dice = Dice::new(seed, case as u64);
        mails::begin(Dice::new(dice.next(), 0));
        Self {
            seed: dice.next(),
            dice,
            dir,
            runtime: house::runtime(1),
            house: None,
            now: house::start(),
            starts: 0,
            keys: 0,
            places: BTreeMap::new(),
            forgets_keys,
            struck: Struck::default(),
            steps: Vec::new(),
        }
    }

    /// ChainEnds it; gives what was done, and how often something went wrong.
    pub fn end(mut self) -> (Vec<String>, Struck) {
        disk::strike(None);
        if let Some(house) = self.house.take() {
            house.stop();
        }
        disk::take();
        (std::mem::take(&mut self.steps), self.struck)
    }

    pub fn run(&mut self) -> Verdict {
        self.start()?;
        for slug in SHOPS {
            while !self.places.contains_key(slug) {
                self.come(slug)?;
            }
            for act in chance::opening(&mut self.dice) {
                self.act(slug, &act)?;
            }
        }
        for _ in 0..STEPS {
            self.step()?;
        }
        self.last()
    }

    fn step(&mut self) -> Verdict {
        let slug = *self.dice.pick(&SHOPS);
        match self.dice.below(100) {
            0..66 => {
                let act = chance::act(&mut self.dice, &self.places[slug].shop);
                self.act(slug, &act)
            }
            66..74 => self.repeat(slug),
            74..82 => {
                let trouble = Trouble::roll(&mut self.dice, CALLS_OF_A_TURN);
                self.settle(trouble)
            }
            82..90 => {
                self.set_clock();
                Ok(())
            }
            90..93 => {
                let is_killed = self.dice.below(2) == 0;
                self.restart(is_killed)?;
                self.compare()
            }
            93..95 => self.close_files(),
            95..97 => self.revoke(slug),
            _ if self.places.contains_key(PASSING) => self.go(),
            _ => self.come(PASSING),
        }
    }

    fn note(&mut self, what: impl std::fmt::Display) {
        self.steps.push(format!("{} {what}", self.now));
    }

    fn house(&self) -> &House {
        self.house.as_ref().expect("the process runs")
    }

    // ----------------------------------------------------------------------------------------------
    // lives and deaths

    fn open_house(&mut self) -> Result<House, String> {
        self.starts += 1;
        House::start_at(self.dir.path(), self.seed ^ (self.starts << 32), self.now)
            .map_err(|error| error.to_string())
    }

    fn start(&mut self) -> Verdict {
        let house = self
            .open_house()
            .map_err(|error| format!("it does not start: {error}"))?;
        self.house = Some(house);
        Ok(())
    }

    /// The process ends and another one begins; which may die while it starts.
    fn restart(&mut self, is_killed: bool) -> Verdict {
        self.note(format_args!(
            "{}",
            if is_killed {
                "the process is killed"
            } else {
                "the process is stopped"
            }
        ));
        let kill = |house: House| {
            disk::die_after(Some(0));
            house.stop();
        };
        let house = self.house.take().expect("the process runs");
        if is_killed {
            kill(house);
        } else {
            house.stop();
        }
        disk::die_after(None);
        if self.dice.below(4) == 0 {
            let calls = self.dice.below(30);
            self.note(format_args!("it dies after {calls} calls of its start"));
            disk::die_after(Some(calls));
            if let Ok(house) = self.open_house() {
                kill(house);
            }
            disk::die_after(None);
        }
        self.start()
    }

    fn begin(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Death(calls) => disk::die_after(Some(calls.max(1))),
            Trouble::Disk(fault) => drop(disk::strike(Some(fault))),
            Trouble::None | Trouble::Locked { .. } => {}
        }
    }

    /// ChainEnds the trouble of a step; says whether the process died in it.
    fn survive(&mut self, trouble: Trouble) -> Verdict<bool> {
        match trouble {
            Trouble::Death(_) => {
                let is_dead = disk::is_dead();
                self.restart(true)?;
                Ok(is_dead)
            }
            _ => {
                disk::strike(None);
                Ok(false)
            }
        }
    }

    // ----------------------------------------------------------------------------------------------
    // calls

    /// Sends a call once. [`None`] when the process died before it answered.
    fn send(&mut self, call: &Call, trouble: Trouble) -> Verdict<Option<Reply>> {
        self.begin(trouble);
        let reply = match trouble {
            Trouble::Locked { for_long } => self.send_locked(call, for_long)?,
            _ => self.runtime.block_on(self.house().send(call)),
        };
        let is_lost = self.survive(trouble)?;
        Ok((!is_lost).then_some(reply))
    }

    /// Sends a call while another program has the files of all shops locked.
    fn send_locked(&self, call: &Call, for_long: bool) -> Verdict<Reply> {
        let lock = |place: &Place| {
            let conn = Connection::open_with_flags(
                self.file(&place.id),
                OpenFlags::SQLITE_OPEN_READ_WRITE,
            )?;
            conn.set_db_config(
                rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
                true,
            )?;
            conn.execute_batch("PRAGMA busy_timeout=5000; BEGIN IMMEDIATE")?;
            Ok::<_, rusqlite::Error>(conn)
        };
        let locks = self
            .places
            .values()
            .map(lock)
            .collect::<Result<Vec<_>, _>>();
        let locks = locks.map_err(|error| format!("the files cannot be locked: {error}"))?;
        let house = self.house();
        Ok(self.runtime.block_on(async move {
            let mut answer = std::pin::pin!(house.send(call));
            if !for_long {
                // The call is under way, and waits for the lock.
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

    /// A file under which the disk failed twice waits for the operator, who has looked at the disk.
    fn release(&self) {
        let Some(house) = &self.house else { return };
        for (id, kind) in house.app.registry.list_unavailable() {
            if kind == StorageErrorKind::Held {
                house.app.registry.release(id);
            }
        }
    }

    /// Sends a call until it is answered, as a till does. Says whether an answer was lost on the
    /// way.
    fn insist(&mut self, call: &Call, mut trouble: Trouble) -> Verdict<(Reply, bool)> {
        let mut call = call.clone();
        for attempt in 0..TRIES {
            match self.send(&call, trouble)? {
                Some(reply) if reply.status < 500 => return Ok((reply, attempt > 0)),
                Some(reply) if attempt == 0 && matches!(trouble, Trouble::None) => {
                    return Err(format!(
                        "{} {} is answered by {reply:?}, and nothing was wrong",
                        call.method, call.path
                    )
                    .into());
                }
                Some(reply) => {
                    self.struck.failed += 1;
                    self.release();
                    self.note(format_args!(
                        "answered by {} {}",
                        reply.status,
                        reply.text("/code")
                    ));
                }
                None => {
                    self.struck.lost += 1;
                    self.note("no answer");
                }
            }
            if self.forgets_keys {
                self.keys += 1;
                call.idempotency_key = Some(format!("till {}", self.keys));
            }
            trouble = if self.dice.below(8) == 0 {
                Trouble::roll(&mut self.dice, CALLS_OF_AN_ACT)
            } else {
                Trouble::None
            };
            if attempt > 0 {
                self.move_clock(6_000);
            }
        }
        Err(format!(
            "{} {} is not answered, however often it is sent",
            call.method, call.path
        )
        .into())
    }

    fn act(&mut self, slug: &'static str, act: &Act) -> Verdict {
        self.keys += 1;
        let place = &self.places[slug];
        let (path, body) = place.shop.request(act);
        let call = Call {
            method: Method::POST,
            path,
            secret: Some(place.secret.clone()),
            idempotency_key: Some(format!("till {}", self.keys)),
            body,
        };
        let expected = place.shop.predict(act);
        let trouble = Trouble::roll_with_locks(&mut self.dice, CALLS_OF_AN_ACT);
        let clicks_twice = matches!(trouble, Trouble::None)
            && expected.status != 402
            && self.dice.below(DOUBLE_CLICKS) == 0;
        self.note(format_args!(
            "{slug}: {act:?}, {} {}{}; trouble: {trouble:?}",
            expected.status,
            expected.code,
            if clicks_twice { ", twice at once" } else { "" }
        ));
        if clicks_twice {
            let house = self.house.as_ref().expect("the process runs");
            let (one, other) = self
                .runtime
                .block_on(async { tokio::join!(house.send(&call), house.send(&call)) });
            // Refusals carry the number of their request.
            let is_same = one == other
                || (one.status, one.text("/code")) == (other.status, other.text("/code"))
                    && one.status >= 300;
            if !is_same {
                return Err(Finding::new(
                    Kind::Doubled,
                    format!("a double click is answered by {one:?} and by {other:?}"),
                ));
            }
            return self.conclude(slug, act, call, expected, one, false);
        }
        let (reply, was_lost) = self.insist(&call, trouble)?;
        self.conclude(slug, act, call, expected, reply, was_lost)
    }

    fn conclude(
        &mut self,
        slug: &'static str,
        act: &Act,
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
        // Nothing is kept under the key of a payment that was declined: whoever did not hear of it
        // hears that it is over.
        let is_over = was_lost
            && expected.status == 402
            && (reply.status, code.as_str()) == (409, "payment_over");
        if !fits && !is_over {
            return Err(format!(
                "{slug}: {act:?}: the model says {expected:?}, the shop {reply:?}"
            )
            .into());
        }
        let at = self.now;
        let place = self.places.get_mut(slug).expect("it is there");
        place
            .shop
            .learn(act, expected, &reply)
            .map_err(|error| format!("{slug}: {act:?}: {error}"))?;
        if reply.status < 300 {
            place.sent.push(Sent { call, reply, at });
        }
        if was_lost { self.compare() } else { Ok(()) }
    }

    /// A call that was answered comes once more.
    fn repeat(&mut self, slug: &'static str) -> Verdict {
        let sent = &self.places[slug].sent;
        if sent.is_empty() {
            return Ok(());
        }
        let sent = self.dice.pick(sent).clone();
        let trouble = Trouble::roll_with_locks(&mut self.dice, CALLS_OF_AN_ACT);
        self.note(format_args!(
            "{slug}: {:?} comes again; trouble: {trouble:?}",
            sent.call.idempotency_key
        ));
        self.require_same(&sent, trouble)
    }

    fn require_same(&mut self, sent: &Sent, trouble: Trouble) -> Verdict {
        let (again, _) = self.insist(&sent.call, trouble)?;
        if again == sent.reply {
            Ok(())
        } else {
            let text = format!(
                "{}: was answered {:?}, and now {again:?}",
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

    // ----------------------------------------------------------------------------------------------
    // time and jobs

    /// Somebody sets the clock, or time passes.
    fn set_clock(&mut self) {
        let by = match self.dice.below(14) {
            0 => -HOUR_MS,
            1 => HOUR_MS,
            2 => DAY_MS + self.dice.below(DAY_MS as u64) as i64,
            3 => -400 * DAY_MS,
            4 => 3_652 * DAY_MS,
            5 => 1 - self.dice.below(5_000) as i64,
            _ => self.dice.below(10 * 60_000) as i64,
        };
        let year = self.now.plus_millis(by).year();
        if (2_015..2_070).contains(&year) {
            self.move_clock(by);
            self.note(format_args!("the clock goes by {by} ms"));
        }
    }

    fn move_clock(&mut self, by: i64) {
        self.now = self.now.plus_millis(by);
        self.house().clock.set(self.now);
        let now = self.now.as_millis();
        // What was answered more than a day ago, as the clock says, may be forgotten.
        for place in self.places.values_mut() {
            place.sent.retain(|sent| now - sent.at.as_millis() < DAY_MS);
        }
    }

    /// One pass of the worker: what is due, and its sweep.
    fn run_jobs(&self) {
        self.release();
        let house = self.house();
        worker::run_until_idle_with(&house.app, *mails::HANDLERS);
        for access in oracle::tenants(house).unwrap_or_default() {
            if let Ok(db) = house.app.registry.open(&access) {
                // What cannot be done now is done the next time; that nothing is left, the
                // comparison finds out.
                drop(
                    db.write(Origin::system(), inventory::expire_reservations)
                        .wait(),
                );
            }
        }
    }

    fn settle(&mut self, trouble: Trouble) -> Verdict {
        self.note(format_args!("jobs; trouble: {trouble:?}"));
        self.begin(trouble);
        self.run_jobs();
        self.survive(trouble)?;
        if !matches!(trouble, Trouble::None) {
            self.run_jobs();
        }
        let now = self.now;
        for place in self.places.values_mut() {
            place.shop.expire(|until| {
                until <= now || until.as_millis() - now.as_millis() > HOLD_AHEAD_MS
            });
        }
        self.compare()
    }

    /// As when they have been idle for long: what is in their WALs goes into the files.
    fn close_files(&mut self) -> Verdict {
        let trouble = Trouble::roll(&mut self.dice, CALLS_OF_A_TURN);
        self.note(format_args!("the files are closed; trouble: {trouble:?}"));
        self.begin(trouble);
        self.house().app.registry.close_all();
        self.survive(trouble)?;
        self.compare()
    }

    // ----------------------------------------------------------------------------------------------
    // shops and keys

    fn ask_landlord(&mut self, method: Method, path: String, body: Value) -> Reply {
        let call = landlord(method, path, body);
        self.runtime.block_on(self.house().send(&call))
    }

    /// Sends the landlord's call, which has no key: an answer that is lost is made up for by a look
    /// at what is there after the next start.
    fn try_landlord(
        &mut self,
        method: Method,
        path: String,
        body: Value,
        calls: u64,
    ) -> Verdict<Option<Reply>> {
        let trouble = Trouble::roll(&mut self.dice, calls);
        self.note(format_args!("{method} {path}; trouble: {trouble:?}"));
        let reply = self.send(&landlord(method, path, body), trouble)?;
        match reply {
            Some(reply) if reply.status < 500 => Ok(Some(reply)),
            Some(reply) if matches!(trouble, Trouble::None) => {
                Err(format!("the landlord is answered by {reply:?}").into())
            }
            Some(_) => {
                self.restart(false)?;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// A shop is made. When the answer was lost it is there with everything, or it is not there.
    fn come(&mut self, slug: &'static str) -> Verdict {
        let body = json!({"slug": slug, "name": slug, "currency": "EUR"});
        let made = self.try_landlord(
            Method::POST,
            "/v1/landlord/tenants".to_owned(),
            body,
            CALLS_OF_A_SHOP,
        )?;
        let (id, secret) = match made {
            Some(reply) if reply.status == 201 => (reply.text("/id"), reply.text("/api_key")),
            Some(reply) => return Err(format!("the shop {slug} is not made: {reply:?}").into()),
            None => {
                let found = self.ask_landlord(
                    Method::GET,
                    format!("/v1/landlord/tenants/{slug}"),
                    Value::Null,
                );
                match (found.status, found.text("/status").as_str()) {
                    (404, _) => return self.compare(),
                    (200, "active") => (found.text("/id"), self.new_key(slug)?.1),
                    _ => {
                        return Err(format!(
                            "the shop {slug} was being made, and now there is {found:?}"
                        )
                        .into());
                    }
                }
            }
        };
        let place = Place {
            id,
            secret,
            shop: Shop::default(),
            sent: Vec::new(),
            revoked: Vec::new(),
        };
        self.places.insert(slug, place);
        self.sell_abroad(slug);
        self.compare()
    }

    /// Has a shop sell in its second currency. Undisturbed: what a call may meet is tried with the
    /// others.
    fn sell_abroad(&mut self, slug: &str) {
        let rate = json!({"base": "JPY", "quote": "EUR", "rate": "0.006",
            "effective_at": "2000-01-01T00:00:00Z"});
        for (path, body) in [
            ("/v1/currencies", json!({"code": "JPY"})),
            ("/v1/exchange-rates", rate),
        ] {
            let call = Call {
                secret: Some(self.places[slug].secret.clone()),
                ..landlord(Method::POST, path.to_owned(), body)
            };
            let reply = self.runtime.block_on(self.house().send(&call));
            assert!((200..300).contains(&reply.status), "{path}: {reply:?}");
        }
    }

    /// The passing shop is removed.
    fn go(&mut self) -> Verdict {
        let path = format!("/v1/landlord/tenants/{PASSING}");
        let removed =
            self.try_landlord(Method::DELETE, path.clone(), Value::Null, CALLS_OF_A_TURN)?;
        let is_gone = match removed {
            Some(reply) if reply.status == 204 => true,
            Some(reply) => return Err(format!("the shop is not removed: {reply:?}").into()),
            None => {
                let found = self.ask_landlord(Method::GET, path, Value::Null);
                match (found.status, found.text("/status").as_str()) {
                    (404, _) => true,
                    (200, "active") => false,
                    _ => {
                        return Err(format!(
                            "the shop was being removed, and now there is {found:?}"
                        )
                        .into());
                    }
                }
            }
        };
        if is_gone {
            self.places.remove(PASSING);
        }
        self.compare()
    }

    fn new_key(&mut self, slug: &str) -> Verdict<(String, String)> {
        let scopes = [
            "admin",
            "catalog:write",
            "checkout",
            "orders",
            "payments",
            "inventory",
            "finance",
            "pos",
        ];
        let body = json!({"name": "another key", "scopes": scopes});
        let made = self.ask_landlord(
            Method::POST,
            format!("/v1/landlord/tenants/{slug}/api-keys"),
            body,
        );
        if made.status == 201 {
            Ok((made.text("/id"), made.text("/api_key")))
        } else {
            Err(format!("no key is made: {made:?}").into())
        }
    }

    /// A key is made, used and taken back.
    fn revoke(&mut self, slug: &'static str) -> Verdict {
        let (id, secret) = self.new_key(slug)?;
        self.require_entry(&secret, 200)?;
        let path = format!("/v1/landlord/api-keys/{id}");
        let mut revoked =
            self.try_landlord(Method::DELETE, path.clone(), Value::Null, CALLS_OF_AN_ACT)?;
        if revoked.is_none() {
            revoked = Some(self.ask_landlord(Method::DELETE, path, Value::Null));
        }
        match revoked {
            Some(reply) if reply.status < 300 || reply.status == 404 => {}
            other => return Err(format!("a key is not taken back: {other:?}").into()),
        }
        self.places
            .get_mut(slug)
            .expect("it is there")
            .revoked
            .push(secret);
        self.compare()
    }

    fn require_entry(&self, secret: &str, status: u16) -> Verdict {
        let call = Call {
            secret: Some(secret.to_owned()),
            ..landlord(Method::GET, "/v1/orders?limit=1".to_owned(), Value::Null)
        };
        let found = self.runtime.block_on(self.house().send(&call));
        if found.status == status {
            Ok(())
        } else {
            Err(format!("a key should be answered by {status}, and is by {found:?}").into())
        }
    }

    // ----------------------------------------------------------------------------------------------
    // comparisons

    fn file(&self, id: &str) -> std::path::PathBuf {
        self.dir.path().join("tenants").join(format!("{id}.db"))
    }

    /// The files hold what the models say.
    fn compare(&mut self) -> Verdict {
        for access in oracle::tenants(self.house())? {
            let opened = self.house().app.registry.open(&access);
            drop(opened.map_err(|error| format!("{}: {error}", access.slug()))?);
        }
        for (slug, place) in &self.places {
            let facts = self
                .read(&place.id)
                .map_err(|error| format!("{slug}: {error}"))?;
            differ(&place.shop.facts(), &facts).map_err(|found| found.at(slug))?;
            self.compare_balance(place)
                .map_err(|found| found.at(slug))?;
            self.require_entry(&place.secret, 200)?;
            place
                .revoked
                .iter()
                .try_for_each(|secret| self.require_entry(secret, 401))?;
        }
        match mails::complaint() {
            None => oracle::shops(self.house()),
            Some(complaint) => Err(Finding::new(Kind::Doubled, complaint)),
        }
    }

    fn read(&self, id: &str) -> Result<Facts, rusqlite::Error> {
        let conn = Connection::open_with_flags(self.file(id), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let mut prepared = conn.prepare(FACTS)?;
        let rows = prepared.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut facts = rows.collect::<rusqlite::Result<Facts>>()?;
        facts.retain(|_, value| *value != 0);
        Ok(facts)
    }

    /// The books as the shop itself tells them, whatever the clock says.
    fn compare_balance(&self, place: &Place) -> Verdict {
        let call = Call {
            secret: Some(place.secret.clone()),
            ..landlord(
                Method::GET,
                "/v1/ledger/trial-balance?as_of=9000-01-01T00:00:00Z".to_owned(),
                Value::Null,
            )
        };
        let reply = self.runtime.block_on(self.house().send(&call));
        if reply.status != 200 {
            return Err(format!("there is no trial balance: {reply:?}").into());
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
        let mut expected = place.shop.facts();
        expected.retain(|name, _| name.starts_with("debit ") || name.starts_with("credit "));
        differ(&expected, &found)
    }

    /// The end: the process is killed once more, everything that is due is done, and nothing is
    /// left.
    fn last(&mut self) -> Verdict {
        self.note("the end");
        self.restart(true)?;
        self.compare()?;
        for _ in 0..12 {
            self.settle(Trouble::None)?;
            if oracle::jobs(self.house()).is_ok() {
                break;
            }
            self.move_clock(HOUR_MS);
        }
        oracle::jobs(self.house())?;
        oracle::books(self.house())?;
        for slug in SHOPS {
            for sent in self.places[slug].sent.clone() {
                self.require_same(&sent, Trouble::None)?;
            }
        }
        self.compare()
    }
}

/// Holds what a model says against what was found.
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
                format!("{name}: {found}, and the model says {expected}"),
            ));
        }
    }
    Ok(())
}
