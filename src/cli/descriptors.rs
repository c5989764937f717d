//! File descriptors: raises the limit and fits the number of open tenants to it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::primitives::limits::LONG_READS_PER_FILE;

/// Descriptors of an open tenant: the file and its WAL for each connection, and the shared index.
fn per_tenant(config: &Config) -> u64 {
    let readers = config.storage.readers_per_tenant + LONG_READS_PER_FILE;
    (1 + u64::from(readers)) * 2 + 1
}

/// Descriptors of the process itself: the landlord's file, logs, sockets, the reserve of the accept
/// loop, the runtime.
const PROCESS_DESCRIPTORS: u64 = 96;

/// A descriptor limit that is too low for the configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct Shortage {
    limit: u64,
    needed: u64,
    open_tenants: u32,
    max_connections: u32,
}

/// Raises the soft limit to the hard one. If that is still too low, reduces `storage.open_tenants`
/// and `server.max_connections` to fit and reports the shortage: a waiting client is better than a
/// file that cannot be opened.
pub fn fit(config: &mut Config) -> Option<Shortage> {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limits.maximum,
        maximum: limits.maximum,
    };
    let limit = if setrlimit(Resource::Nofile, raised).is_ok() {
        limits.maximum
    } else {
        limits.current
    };
    fit_into(limit?, config)
}

fn fit_into(limit: u64, config: &mut Config) -> Option<Shortage> {
    let per_tenant = per_tenant(config);
    let rest = PROCESS_DESCRIPTORS + u64::from(config.server.max_connections);
    let needed = rest + u64::from(config.storage.open_tenants) * per_tenant;
    if needed <= limit {
        return None;
    }
    // Tenants get at least half: they are open all day, while the peak of connections may never
    // come.
    let fitting = limit
        .saturating_sub(rest)
        .max((limit / 2).saturating_sub(PROCESS_DESCRIPTORS))
        / per_tenant;
    let open_tenants = u32::try_from(fitting).unwrap_or(u32::MAX).max(1);
    config.storage.open_tenants = open_tenants;
    let left = limit.saturating_sub(PROCESS_DESCRIPTORS + u64::from(open_tenants) * per_tenant);
    let max_connections = u32::try_from(left)
        .unwrap_or(u32::MAX)
        .clamp(1, config.server.max_connections);
    config.server.max_connections = max_connections;
    // A proxy on this machine gets most connections, but not all.
    let local = config.server.max_connections_local;
    config.server.max_connections_local = local.min((max_connections - max_connections / 8).max(1));
    Some(Shortage {
        limit,
        needed,
        open_tenants,
        max_connections,
    })
}

impl Shortage {
    /// Logs the shortage; called once logging has started.
    pub fn log(&self) {
        tracing::warn!(
            limit = self.limit,
            needed = self.needed,
            open_tenants = self.open_tenants,
            max_connections = self.max_connections,
            "too few file descriptors: the limits of open tenants and connections are reduced; \
             raise LimitNOFILE (or ulimit -n) to the needed number, or lower \
             server.max_connections or storage.open_tenants"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reduces_open_tenants_when_descriptors_are_few() {
        let mut config = Config::default();
        (config.server.max_connections, config.storage.open_tenants) = (100, 10);
        assert_eq!(fit_into(306, &mut config), None);
        assert_eq!(config.storage.open_tenants, 10);
        let shortage = fit_into(305, &mut config).expect("one too few");
        assert_eq!(
            (
                shortage.needed,
                shortage.open_tenants,
                config.storage.open_tenants
            ),
            (306, 9, 9)
        );
        (config.server.max_connections, config.storage.open_tenants) = (4096, 512);
        config.server.max_connections_local = 3584;
        let shortage = fit_into(1024, &mut config).expect("too few");
        assert_eq!(
            (shortage.open_tenants, shortage.max_connections),
            (37, 1024 - 96 - 37 * 11)
        );
        assert_eq!(config.server.max_connections, shortage.max_connections);
        assert_eq!(config.server.max_connections_local, 521 - 521 / 8);
        assert!(fit_into(10, &mut config).is_some());
        assert_eq!(config.storage.open_tenants, 1);
    }
}
