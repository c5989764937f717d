//! Rates and percentiles of a round.

use std::time::{Duration, Instant};

/// What a round measured: when each answer came, how long it took.
pub struct Metric {
    latencies_us: Vec<u64>,
    elapsed: Duration,
}

impl Metric {
    /// Over all clients' latencies, in microseconds.
    pub fn new(mut latencies_us: Vec<u64>, elapsed: Duration) -> Self {
        latencies_us.sort_unstable();
        Self {
            latencies_us,
            elapsed,
        }
    }

    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.latencies_us.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency, in milliseconds, that `share` of the answers stayed within.
    pub fn percentile_ms(&self, share: f64) -> f64 {
        let last = self.latencies_us.len().saturating_sub(1);
        let at = ((last as f64) * share).round() as usize;
        self.latencies_us.get(at).copied().unwrap_or_default() as f64 / 1000.0
    }

    /// 99 of 100 answers came within so many milliseconds.
    pub fn p99_ms(&self) -> f64 {
        self.percentile_ms(0.99)
    }
}

/// Microseconds since `start`.
pub fn since_us(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// The present instant: a bench measures wall time, that is its purpose.
#[expect(clippy::disallowed_methods, reason = "a bench measures wall time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Prints a table; with `limit`, each figure's ratio to it.
pub fn table(title: &str, sizes: &[usize], figures: &[Metric], limit: Option<&[Metric]>) {
    println!("\n{title}");
    for (at, (size, figure)) in sizes.iter().zip(figures).enumerate() {
        let ratio = limit
            .map(|limit| {
                format!(
                    "   {:>4.0} % of (a)",
                    100.0 * figure.rate() / limit[at].rate()
                )
            })
            .unwrap_or_default();
        let (p50, p99, p999) = (
            figure.percentile_ms(0.5),
            figure.p99_ms(),
            figure.percentile_ms(0.999),
        );
        println!(
            "    {size:>3}: {:>7.0}/s   p50 {p50:>6.2} ms   p99 {p99:>6.2} ms   p99.9 {p999:>6.2} \
             ms{ratio}",
            figure.rate()
        );
    }
}
