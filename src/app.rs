//! L5: the composition root: creates the parts of the process once. No rules.

use std::sync::Arc;
use std::time::Duration;

use crate::alerts::recipients::AlertRecipients;
use crate::body_memory::BodyMemory;
use crate::config::{Alerts, ByteSize, Config, Storefront};
use crate::landlord::{ClockWatch, PublishedRates, TaskRuns};
use crate::observe::job_stats::JobStats;
use crate::observe::liveness::Liveness;
use crate::outbound::http::{Outbound, Wire};
use crate::outbound::mail::{MailConfigError, Mailer};
use crate::platform::cache::TimedCache;
use crate::primitives::id::TenantId;
use crate::primitives::{
    Clock, Entropy, NumberFormat, Origin, SystemClock, SystemEntropy, Timestamp,
};
use crate::rate_limit::{LogLines, RateLimiter};
use crate::reload::Reloads;
use crate::storage::data_dir::DataDirError;
use crate::storage::{
    Check, DataDir, Database, Landlord, Readers, Settings, Space, StorageError, StorageErrorKind,
    file,
};
use crate::tenancy::provision::{CreateTenant, Created, ProvisionRefused, Provisioner};
use crate::tenancy::{Checkpoints, Directory, Pauses, Registry, Shares};
use crate::tenant::currency::SoldIn;
use crate::tenant::new_shop::{self, NewShop};
use crate::tenant::policy::StorefrontRules;
use crate::tenant::{Policy, chain_ends};

/// The identity of every landlord's file; there is one per data directory.
const LANDLORD_ID: [u8; 16] = *b"tillbox landlord";
/// Clock corrections up to this size are not reported (NTP adjusts by less).
const CLOCK_SLACK_MS: i64 = 5_000;
/// Tenants whose currencies are kept in memory.
const CACHED_TENANTS: u64 = 10_000;
/// Lookups of keys and hosts that are kept in memory.
const CACHED_LOOKUPS: u64 = 20_000;
/// The threads that serve point reads, for all tenants together.
const READER_THREADS: usize = 2;

/// State shared by all parts of a running process, in slices. A function asks for those that it
/// uses.
pub struct App {
    /// The effective configuration.
    pub config: Config,
    pub ports: Ports,
    pub stores: Stores,
    /// Settings that affect sales.
    pub policy: Arc<Policy>,
    pub limits: Limits,
    pub observation: Observation,
    pub mailer: Mailer,
    pub alert_recipients: Arc<AlertRecipients>,
    pub reloads: Reloads,
}

/// Data in files, with its caches.
pub struct Stores {
    /// Tenants, domains and API keys.
    pub directory: Arc<Directory>,
    /// Tenants' open files.
    pub registry: Arc<Registry>,
    /// Creates and deletes tenants.
    pub provisioner: Provisioner,
    pub pauses: Pauses,
    /// The last runs of scheduled tasks.
    pub tasks: TaskRuns,
    pub clock_watch: Arc<ClockWatch>,
    /// Exchange rates published by the European Central Bank.
    pub published: PublishedRates,
    /// The currencies that each tenant sells in.
    pub sold_in: TimedCache<TenantId, Arc<SoldIn>>,
}

/// Limits of the machine and of what callers may use of it.
pub struct Limits {
    pub rate_limiter: Arc<RateLimiter>,
    /// Limits the log lines that callers can cause.
    pub log_lines: LogLines,
    /// Memory for request bodies that are arriving.
    pub body_memory: BodyMemory,
    /// Free space on the disk of the data directory.
    pub space: Arc<Space>,
    /// The share of the disk that each tenant may use.
    pub shares: Shares,
}

/// The observed state of the process, for `/health` and `/metrics`.
pub struct Observation {
    /// Job statistics of the last hour.
    pub job_stats: JobStats,
    /// Heartbeats of the process's components.
    pub liveness: Liveness,
    /// The clock's time at the start of the process.
    pub started_at: Timestamp,
    /// The machine's uptime at the start of the process.
    pub up_at_start: Duration,
}

impl Observation {
    fn begin(clock: &dyn Clock) -> Self {
        Self {
            job_stats: JobStats::default(),
            liveness: Liveness::default(),
            started_at: clock.now(),
            up_at_start: clock.uptime(),
        }
    }
}

