//! Rates and percentiles of a round.

use std::time::{Duration, Instant};

/// The measurements of a round.
pub struct Metric {
    latencies_us: Vec<u64>,
    elapsed: Duration,
}

impl Metric {
    /// Creates it from the latencies of all clients, in microseconds.
    pub fn new(mut latencies_us: Vec<u64>, elapsed: Duration) -> Self {
        latencies_us.sort_unstable();
        Self {
            latencies_us,
            elapsed,
        }
    }

    /// Answers per second.
    pub fn rate(&self) -> f64 {
        self.latencies_us.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency in milliseconds that a `share` of the answers did not exceed.
    pub fn percentile_ms(&self, share: f64) -> f64 {
        let last = self.latencies_us.len().saturating_sub(1);
        let at = ((last as f64) * share).round() as usize;
        self.latencies_us.get(at).copied().unwrap_or_default() as f64 / 1000.0
    }

    pub fn p99_ms(&self) -> f64 {
        self.percentile_ms(0.99)
    }
}

/// Microseconds since `start`.
pub fn since_us(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// The current instant. A bench may read the wall clock.
#[expect(clippy::disallowed_methods, reason = "a bench measures wall time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Prints a table; with `limit`, also the ratio of each rate to it.
pub fn table(title: &str, sizes: &[usize], metrics: &[Metric], limit: Option<&[Metric]>) {
    println!("\n{title}");
    for (at, (size, metric)) in sizes.iter().zip(metrics).enumerate() {
        let ratio = limit
            .map(|limit| {
                format!(
                    "   {:>4.0} % of (a)",
                    100.0 * metric.rate() / limit[at].rate()
                )
            })
            .unwrap_or_default();
        let (p50, p99, p999) = (
            metric.percentile_ms(0.5),
            metric.p99_ms(),
            metric.percentile_ms(0.999),
        );
        println!(
            "    {size:>3}: {:>7.0}/s   p50 {p50:>6.2} ms   p99 {p99:>6.2} ms   p99.9 {p999:>6.2} \
             ms{ratio}",
            metric.rate()
        );
    }
}
