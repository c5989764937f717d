//! A till that sells continuously with a key on one kept connection.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::json;
use tillbox::primitives::Stopwatch;

use crate::ground::{Client, Shop};

/// Sales of one till during one phase.
#[derive(Clone, Debug, Default)]
pub struct Sales {
    /// Microseconds of each sale that was answered 201.
    latencies_us: Vec<u64>,
    /// Errors and the beginnings of other answers.
    refused: Vec<String>,
}

impl Sales {
    pub const fn count(&self) -> usize {
        self.latencies_us.len()
    }

    pub fn refused(&self) -> &[String] {
        &self.refused
    }

    pub fn merge(&mut self, other: &Self) {
        self.latencies_us.extend(&other.latencies_us);
        self.refused.extend(other.refused.iter().cloned());
    }

    /// The 99th percentile, in milliseconds.
    pub fn p99_ms(&self) -> f64 {
        let mut sorted = self.latencies_us.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * 99 / 100).min(sorted.len().saturating_sub(1));
        sorted.get(at).copied().unwrap_or_default() as f64 / 1000.0
    }
}

/// A till that runs in its own thread until it is stopped.
pub struct Till {
    sales: Mutex<Sales>,
    number: AtomicUsize,
    is_stopped: AtomicBool,
}

impl Till {
    pub fn new() -> Self {
        Self {
            sales: Mutex::default(),
            number: AtomicUsize::new(0),
            is_stopped: AtomicBool::new(false),
        }
    }

    /// Takes the sales since the last call.
    pub fn take(&self) -> Sales {
        std::mem::take(&mut *self.sales.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::SeqCst);
    }

    /// Sells with a pause after each sale. A closed connection counts as a rejection and is opened
    /// again.
    pub fn run(&self, address: SocketAddr, shop: &Shop, pause: Duration) {
        let body = json!({"lines": [{"product_id": shop.product, "quantity": 1}],
            "payments": [{"method": "cash", "amount_minor": 250}]});
        let mut client = None;
        while !self.is_stopped.load(Ordering::SeqCst) {
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            let watch = Stopwatch::start();
            let answer = match client.take() {
                Some(client) => Ok(client),
                None => Client::connect(address).map(|client| client.with_key(&shop.key)),
            }
            .and_then(|mut connected: Client| {
                let key = format!("till-{}-{number}", shop.slug);
                let answer = connected.post("/v1/sales", &key, &body)?;
                client = Some(connected);
                Ok(answer)
            });
            let elapsed = watch.read();
            let mut sales = self.sales.lock().unwrap_or_else(PoisonError::into_inner);
            match answer {
                Ok(answer) if answer.status == 201 => {
                    sales
                        .latencies_us
                        .push(elapsed.as_micros().try_into().unwrap_or(u64::MAX));
                }
                Ok(answer) => {
                    let text: String = answer.text().chars().take(300).collect();
                    sales.refused.push(format!("{}: {text}", answer.status));
                }
                Err(error) => sales.refused.push(error.to_string()),
            }
            drop(sales);
            thread::park_timeout(pause);
        }
    }
}