/// The reason why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory is locked by another process or unusable.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error("the landlord's file cannot be opened: {0}{advice}", advice = advice(.0))]
    Landlord(StorageError),
    /// Tenant files exist, but no landlord's file.
    #[error(
        "landlord.db is missing in {dir}, where {tenants} tenants have their files. Restore it \
         from a backup; nothing was changed"
    )]
    LandlordMissing {
        dir: String,
        /// The number of tenant files.
        tenants: usize,
    },
    /// An incomplete tenant could not be removed.
    #[error("an incomplete tenant could not be removed: {0}")]
    Recovery(ProvisionRefused),
    #[error("the system grants no threads; raise its limit on tasks")]
    Threads(#[source] std::io::Error),
    #[error("the mail settings are invalid: {0}")]
    Mail(#[from] MailConfigError),
}

/// Advice for errors of the landlord's file that do not contain it already.
fn advice(error: &StorageError) -> &'static str {
    use StorageErrorKind as K;
    match error.kind() {
        K::Corrupt | K::NotADatabase | K::Missing | K::Quarantined | K::WrongIdentity | K::Io => {
            "; restore it from a backup, or name another data directory"
        }
        _ => "",
    }
}

/// The ports to the outside, which tests replace.
#[derive(Clone)]
pub struct Ports {
    /// The source of `now`.
    pub clock: Arc<dyn Clock>,
    /// The source of ids, keys and jitter.
    pub entropy: Arc<dyn Entropy>,
    /// HTTP calls to other servers.
    pub outbound: Arc<dyn Outbound>,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            outbound: Arc::new(Wire::default()),
        }
    }
}

impl App {
    /// Locks the data directory, opens the landlord's file, and removes what an interrupted
    /// operation left incomplete. Blocks.
    pub fn start(config: Config, dev: bool, ports: Ports) -> Result<Arc<Self>, StartError> {
        file::assert_sqlite_version();
        let dir = Arc::new(DataDir::open(&config.storage.data_dir)?);
        let settings = file_settings(&config, &ports)?;
        let directory = Arc::new(Directory::new(
            open_landlord(&dir, &settings)?,
            CACHED_LOOKUPS,
        ));
        let pauses = Pauses::load(directory.clone()).map_err(StartError::Landlord)?;
        let rate_limiter = RateLimiter::load(&config.rate_limits, ports.clock.clone(), &directory);
        let rate_limiter = Arc::new(rate_limiter.map_err(StartError::Landlord)?);
        let checkpoints = Checkpoints::new(directory.clone(), chain_ends::CHAINS);
        warn_of_clock(&checkpoints, ports.clock.now());
        let (alert_recipients, reloads) = alert_recipients(&config, &dir, ports.entropy.as_ref());
        let open_max = config.storage.open_tenants as usize;
        let registry = Arc::new(Registry::new(
            dir.clone(),
            settings,
            checkpoints,
            alert_recipients.channels().clone(),
            open_max,
        ));
        let files = dir.clone();
        let provisioner = Provisioner {
            dir,
            directory: directory.clone(),
            registry: registry.clone(),
            entropy: ports.entropy.clone(),
        };
        provisioner.recover().map_err(StartError::Recovery)?;
        let mailer = mailer(&config)?;
        let stores = Stores {
            pauses,
            tasks: TaskRuns::new(directory.clone()),
            clock_watch: Arc::new(ClockWatch::new(directory.clone(), ports.clock.clone())),
            published: published_rates(&config, &ports, directory.clone()),
            sold_in: sold_in_cache(&config, &ports),
            directory,
            registry,
            provisioner,
        };
        Ok(Arc::new(Self {
            stores,
            policy: Arc::new(policy(&config, dev)),
            limits: limits(&config, files, rate_limiter, &ports.clock),
            observation: Observation::begin(ports.clock.as_ref()),
            mailer,
            alert_recipients,
            reloads,
            config,
            ports,
        }))
    }

    /// Registers the sections that a reload may change.
    pub fn register_reloads(&self) {
        let rate_limiter = self.limits.rate_limiter.clone();
        self.reloads.subscribe("rate_limits", move |config| {
            rate_limiter.set_rates(&config.rate_limits);
            Ok(())
        });
        let (alert_recipients, entropy) =
            (self.alert_recipients.clone(), self.ports.entropy.clone());
        self.reloads.subscribe("alerts", move |config| {
            let applied =
                alert_recipients.apply(&config.alerts, &config.storage.data_dir, entropy.as_ref());
            applied.map_err(|error| match alert_recipients.missing_key() {
                Some(missing) => format!("{missing}; the other settings of [alerts] are in effect"),
                None => error.to_string(),
            })
        });
    }

    /// Creates a tenant and its first rows. Blocks.
    pub fn create_tenant(
        &self,
        origin: &Origin,
        command: &CreateTenant,
        shop: NewShop,
    ) -> Result<Created, ProvisionRefused> {
        self.stores
            .provisioner
            .create(origin, command, move |work, command| {
                new_shop::seed(work, &command.name, command.currency, &shop)
            })
    }

    /// Closes all files cleanly, so that no WAL file remains. Blocks.
    pub fn close(&self) {
        if let Err(error) = self.stores.directory.flush_used() {
            tracing::warn!(error = %error, "the last use of keys could not be stored");
        }
        self.stores.registry.close_all();
        if let Err(error) = self.stores.registry.write_checkpoints() {
            tracing::warn!(error = %error, "checkpoints of tenants could not be stored");
        }
        if let Err(error) = self.limits.rate_limiter.write(&self.stores.directory) {
            tracing::warn!(error = %error,
                "rate limits of login attempts could not be stored");
        }
        self.limits.log_lines.finish();
        self.stores.directory.database().close();
    }
}

