//! Measurements of an attack, their judgement, and the table.

use crate::attacks::{Attack, Cost};
use crate::ground::Bytes;
use crate::till::Sales;

const HOUR_S: f64 = 3_600.0;
/// The allowed delay of a till besides the ratio: a machine with two cores runs tills, attackers
/// and daemon together.
const NOISE_MS: f64 = 15.0;
/// The largest allowed slowdown of a till by an attack.
const RATIO: f64 = 1.5;
/// The fewest sales for a percentile.
const SALES_MIN: usize = 40;

/// Measurements at one moment of a phase.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    pub bytes: Bytes,
    pub admitted: usize,
    /// Sales of the attacked shop's till since the start of the phase.
    pub sales: usize,
    pub all_sales: usize,
}

/// Bytes of one sale in the file of its shop and in the logs.
#[derive(Clone, Copy, Debug)]
pub struct PerSale {
    pub file: f64,
    pub logs: f64,
}

/// One phase: the tills alone, or during an attack.
#[derive(Debug, Default)]
pub struct Phase {
    pub attacked: Sales,
    pub neighbour: Sales,
    pub seconds: f64,
    /// At the beginning, in the middle and at the end.
    pub readings: [Reading; 3],
    pub sent: usize,
    /// The peak growth of the daemon's memory.
    pub memory: u64,
    pub held: i64,
    pub health: u16,
    /// Faults of the tills.
    pub faults: Vec<String>,
}

impl Phase {
    /// Combines the slower phase of each shop.
    pub fn slower_of(&self, other: &Self) -> Self {
        let slower = |one: &Sales, other: &Sales| {
            if one.p99_ms() >= other.p99_ms() {
                one.clone()
            } else {
                other.clone()
            }
        };
        Self {
            attacked: slower(&self.attacked, &other.attacked),
            neighbour: slower(&self.neighbour, &other.neighbour),
            ..Self::default()
        }
    }

    /// Computes the bytes of a sale without an attack.
    pub fn per_sale(&self) -> PerSale {
        let [first, _, last] = &self.readings;
        let per = |bytes: fn(&Bytes) -> u64, sales: usize| {
            let grown = bytes(&last.bytes).saturating_sub(bytes(&first.bytes));
            grown as f64 / sales.max(1) as f64
        };
        PerSale {
            file: per(|bytes| bytes.file, last.sales),
            logs: per(|bytes| bytes.logs, last.all_sales),
        }
    }

    /// Computes the cost of an attack: the growth in the first half (a full bucket) once, plus the
    /// rate of the second half for the rest of an hour.
    pub fn cost(&self, cost: Cost, per_sale: PerSale) -> f64 {
        let value = |reading: &Reading| match cost {
            Cost::FilePerHour => reading.bytes.file as f64 - per_sale.file * reading.sales as f64,
            Cost::LogsPerHour => {
                reading.bytes.logs as f64 - per_sale.logs * reading.all_sales as f64
            }
            _ => reading.admitted as f64,
        };
        match cost {
            Cost::Memory => self.memory as f64,
            Cost::Pieces => self.held as f64,
            _ => {
                let [first, middle, last] = self.readings.each_ref().map(value);
                let half_s = self.seconds / 2.0;
                let rate = (last - middle).max(0.0) / half_s;
                (middle - first).max(0.0) + rate * (HOUR_S - half_s)
            }
        }
    }
}

/// Lists rejected sales, and tills that were slow compared with `quiet`.
pub fn faults(phase: &Phase, quiet: &Phase, judges_time: bool) -> Vec<String> {
    let mut faults = Vec::new();
    let pairs = [
        ("A", &phase.attacked, &quiet.attacked),
        ("B", &phase.neighbour, &quiet.neighbour),
    ];
    for (shop, sales, before) in pairs {
        if let Some(first) = sales.refused().first() {
            let count = sales.refused().len();
            faults.push(format!("{count} sales of {shop} were refused: {first}"));
        }
        if judges_time && sales.count() == 0 {
            faults.push(format!("{shop} sold nothing"));
        }
        let allowed = (RATIO * before.p99_ms()).max(before.p99_ms() + NOISE_MS);
        if judges_time && sales.count() >= SALES_MIN && sales.p99_ms() > allowed {
            faults.push(format!(
                "the p99 of {shop} is {:.1} ms, and {:.1} ms without the attack",
                sales.p99_ms(),
                before.p99_ms()
            ));
        }
    }
    if phase.health != 200 {
        faults.push(format!("/health answers {}", phase.health));
    }
    faults
}

/// Formats an amount with its unit.
pub fn amount(cost: Cost, value: f64) -> String {
    let mib = value / (1024.0 * 1024.0);
    match cost {
        Cost::FilePerHour | Cost::LogsPerHour => format!("{mib:.1} MiB/h"),
        Cost::Memory => format!("{mib:.1} MiB"),
        Cost::Pieces => format!("{value:.0} pieces"),
        Cost::AdmittedPerHour => format!("{value:.0} /h"),
    }
}

pub fn print_head() {
    println!(
        "\n{:<12} {:>7} {:>8} {:>8} {:>8} {:>14} {:>14} {:>12} {:>12} {:>12}",
        "attack",
        "sent",
        "admitted",
        "A p99",
        "B p99",
        "its cost",
        "its bound",
        "file",
        "logs",
        "memory"
    );
}

/// Prints a line with the bounded cost and all other costs.
pub fn print(attack: &Attack, phase: &Phase, quiet: &Phase) {
    let per_sale = quiet.per_sale();
    let all = [Cost::FilePerHour, Cost::LogsPerHour, Cost::Memory]
        .map(|cost| amount(cost, phase.cost(cost, per_sale)));
    let ratio = |sales: &Sales, before: &Sales| sales.p99_ms() / before.p99_ms().max(0.001);
    println!(
        "{:<12} {:>7} {:>8} {:>7.2}x {:>7.2}x {:>14} {:>14} {:>12} {:>12} {:>12}",
        attack.name,
        phase.sent,
        phase.readings[2].admitted,
        ratio(&phase.attacked, &quiet.attacked),
        ratio(&phase.neighbour, &quiet.neighbour),
        amount(attack.cost, phase.cost(attack.cost, per_sale)),
        amount(attack.cost, attack.bound),
        all[0],
        all[1],
        all[2]
    );
}
