//! The limit of log lines about refusals: a stranger can cause thousands of refusals a second, and
//! each line uses disk space. Per minute, each caller causes at most `LOG_LINES_PER_CALLER` lines
//! of a kind, and all callers together at most `LOG_LINES_PER_KIND`. Suppressed lines are counted,
//! and the count is logged in one line.
//!
//! The memory is bounded by the same limits: a caller is kept only for a line that it caused, for
//! one minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::Caller;
use super::uptime::Uptime;
use crate::primitives::Clock;
use crate::primitives::id::ApiKeyId;
use crate::primitives::limits::{LOG_LINES_PER_CALLER, LOG_LINES_PER_KIND, LOG_LINES_WINDOW_S};
use crate::primitives::sync;

const WINDOW_NS: u64 = LOG_LINES_WINDOW_S * 1_000_000_000;

/// A kind of log line that a caller can cause repeatedly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LineKind {
    /// A key used at another tenant's host or slug.
    TenantMismatch,
    /// A host and a slug of different tenants in a request without a key. No sign of an attack, so
    /// it is only counted.
    KeylessMismatch,
    /// An address with too many login attempts.
    LoginLockedOut,
    /// An attempt to confirm a payment a second time.
    DoublePayment,
    /// A request that failed by a fault of the program or the disk.
    RequestFailed,
    /// A request that panicked.
    RequestPanicked,
}

impl LineKind {
    const ALL: [Self; 6] = [
        Self::TenantMismatch,
        Self::KeylessMismatch,
        Self::LoginLockedOut,
        Self::DoublePayment,
        Self::RequestFailed,
        Self::RequestPanicked,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::TenantMismatch => "tenant_mismatch",
            Self::KeylessMismatch => "keyless_tenant_mismatch",
            Self::LoginLockedOut => "login_locked_out",
            Self::DoublePayment => "double_payment",
            Self::RequestFailed => "request_failed",
            Self::RequestPanicked => "request_panicked",
        }
    }

    /// The limit of lines of this kind per minute.
    const fn limit(self) -> u32 {
        match self {
            Self::KeylessMismatch => 0,
            _ => LOG_LINES_PER_KIND,
        }
    }
}

/// The lines of the current minute.
#[derive(Default)]
struct Window {
    began_ns: u64,
    by_caller: HashMap<(LineKind, Caller), u32>,
    written: [u32; LineKind::ALL.len()],
    held_back: [u64; LineKind::ALL.len()],
}

/// Limits the log lines that callers can cause.
pub struct LogLines {
    uptime: Uptime,
    window: Mutex<Window>,
}

impl LogLines {
    /// A limiter with no lines yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            uptime: Uptime::new(clock),
            window: Mutex::default(),
        }
    }

    /// Whether a line may be written; otherwise counts it as suppressed. Without a caller only the
    /// limit of its kind applies.
    pub fn admits(&self, kind: LineKind, caller: Option<Caller>) -> bool {
        self.report();
        let mut window = self.window();
        let index = kind as usize;
        let has_room = window.written[index] < kind.limit();
        let admits = has_room
            && caller.is_none_or(|caller| {
                let lines = window.by_caller.entry((kind, caller)).or_default();
                *lines += u32::from(*lines < LOG_LINES_PER_CALLER + 1);
                *lines <= LOG_LINES_PER_CALLER
            });
        if admits {
            window.written[index] += 1;
        } else {
            window.held_back[index] += 1;
            metrics::counter!("tillbox_log_lines_held_back_total", "kind" => kind.name())
                .increment(1);
        }
        admits
    }

    /// As [`admits`](Self::admits), for a caller with a key if there is one.
    pub fn admits_key(&self, kind: LineKind, key: Option<ApiKeyId>) -> bool {
        self.admits(kind, key.map(Caller::Key))
    }

    /// Logs the counts of the last minute once it has passed.
    pub fn report(&self) {
        let (now, _) = self.uptime.read();
        let ended = {
            let mut window = self.window();
            if now.saturating_sub(window.began_ns) < WINDOW_NS {
                return;
            }
            let next = Window {
                began_ns: now,
                ..Window::default()
            };
            std::mem::replace(&mut *window, next)
        };
        write_counts(&ended);
    }

    /// Logs the counts so far when the process stops.
    pub fn finish(&self) {
        write_counts(&std::mem::take(&mut *self.window()));
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        sync::lock(&self.window)
    }
}

fn write_counts(window: &Window) {
    for (kind, lines) in LineKind::ALL.iter().zip(window.held_back) {
        if lines > 0 {
            let kind = kind.name();
            tracing::warn!(target: "security", kind, lines, "log lines held back");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::{ManualClock, Timestamp};
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    fn limiter() -> (LogLines, Arc<ManualClock>) {
        let start = Timestamp::parse("2026-01-15T10:00:00Z").unwrap();
        let clock = Arc::new(ManualClock::new(start));
        (LogLines::new(clock.clone()), clock)
    }

    fn count(limiter: &LogLines, kind: LineKind, callers: impl Iterator<Item = Caller>) -> u32 {
        callers
            .map(|caller| u32::from(limiter.admits(kind, Some(caller))))
            .sum()
    }

    #[test]
    fn admits_ten_lines_per_caller_and_minute() {
        let (limiter, clock) = limiter();
        let caller = Caller::of_address(Ipv4Addr::LOCALHOST.into());
        let flood = || std::iter::repeat_n(caller, 1_000);
        assert_eq!(count(&limiter, LineKind::LoginLockedOut, flood()), 10);
        assert_eq!(count(&limiter, LineKind::DoublePayment, flood()), 10);
        assert_eq!(limiter.window().held_back[2], 990);
        clock.advance(Duration::from_secs(59));
        assert_eq!(count(&limiter, LineKind::LoginLockedOut, flood()), 0);
        clock.advance(Duration::from_secs(1));
        assert_eq!(count(&limiter, LineKind::LoginLockedOut, flood()), 10);
    }

    #[test]
    fn counts_ipv6_network_of_64_bits_as_one_caller() {
        let (limiter, _) = limiter();
        let caller = |host: u128| Caller::of_address(Ipv6Addr::from_bits(1 << 100 | host).into());
        let callers = (0..1_000).map(caller);
        assert_eq!(count(&limiter, LineKind::LoginLockedOut, callers), 10);
    }

    #[test]
    fn bounds_lines_and_memory_over_all_callers() {
        let (limiter, _) = limiter();
        let callers =
            || (0..100_000).map(|number| Caller::of_address(Ipv4Addr::from_bits(number).into()));
        for kind in LineKind::ALL {
            assert_eq!(count(&limiter, kind, callers()), kind.limit(), "{kind:?}");
        }
        assert!(limiter.window().by_caller.len() <= 6 * 60);
        assert!(!limiter.admits(LineKind::RequestFailed, None));
    }

    #[test]
    fn admits_no_line_for_mismatch_without_key() {
        let (limiter, _) = limiter();
        assert!(!limiter.admits(LineKind::KeylessMismatch, None));
        assert_eq!(limiter.window().held_back[1], 1);
    }

    #[test]
    fn numbers_kinds_in_order_of_list() {
        for (index, kind) in LineKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }
}
