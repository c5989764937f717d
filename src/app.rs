//! L5: the composition root. What the process is made of, put together once; no rules.

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
use crate::tenant::currency::{Published, SoldIn};
use crate::tenant::policy::StorefrontRules;
use crate::tenant::{Policy, chain_ends, settings};

/// The identity of every landlord's file: there is one per data directory.
const LANDLORD_ID: [u8; 16] = *b"tillbox landlord";
/// By so much a clock may be set back without a word: a time server's correction.
const CLOCK_SLACK_MS: i64 = 5_000;
/// The shops whose currencies are kept in memory.
const SHOPS_KEPT: u64 = 10_000;
/// Answers about who exists that are kept in memory.
const ANSWERS_KEPT: u64 = 20_000;
/// The threads that serve point reads, for all tenants together.
const READER_THREADS: usize = 2;

/// Everything that a running process shares.
pub struct App {
    /// The effective configuration.
    pub config: Config,
    /// Whether this is a developer's machine: demo tenant, test payments.
    pub dev: bool,
    /// Where `now` comes from.
    pub clock: Arc<dyn Clock>,
    /// Where ids, keys and jitter come from.
    pub entropy: Arc<dyn Entropy>,
    /// Who exists.
    pub directory: Arc<Directory>,
    /// Which shops are open.
    pub registry: Arc<Registry>,
    /// Which queues are paused.
    pub pauses: Pauses,
    /// How often one caller may ask.
    pub rate_limiter: Arc<RateLimiter>,
    /// Limits the log lines that callers can cause.
    pub log_lines: LogLines,
    /// Whether the clock is trusted.
    pub clock_watch: Arc<ClockWatch>,
    /// Up to when what comes round is done.
    pub tasks: TaskRuns,
    /// What the European Central Bank says that currencies are worth.
    pub published: PublishedRates,
    /// Which currencies each shop sells in.
    pub sold_in: TimedCache<TenantId, Arc<SoldIn>>,
    /// Makes and removes tenants.
    pub provisioner: Provisioner,
    /// Sends mail.
    pub mailer: Mailer,
    /// Whom alerts go to.
    pub alert_recipients: Arc<AlertRecipients>,
    /// Calls servers elsewhere.
    pub outbound: Arc<dyn Outbound>,
    /// What the configuration decides about selling.
    pub policy: Arc<Policy>,
    /// Room on the disk of the data directory.
    pub space: Arc<Space>,
    /// The share of the disk that each tenant may use.
    pub shares: Shares,
    /// Memory for request bodies that are arriving.
    pub body_memory: BodyMemory,
    /// What the jobs of the last hour were like.
    pub job_stats: JobStats,
    /// What the moving parts show of themselves, for `/health`.
    pub liveness: Liveness,
    /// Who takes a new configuration.
    pub reloads: Reloads,
    /// Since when the process runs, as the clock showed it.
    pub started_at: Timestamp,
    /// How long the machine had been up by then.
    pub up_at_start: Duration,
}

/// Why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory is in use or cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The landlord's file cannot be used.
    #[error("the landlord's file cannot be opened: {0}{advice}", advice = advice(.0))]
    Landlord(StorageError),
    /// There are shops, and no file that says whose they are.
    #[error(
        "landlord.db is missing in {dir}, where {shops} shops have their files; restore it from a \
         backup; nothing was changed"
    )]
    LandlordMissing {
        /// The data directory.
        dir: String,
        /// How many files there are.
        shops: usize,
    },
    /// A half-made tenant could not be cleared away.
    #[error("a half-made tenant could not be cleared away: {0}")]
    Recovery(ProvisionRefused),
    /// The system grants no threads.
    #[error("the system grants no threads; raise its limit of tasks")]
    Threads(#[source] std::io::Error),
    /// The mail settings cannot work.
    #[error("the mail settings cannot work: {0}")]
    Mail(#[from] MailConfigError),
}

/// What to do about the landlord's file, where its trouble does not say so itself.
fn advice(error: &StorageError) -> &'static str {
    use StorageErrorKind as K;
    match error.kind() {
        K::Corrupt | K::NotADatabase | K::Missing | K::SetAside | K::WrongIdentity | K::Io => {
            "; restore it from a backup, or name another data directory"
        }
        _ => "",
    }
}

