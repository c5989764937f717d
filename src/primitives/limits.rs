//! All bounds that a caller or an operator can meet, each with its reason. Tuning constants of a
//! mechanism are in its own module.

/// The largest amount of money and the largest product of a price and a quantity, in minor units:
/// 2⁵³ − 1, the largest integer that every JSON reader keeps exact (RFC 8259 §6), as RFC 8785 needs
/// for a canonical snapshot.
pub const MONEY_MINOR_MAX: i64 = (1 << 53) - 1;
/// The largest total of one order, in minor units: a hundred billion euros, more than a 13-digit
/// barcode that was scanned into a price field. The sums of a ledger fit an i64 while it holds
/// fewer than 900,000 such orders.
pub const ORDER_TOTAL_MINOR_MAX: i64 = 10_000_000_000_000;
/// The largest price of one item and the largest payment, in minor units: an order could not
/// contain more.
pub const PRICE_MINOR_MAX: i64 = ORDER_TOTAL_MINOR_MAX;
/// The largest quantity of one line, and the largest single change of stock, in whole units.
pub const QUANTITY_MAX: i64 = 1_000_000;
/// The decimal places that a quantity can have: grams of a kilogram, as calibrated scales weigh.
pub const QUANTITY_SCALE_MAX: i64 = 3;
/// The integer of the largest quantity at the finest scale. The product decides whether it is
/// within [`QUANTITY_MAX`].
pub const QUANTITY_INTEGER_MAX: i64 = QUANTITY_MAX * 1_000;
/// The largest stock on hand of one product, as an integer of its scale: far above any shop, also
/// when it counts in grams; far below an overflow of sums.
pub const STOCK_MAX: i64 = 1_000_000_000_000;
/// Lines in one cart, order or sale: a full trolley has 100, a wholesale order 500.
pub const LINES_MAX: usize = 500;
/// Payments in one sale (split tender).
pub const PAYMENTS_PER_SALE_MAX: usize = 20;
/// Payments of one order over its life, failed ones included.
pub const PAYMENTS_PER_ORDER_MAX: i64 = 50;
/// Characters in the name of a product, category, tenant or key.
pub const NAME_CHARS_MAX: usize = 200;
/// Characters in a free-text note (the reason of an adjustment, a provider's reference).
pub const NOTE_CHARS_MAX: usize = 500;
/// Characters in a SKU.
pub const SKU_CHARS_MAX: usize = 64;
/// Characters in a barcode (GS1 DataBar expanded has up to 74; we store what scanners send).
pub const BARCODE_CHARS_MAX: usize = 80;
/// Characters in a slug; also the limit of a DNS label.
pub const SLUG_CHARS_MAX: usize = 63;
/// Characters in an e-mail address (RFC 5321 §4.5.3.1.3: a path of 256 with its brackets).
pub const EMAIL_CHARS_MAX: usize = 254;
/// Characters in a host name (RFC 1035 §2.3.4).
pub const HOST_CHARS_MAX: usize = 253;
/// Letters and digits in a VAT id with its prefix: the longest known one, of China, has 20.
pub const VAT_ID_LETTERS_MAX: usize = 20;
/// Letters and digits in a VAT id with its prefix: the shortest known one, of Romania, has 4.
pub const VAT_ID_LETTERS_MIN: usize = 4;
/// Characters in a VAT id as entered: a separator behind each letter.
pub const VAT_ID_CHARS_MAX: usize = 40;
/// Characters in an `Idempotency-Key`, as at Stripe.
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;
/// Lifetime of the first answer of an idempotency key: 24 hours.
pub const IDEMPOTENCY_TTL_MS: i64 = 24 * 60 * 60 * 1000;
/// Lifetime of the first answer of an idempotency key without an API key: an hour, longer than a
/// browser repeats a request.
pub const KEYLESS_ANSWER_TTL_MS: i64 = 60 * 60 * 1000;
/// Bytes of stored answers of callers without an API key, in one tenant: 16 MiB, 80,000 cart calls.
/// Beyond it the oldest answers of carts are deleted, but never one of a checkout.
pub const KEYLESS_ANSWER_BYTES_MAX: i64 = 16 << 20;
/// Characters in an `X-Request-Id` that is adopted from the client.
pub const REQUEST_ID_CHARS_MAX: usize = 128;
/// Bytes of a text in a log line that may come from a caller, such as a path.
pub const LOG_TEXT_BYTES_MAX: usize = 200;
/// Bytes of a text in a log line that comes from the program or the system, such as an error with
/// its causes.
pub const LOG_ERROR_BYTES_MAX: usize = 4_096;
/// Log lines of one kind of refusal that one caller may cause in a minute.
pub const LOG_LINES_PER_CALLER: u32 = 10;
/// Log lines of one kind of refusal that all callers together may cause in a minute: at 600 bytes a
/// line, 52 MB a day.
pub const LOG_LINES_PER_KIND: u32 = 60;
/// Window in which log lines about refusals are counted, in seconds.
pub const LOG_LINES_WINDOW_S: u64 = 60;
/// Rows of a page by default.
pub const PAGE_DEFAULT: u32 = 50;
/// Maximum rows of a page.
pub const PAGE_MAX: u32 = 200;
/// Duration of a stock reservation for an order that awaits payment: 15 minutes, as ticket shops
/// and card forms use.
pub const RESERVATION_TTL_MS: i64 = 15 * 60 * 1000;
/// Maximum time until a reservation expires: twice its duration. A later expiry was set while the
/// clock was ahead; without this limit the goods would stay reserved for as long as the clock was
/// set back.
pub const RESERVATION_AHEAD_MAX_MS: i64 = 2 * RESERVATION_TTL_MS;
/// Window in which the unpaid orders of a client without an API key are counted: a day. After that,
/// a payment by card is unlikely.
pub const UNPAID_ORDERS_WINDOW_MS: i64 = 24 * 60 * 60 * 1000;
/// Unpaid orders that one call of the staff cancels: a tenth of a second of the writer's time.
pub const CANCELLED_PER_CALL_MAX: u32 = 100;
/// Reservations that one transaction expires: few enough that sales run in between.
pub const EXPIRE_RESERVATIONS_MAX: u32 = 200;
/// Maximum lead of a till's sale date over our clock: clocks are never exactly equal.
pub const SOLD_AT_AHEAD_MS: i64 = 5 * 60 * 1000;
/// Maximum age of a till's sale date: ten years, the retention period of books. Earlier dates come
/// from clocks that start at 1970 or 2000.
pub const SOLD_AT_BEHIND_MS: i64 = 3_653 * 24 * 60 * 60 * 1000;
/// Default maximum age of a published exchange rate, in days: more than the longest run of holidays
/// without one.
pub const RATE_AGE_DAYS_DEFAULT: i32 = 7;
/// Upper limit of the configurable maximum age.
pub const RATE_AGE_DAYS_MAX: i32 = 366;
/// Requests that may wait for one file's writer; the next gets 503. At 7,000 sales a second this is
/// a seventh of a second.
pub const WRITER_INBOX: usize = 1024;
/// Requests in one commit: above 64 the throughput hardly grows, but the latency does.
pub const BATCH_REQUESTS_MAX: usize = 256;
/// Maximum time for one batch to collect and run before it commits, in milliseconds.
pub const BATCH_WORK_MS: u64 = 20;
/// Reads that may wait for the shared reader threads; the next gets 503.
pub const READER_INBOX: usize = 4096;
/// Reports and checks that run at the same time, over all tenants: a slow one does not delay all
/// others.
pub const LONG_READERS: usize = 4;
/// Concurrent long reads of one file, waiting ones included: two, so that one tenant leaves threads
/// for the others.
pub const LONG_READS_PER_FILE: u32 = 2;
/// Requests that wait for one file to open: as many as a till and a storefront send during the
/// seconds of a check.
pub const OPENING_WAITERS_MAX: usize = 256;
/// Time limit of a report or an integrity check, in milliseconds.
pub const LONG_READ_MS: u64 = 30_000;
/// Maximum time that a read waits for a connection to its file, in milliseconds: it occupies a
/// shared thread meanwhile.
pub const READER_WAIT_MS: u64 = 1_000;
/// Jobs of one queue in one batch, which is one request of the writer: as many as two batches of 64
/// sales enqueue, so that the audit chain keeps up with a busy shop, and only a few milliseconds
/// between two sales.
pub const CLAIM_MAX: u32 = 128;
/// Pause of a tenant's queue after its batch failed as a whole (disk full, writer overloaded).
pub const BATCH_RETRY_MS: i64 = 2_000;
/// Maximum retry delay of a failed job: a day, the longest that the settings allow.
pub const JOB_RETRY_MAX_MS: i64 = 24 * 60 * 60 * 1000;
/// Backward clock step from which the worker reads all waiting jobs again: more than the
/// corrections of a good clock.
pub const CLOCK_SET_BACK_MS: i64 = 1_000;
/// Heartbeats in which the worker repeats that: batches that were running end within them.
pub const REFRESH_BEATS: u32 = 5;
/// Interval of the worker's heartbeat.
pub const HEARTBEAT_MS: u64 = 1_000;
/// Age of the last heartbeat from which `/health` reports the queue as stopped: ten intervals, so
/// that a busy machine is not mistaken for a dead one.
pub const HEARTBEAT_STALE_MS: i64 = 10_000;
/// Delay of a job from which `/health` reports the queue as late: five times the longest call that
/// the defaults allow.
pub const JOB_LATE_MS: i64 = 5 * 60 * 1000;
/// Interval at which the high-water marks of tenant files are recorded. A copy that lacks commits
/// acknowledged since the last checkpoint is not detected.
pub const CHECKPOINT_MS: u64 = 10_000;
/// Callers with a remembered bucket, per group of limited routes: 65,536 of them use about 8 MiB. A
/// flood of more addresses evicts the buckets that are nearest to full.
pub const RATE_BUCKETS_MAX: usize = 65_536;
/// Buckets that are stored across a restart, the emptiest ones: one small write, however many
/// addresses there are.
pub const RATE_BUCKETS_KEPT_MAX: usize = 1_024;
/// Entries of `X-Forwarded-For` or `Forwarded` that are read from the right: more than any chain of
/// proxies.
pub const PROXY_HOPS_MAX: usize = 32;
/// Interval at which the worker searches for work without a wakeup, and closes idle tenants.
pub const SWEEP_MS: u64 = 60_000;
/// Lifetime of a probe result of the landlord's file: a flood of `/health` requests writes once a
/// second.
pub const PROBE_MS: i64 = 1_000;
/// Time limit of that probe before the file counts as failed.
pub const PROBE_DEADLINE_MS: u64 = 5_000;
/// Rescues of a job from a dead process before it counts as the cause of the crashes.
pub const RESCUES_MAX: i64 = 10;
/// Jobs that are scanned for one page of a list, in one tenant: about a millisecond of reading,
/// however many jobs have run.
pub const JOBS_SCANNED_MAX: u32 = 10_000;
/// Discarded jobs that are retried or deleted in one transaction: few enough that sales run in
/// between.
pub const JOBS_CHANGED_MAX: u32 = 200;
/// Jobs that are released in one transaction, for the same reason.
pub const JOBS_RELEASED_MAX: u32 = 200;
/// Finished jobs of each kind of ending that are deleted with one batch of their tenant: more than
/// a batch can add, so that they do not pile up; a millisecond or two.
pub const JOBS_TRIMMED_MAX: u32 = 2 * CLAIM_MAX;
/// Batches for which a queue may be passed over before it goes first, whatever its priority: when
/// slots are short, it still gets one in nine.
pub const QUEUE_PASSED_MAX: u32 = 8;
/// Tenants whose last batch a queue remembers: more than are ever active at once. A forgotten
/// tenant gets its next batch early.
pub const SERVED_MAX: usize = 16_384;
/// Kinds of job with statistics of their own; the others are counted together.
pub const STATS_KINDS_MAX: usize = 64;
/// Tenants that are read for one page of a list over all tenants: few enough that idle ones, which
/// are opened for it, evict no active one.
pub const WALK_TENANTS_MAX: u32 = 50;
/// Characters of the error text that a job keeps.
pub const JOB_ERROR_CHARS_MAX: usize = 2_000;
/// Rows in one transaction of an import: few enough that sales run in between.
pub const IMPORT_BATCH: usize = 200;
/// Bytes in one batch of an import, as the command line cuts them; one row is never near it.
pub const IMPORT_BATCH_BYTES: usize = 1 << 20;
/// Body limit of the operator's own commands, whatever the limit for clients: a batch and its
/// longest row.
pub const LOCAL_BODY_BYTES_MAX: u64 = 4 << 20;
/// Bytes of each request body that are outside `server.body_memory`: the size of a connection's
/// buffer. A sale, a cart and a checkout fit into it, so they are never refused for lack of memory.
/// 4,096 connections hold at most 64 MiB in this way.
pub const BODY_BYTES_FREE: u64 = 16 << 10;
/// Bytes of an oversized body that are read and discarded, so that the client receives the answer:
/// 16 MiB.
pub const REFUSED_BODY_BYTES_MAX: u64 = 16 << 20;
/// Maximum pause while reading such a body, in milliseconds: a client that sends nothing is waiting
/// for the answer.
pub const REFUSED_BODY_PAUSE_MS: u64 = 500;
/// Time limit for reading and discarding a refused body, in milliseconds: a slow client would
/// otherwise keep its connection forever.
pub const REFUSED_BODY_MS: u64 = 15_000;
/// Time limit of the operator's own commands, whatever the limit for clients, in milliseconds: the
/// migration of a large file.
pub const LOCAL_REQUEST_MS: u64 = 10 * 60 * 1000;
/// Pause of the audit queue after a batch of the only ready tenant. Each batch is a commit on the
/// file that sales wait for, so one batch serves the sales of 20 ms instead of one each. The length
/// was chosen, not tuned.
pub const AUDIT_REST_MS: u64 = 20;
/// Age of the scheduler's last heartbeat from which `/health` reports the queue as stopped: the
/// interval is ten seconds.
pub const SCHEDULER_STALE_MS: i64 = 90_000;
/// Minimum interval between two retention runs: each reads all files of the instance.
pub const RETENTION_REST_MS: i64 = 60 * 60 * 1000;
/// Pause of a task after a failure.
pub const TASK_RETRY_MS: i64 = 5 * 60 * 1000;
/// Maximum lead of a task's last run over the clock: a day and the hour of a clock that was set
/// back. A later one was recorded while the clock was ahead.
pub const TASK_AHEAD_MAX_MS: i64 = 26 * 60 * 60 * 1000;
/// Clock step that keeps a running process's clock trusted: time servers correct this much at once.
pub const CLOCK_STEP_MAX_MS: i64 = 60_000;
/// Downtime after which a process still trusts its clock at the next start: a week.
pub const CLOCK_GAP_MAX_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// Downtime, or lead of the clock, up to which a suspect clock becomes trusted again without
/// confirmation after a steady period: 60 days, longer than holidays and shorter than any yearly
/// retention. A longer gap has to be confirmed by the operator.
pub const CLOCK_CLOSED_MAX_MS: i64 = 60 * 24 * 60 * 60 * 1000;
/// Steady period that makes a suspect clock trusted again: a week, in which somebody notices a
/// wrong date on a receipt.
pub const CLOCK_STEADY_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// Interval at which the steady period is recorded: each hour, so that a till that is turned off
/// every night also completes the week.
pub const CLOCK_STEADY_RECORD_MS: i64 = 60 * 60 * 1000;
/// Interval at which a trusted clock is recorded in the landlord's file: once a day.
pub const CLOCK_TRUST_RECORD_MS: i64 = 20 * 60 * 60 * 1000;
/// Rows that one transaction of retention deletes: a millisecond or two, so that sales run in
/// between.
pub const PRUNE_BATCH: u32 = 200;
/// Retention transactions in one job: it then yields to others in its queue and continues as a new
/// job.
pub const PRUNE_BATCHES_PER_JOB: u32 = 500;
/// Pages of a file that one transaction gives back: a quarter of a megabyte to move and cut off.
pub const VACUUM_PAGES: u32 = 64;
/// Such transactions in one job, or in one run by hand: 16 megabytes; the rest goes with the next
/// one.
pub const VACUUM_STEPS: u32 = 64;
/// Free pages that a file keeps: a megabyte that it would soon need again.
pub const FREE_PAGES_KEPT: u32 = 256;
/// Free pages for which the nightly run enqueues a job although nothing is expired: an earlier run
/// left them to be given back.
pub const FREE_PAGES_WORTH: u32 = 2 * FREE_PAGES_KEPT;
/// Carts of callers without an API key that one transaction deletes, with their items: about 500
/// rows.
pub const ANONYMOUS_CARTS_PER_BATCH: u32 = 10;
/// Transactions of one sweep of a tenant that delete expired carts and answers of callers without
/// an API key.
pub const KEYLESS_BATCHES_PER_SWEEP: u32 = 50;
/// Time without a change after which a cart of a caller without an API key may be deleted for a new
/// one: an hour.
pub const CART_IDLE_MS: i64 = 60 * 60 * 1000;
/// Retention of an unchanged cart without an order: 90 days.
pub const CART_KEPT_MS: i64 = 90 * 24 * 60 * 60 * 1000;
/// Retention of a finished reservation: 30 days.
pub const RESERVATION_KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// Maximum time between two checks of an unchanged file: a week, because disks rot.
pub const CHECK_REST_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// Tax rates of a new tenant: more are added one by one.
pub const NEW_RATES_MAX: usize = 20;
/// Findings of the nightly check that the landlord's file keeps: the first ones say where to start.
pub const FINDINGS_KEPT: usize = 20;