fn file_settings(config: &Config, ports: &Ports) -> Result<Settings, StartError> {
    Ok(Settings {
        clock: ports.clock.clone(),
        entropy: ports.entropy.clone(),
        readers: Readers::start(READER_THREADS).map_err(StartError::Threads)?,
        readers_per_file: config.storage.readers_per_tenant,
    })
}

/// A missing signing key does not stop the start; `serve` reports it.
fn alert_recipients(
    config: &Config,
    dir: &DataDir,
    entropy: &dyn Entropy,
) -> (Arc<AlertRecipients>, Reloads) {
    let (alert_recipients, reloads) = (
        Arc::new(AlertRecipients::default()),
        Reloads::new(config.clone()),
    );
    if alert_recipients
        .apply(&config.alerts, dir.root(), entropy)
        .is_err()
    {
        reloads.mark_unapplied(|last| last.alerts = Alerts::default());
    }
    (alert_recipients, reloads)
}

fn limits(
    config: &Config,
    dir: Arc<DataDir>,
    rate_limiter: Arc<RateLimiter>,
    clock: &Arc<dyn Clock>,
) -> Limits {
    let storage = &config.storage;
    let reserve = storage.disk_reserve.as_bytes();
    let space = Arc::new(Space::new(storage.data_dir.clone(), reserve, clock.clone()));
    let tenant_max = storage.tenant_max.map(ByteSize::as_bytes);
    Limits {
        rate_limiter,
        log_lines: LogLines::new(clock.clone()),
        body_memory: BodyMemory::new(config.server.body_memory.as_bytes()),
        shares: Shares::new(dir, space.clone(), tenant_max, clock.clone()),
        space,
    }
}

fn published_rates(config: &Config, ports: &Ports, directory: Arc<Directory>) -> PublishedRates {
    let ttl = config.cache.rate_ttl.into();
    PublishedRates::new(directory, ttl, ports.clock.clone())
}

fn sold_in_cache(config: &Config, ports: &Ports) -> TimedCache<TenantId, Arc<SoldIn>> {
    let ttl = config.cache.settings_ttl.into();
    TimedCache::new(
        "currency_settings",
        CACHED_TENANTS,
        ttl,
        ports.clock.clone(),
    )
}

fn policy(config: &Config, dev: bool) -> Policy {
    Policy {
        invoice_number: NumberFormat::parse(&config.invoicing.number_format)
            .expect("the configuration was validated"),
        storefront: storefront(&config.storefront),
        test_payments: dev,
    }
}

fn storefront(config: &Storefront) -> StorefrontRules {
    StorefrontRules {
        cart_items_max: usize::try_from(config.cart_items_max)
            .expect("the configuration was validated"),
        carts_per_client: config.carts_per_address,
        carts_max: config.carts_max,
        hold_quantity_max: config.hold_quantity_max,
        hold_share_percent: config.hold_share_percent,
        unpaid_orders_per_client: config.unpaid_orders_per_address,
    }
}

fn mailer(config: &Config) -> Result<Mailer, MailConfigError> {
    let mail = &config.mail;
    Mailer::from_settings(
        mail.smtp_url.expose(),
        &mail.from,
        mail.timeout.into(),
        &config.outbox_dir(),
    )
}

/// Warns when the clock shows an earlier time than before: new timestamps will be older than
/// existing ones. The order of rows does not depend on timestamps.
fn warn_of_clock(checkpoints: &Checkpoints, now: Timestamp) {
    match checkpoints.find_seen() {
        Ok(Some(seen)) if now.plus_millis(CLOCK_SLACK_MS) < seen => {
            tracing::warn!(now = %now, seen = %seen, "the clock is behind a time that it showed \
                before; correct it, or confirm it with `tillbox retention prune --clock-is-right`");
        }
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(error = %error, "the latest time seen could not be read")
        }
    }
}

fn open_landlord(dir: &DataDir, settings: &Settings) -> Result<Database<Landlord>, StartError> {
    let path = dir.landlord();
    if !path.exists() {
        let tenants = dir.count_tenants();
        if tenants > 0 {
            let dir = dir.root().display().to_string();
            return Err(StartError::LandlordMissing { dir, tenants });
        }
        file::create::<Landlord>(&path, LANDLORD_ID, settings.clock.now())
            .map_err(StartError::Landlord)?;
    }
    Database::open(
        &path,
        LANDLORD_ID,
        settings,
        Check::AfterUncleanStop,
        |_| {},
    )
    .map_err(StartError::Landlord)
}