/// The ports to the outside that a test replaces.
pub struct Ports {
    /// Where `now` comes from.
    pub clock: Arc<dyn Clock>,
    /// Where ids, keys and jitter come from.
    pub entropy: Arc<dyn Entropy>,
    /// What calls servers elsewhere.
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
    /// Locks the data directory, opens the landlord's file, clears away what a crash left half
    /// made. Blocks.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(config: Config, dev: bool, ports: Ports) -> Result<Arc<Self>, StartError> {
        file::assert_sqlite_version();
        let dir = Arc::new(DataDir::open(&config.storage.data_dir)?);
        let readers = Readers::start(READER_THREADS).map_err(StartError::Threads)?;
        let settings = Settings {
            clock: ports.clock.clone(),
            entropy: ports.entropy.clone(),
            readers,
            readers_per_file: config.storage.readers_per_tenant,
        };
        let directory = Arc::new(Directory::new(
            open_landlord(&dir, &settings)?,
            ANSWERS_KEPT,
        ));
        let pauses = Pauses::load(directory.clone()).map_err(StartError::Landlord)?;
        let rate_limiter = RateLimiter::load(&config.rate_limits, ports.clock.clone(), &directory);
        let rate_limiter = Arc::new(rate_limiter.map_err(StartError::Landlord)?);
        let clock_watch = Arc::new(ClockWatch::new(directory.clone(), ports.clock.clone()));
        let tasks = TaskRuns::new(directory.clone());
        let published = PublishedRates::new(
            directory.clone(),
            config.cache.rate_ttl.into(),
            ports.clock.clone(),
        );
        let sold_in = TimedCache::new(
            "currency_settings",
            SHOPS_KEPT,
            config.cache.settings_ttl.into(),
            ports.clock.clone(),
        );
        let checkpoints = Checkpoints::new(directory.clone(), chain_ends::CHAINS);
        warn_of_clock(&checkpoints, ports.clock.now());
        let (alert_recipients, reloads) = alert_recipients(&config, &dir, ports.entropy.as_ref());
        let open_max = config.storage.open_tenants as usize;
        let registry = Arc::new(Registry::new(
            dir.clone(),
            settings,
            checkpoints,
            alert_recipients.means().clone(),
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
        let policy = Arc::new(policy(&config, dev));
        let (space, shares) = disk_bounds(&config, files, &ports.clock);
        let log_lines = LogLines::new(ports.clock.clone());
        let body_memory = BodyMemory::new(config.server.body_memory.as_bytes());
        let (started_at, up_at_start) = (ports.clock.now(), ports.clock.uptime());
        Ok(Arc::new(Self {
            config,
            dev,
            clock: ports.clock,
            entropy: ports.entropy,
            directory,
            registry,
            pauses,
            rate_limiter,
            log_lines,
            clock_watch,
            tasks,
            published,
            sold_in,
            provisioner,
            mailer,
            alert_recipients,
            outbound: ports.outbound,
            policy,
            space,
            shares,
            body_memory,
            job_stats: JobStats::default(),
            liveness: Liveness::default(),
            reloads,
            started_at,
            up_at_start,
        }))
    }

    /// Says what of a configuration that is read again is taken by what is in here.
    pub fn take_reloads(&self) {
        let rate_limiter = self.rate_limiter.clone();
        self.reloads.take("rate_limits", move |config| {
            rate_limiter.set_rates(&config.rate_limits);
            Ok(())
        });
        let (alert_recipients, entropy) = (self.alert_recipients.clone(), self.entropy.clone());
        self.reloads.take("alerts", move |config| {
            let renewed =
                alert_recipients.renew(&config.alerts, &config.storage.data_dir, entropy.as_ref());
            renewed.map_err(|error| match alert_recipients.missing_key() {
                Some(missing) => format!("{missing}; what else is in [alerts] has been taken"),
                None => error.to_string(),
            })
        });
    }

    /// Makes a tenant and its first rows. Blocks.
    ///
    /// # Errors
    /// [`ProvisionRefused`].
    pub fn create_tenant(
        &self,
        origin: &Origin,
        command: &CreateTenant,
    ) -> Result<Created, ProvisionRefused> {
        self.provisioner.create(origin, command, |work, command| {
            settings::seed(work, &command.name, command.currency)
        })
    }

    /// The ports that it was started with.
    pub fn ports(&self) -> Ports {
        Ports {
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            outbound: self.outbound.clone(),
        }
    }

    /// Closes all files in an orderly way: no WAL is left behind. Blocks.
    pub fn close(&self) {
        if let Err(error) = self.directory.flush_used() {
            tracing::warn!(error = %error, "when keys were last used was not written down");
        }
        self.registry.close_all();
        if let Err(error) = self.registry.write_checkpoints() {
            tracing::warn!(error = %error, "how far the shops' files are was not written down");
        }
        if let Err(error) = self.rate_limiter.write(&self.directory) {
            tracing::warn!(error = %error,
                "who has tried to log in how often was not written down");
        }
        self.log_lines.finish();
        self.directory.database().close();
    }
}

/// Nobody who wants to sell, or to look after the shops with a command, has to mind that alerts
/// cannot be signed: `serve` says it.
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
        .renew(&config.alerts, dir.root(), entropy)
        .is_err()
    {
        reloads.owe(|last| last.alerts = Alerts::default());
    }
    (alert_recipients, reloads)
}

/// The reserve of the disk, and the share of it that each tenant may use.
fn disk_bounds(config: &Config, dir: Arc<DataDir>, clock: &Arc<dyn Clock>) -> (Arc<Space>, Shares) {
    let storage = &config.storage;
    let reserve = storage.disk_reserve.as_bytes();
    let space = Arc::new(Space::new(storage.data_dir.clone(), reserve, clock.clone()));
    let tenant_max = storage.tenant_max.map(ByteSize::as_bytes);
    let shares = Shares::new(dir, space.clone(), tenant_max, clock.clone());
    (space, shares)
}

fn policy(config: &Config, dev: bool) -> Policy {
    Policy {
        invoice_number: NumberFormat::parse(&config.invoicing.number_format)
            .expect("the configuration was validated"),
        storefront: storefront(&config.storefront),
        test_payments: dev,
        published: Published::default(),
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

/// Says so when the clock shows an instant before one that it has shown already: stamps of what
/// comes now will be older than those of what was. The order of things is that of their places all
/// the same.
fn warn_of_clock(checkpoints: &Checkpoints, now: Timestamp) {
    match checkpoints.find_seen() {
        Ok(Some(seen)) if now.plus_millis(CLOCK_SLACK_MS) < seen => {
            tracing::warn!(now = %now, seen = %seen, "the clock is behind what it has shown \
                before; set it right; if it is right now, say so with `tillbox retention prune \
                --clock-is-right`");
        }
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(error = %error, "the latest instant that was seen could not be read")
        }
    }
}

fn open_landlord(dir: &DataDir, settings: &Settings) -> Result<Database<Landlord>, StartError> {
    let path = dir.landlord();
    if !path.exists() {
        let shops = dir.count_tenants();
        if shops > 0 {
            let dir = dir.root().display().to_string();
            return Err(StartError::LandlordMissing { dir, shops });
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
