//! Every bound that a caller or an operator can meet, in one place, with the reason beside it. What
//! tunes a mechanism stands with it.

/// The largest amount of money and the largest product of a price and a quantity, in minor units:
/// 2⁵³ − 1, the largest integer that every JSON reader keeps exact (RFC 8259 §6), which RFC 8785
/// needs for a canonical snapshot.
pub const MONEY_MINOR_MAX: i64 = (1 << 53) - 1;
/// The largest total of one order, in minor units: a hundred billion euros, more than a barcode of
/// 13 digits that was read into the field of a price. The sums of a ledger fit an i64 for as long
/// as it holds fewer than 900,000 such orders.
pub const ORDER_TOTAL_MINOR_MAX: i64 = 10_000_000_000_000;
/// The largest price of one thing and the largest payment, in minor units: what costs more could
/// not be sold.
pub const PRICE_MINOR_MAX: i64 = ORDER_TOTAL_MINOR_MAX;
/// The largest quantity on one line, and the largest change of stock at once.
pub const QUANTITY_MAX: i64 = 1_000_000;
/// The largest stock on hand of one product: far above any shop, far below an overflow of sums.
pub const STOCK_MAX: i64 = 1_000_000_000_000;
/// Lines in one cart, order or sale: a full trolley is 100; a wholesale order is 500.
pub const LINES_MAX: usize = 500;
/// Payments in one sale (split tender).
pub const PAYMENTS_PER_SALE_MAX: usize = 20;
/// Payments of one order over its life, failed ones included.
pub const PAYMENTS_PER_ORDER_MAX: i64 = 50;
/// Characters in a name of a product, category, tenant or key.
pub const NAME_CHARS_MAX: usize = 200;
/// Characters in a free note (the reason of an adjustment, a provider's reference).
pub const NOTE_CHARS_MAX: usize = 500;
/// Characters in a SKU.
pub const SKU_CHARS_MAX: usize = 64;
/// Characters in a barcode (GS1 DataBar expanded has up to 74; we store what scanners send).
pub const BARCODE_CHARS_MAX: usize = 80;
/// Characters in a slug: also the bound of a DNS label.
pub const SLUG_CHARS_MAX: usize = 63;
/// Characters in an e-mail address (RFC 5321 §4.5.3.1.3: a path of 256 with its brackets).
pub const EMAIL_CHARS_MAX: usize = 254;
/// Characters in a host name (RFC 1035 §2.3.4).
pub const HOST_CHARS_MAX: usize = 253;
/// Characters in an `Idempotency-Key`, as at Stripe.
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;
/// How long the first answer of an idempotency key is kept: 24 hours.
pub const IDEMPOTENCY_TTL_MS: i64 = 24 * 60 * 60 * 1000;
/// How long the first answer of an idempotency key is kept for a caller without an API key: an
/// hour, in which a browser repeats what it repeats.
pub const KEYLESS_ANSWER_TTL_MS: i64 = 60 * 60 * 1000;
/// Bytes of stored answers of callers without an API key, in one shop: 16 MiB, 80,000 cart calls.
/// Beyond it the oldest answers of carts are deleted first, and never one of a checkout.
pub const KEYLESS_ANSWER_BYTES_MAX: i64 = 16 << 20;
/// Characters in an `X-Request-Id` that we take over.
pub const REQUEST_ID_CHARS_MAX: usize = 128;
/// Bytes of a text in a log line that may come from a caller, such as a path.
pub const LOG_TEXT_BYTES_MAX: usize = 200;
/// Bytes of a text in a log line that the program or the system wrote, such as an error with its
/// causes.
pub const LOG_ERROR_BYTES_MAX: usize = 4_096;
/// Log lines of one kind of refusal that one caller may cause in a minute.
pub const LOG_LINES_PER_CALLER: u32 = 10;
/// Log lines of one kind of refusal that all callers together may cause in a minute: at 600 bytes a
/// line, 52 MB a day.
pub const LOG_LINES_PER_KIND: u32 = 60;
/// How long lines about refusals are counted together, in seconds.
pub const LOG_LINES_WINDOW_S: u64 = 60;
/// The rows of a page when the caller does not say.
pub const PAGE_DEFAULT: u32 = 50;
/// The most rows of a page.
pub const PAGE_MAX: u32 = 200;
/// How long stock is held for an order that waits for its payment: 15 minutes, as ticket shops and
/// card forms use.
pub const RESERVATION_TTL_MS: i64 = 15 * 60 * 1000;
/// How far ahead the end of a hold may lie: twice its length. One that lies further was made while
/// the clock was ahead, and would last for as long as the clock was set back; so would, without
/// this, the goods be kept from everybody.
pub const RESERVATION_AHEAD_MAX_MS: i64 = 2 * RESERVATION_TTL_MS;
/// How far back the unpaid orders of a client without an API key are counted: a day, after which
/// nobody means to pay by card any more.
pub const UNPAID_ORDERS_WINDOW_MS: i64 = 24 * 60 * 60 * 1000;
/// Unpaid orders that staff cancels in one call: a tenth of a second of the writer's time.
pub const CANCELLED_PER_CALL_MAX: u32 = 100;
/// Reservations that one transaction ends: small enough that sales go on between two.
pub const EXPIRE_RESERVATIONS_MAX: u32 = 200;
/// How far ahead of our clock a till may date a sale: its clock is never exactly ours.
pub const SOLD_AT_AHEAD_MS: i64 = 5 * 60 * 1000;
/// How far back a till may date a sale: ten years, for which books are kept. Earlier dates are
/// those of clocks that begin at 1970 or 2000.
pub const SOLD_AT_BEHIND_MS: i64 = 3_653 * 24 * 60 * 60 * 1000;
/// How old a published exchange rate may be, in days, until a shop says otherwise: longer than the
/// longest run of holidays without one.
pub const RATE_AGE_DAYS_DEFAULT: i32 = 7;
/// The most that a shop may allow.
pub const RATE_AGE_DAYS_MAX: i32 = 366;
/// Requests that may wait for one file's writer; the next is answered 503. At 7,000 sales a second
/// this is a seventh of a second.
pub const WRITER_INBOX: usize = 1024;
/// Requests in one commit: above 64 the rate hardly grows, and the wait does.
pub const BATCH_REQUESTS_MAX: usize = 256;
/// How long one batch may gather and work before it commits, in milliseconds.
pub const BATCH_WORK_MS: u64 = 20;
/// Reads that may wait for the shared reader threads; the next is answered 503.
pub const READER_INBOX: usize = 4096;
/// Reports and checks that run at the same time, of all stores together: one that takes long does
/// not keep everybody else's waiting.
pub const LONG_READERS: usize = 4;
/// Long reads of one file at once, those that wait for a thread included: two, so that one store
/// leaves threads for the others.
pub const LONG_READS_PER_FILE: u32 = 2;
/// Requests that wait for one file to be opened: as many as a till and a storefront send in the
/// seconds that a check takes.
pub const OPENING_WAITERS_MAX: usize = 256;
/// How long a report or an integrity check may run, in milliseconds.
pub const LONG_READ_MS: u64 = 30_000;
/// How long a read may wait for a connection to its file, in milliseconds: it keeps one of the
/// shared threads meanwhile.
pub const READER_WAIT_MS: u64 = 1_000;
/// Jobs of one queue in one turn, which is one request in the writer's batch: as many as two
/// batches of 64 sales leave behind, so that the audit chain keeps up with a shop under load, and
/// still only a few milliseconds between two sales.
pub const CLAIM_MAX: u32 = 128;
/// How long a queue of a shop rests after its turn failed as a whole (disk full, writer
/// overloaded).
pub const BATCH_RETRY_MS: i64 = 2_000;
/// How long a job may rest after a failure: a day, the longest that the settings allow.
pub const JOB_RETRY_MAX_MS: i64 = 24 * 60 * 60 * 1000;
/// How far the clock has to be set back at once for the worker to look anew at all that waits: more
/// than what keeps a good clock right.
pub const CLOCK_SET_BACK_MS: i64 = 1_000;
/// In how many beats after that it looks again: turns that were under way end within them.
pub const LOOKS_ANEW: u32 = 5;
/// How often the worker shows that it is alive.
pub const HEARTBEAT_MS: u64 = 1_000;
/// How old the last beat may be before `/health` calls the queue stopped: ten beats, so that a busy
/// machine is not mistaken for a dead one.
pub const HEARTBEAT_STALE_MS: i64 = 10_000;
/// How long a job may be overdue before `/health` calls the queue late: five times the longest call
/// that the defaults allow.
pub const JOB_LATE_MS: i64 = 5 * 60 * 1000;
/// How often it is written down how far the shops' files are: what was acknowledged since then
/// would not be missed in a copy that lacks it.
pub const CHECKPOINT_MS: u64 = 10_000;
/// Callers whose bucket is remembered, for each group of limited routes: 65,536 of them are about 8
/// MiB. A flood of more addresses pushes out those whose buckets are nearest to full.
pub const RATE_BUCKETS_MAX: usize = 65_536;
/// Buckets that are written down to outlast a restart, the emptiest ones: one small write, however
/// many addresses there are.
pub const RATE_BUCKETS_KEPT_MAX: usize = 1_024;
/// Entries of `X-Forwarded-For` or `Forwarded` that are looked at from the right: more proxies than
/// stand behind one another anywhere.
pub const PROXY_HOPS_MAX: usize = 32;
/// How often the worker looks for work that no hint told of, and closes shops at rest.
pub const SWEEP_MS: u64 = 60_000;
/// How long a verdict of the landlord's file stands, so that a flood of `/health` writes once a
/// second and no more.
pub const PROBE_MS: i64 = 1_000;
/// How long that probe may take before the file counts as failed.
pub const PROBE_DEADLINE_MS: u64 = 5_000;
/// How often a job may be rescued from a dead process before it is taken for the cause.
pub const RESCUES_MAX: i64 = 10;
/// Jobs that are looked at for one page of a list, in one store: a millisecond or so of reading,
/// however long the list of what has run is.
pub const JOBS_LOOKED_AT_MAX: u32 = 10_000;
/// Jobs that were given up and are retried or forgotten in one transaction: small enough that sales
/// go on between them.
pub const JOBS_CHANGED_MAX: u32 = 200;
/// Jobs that are released in one transaction, for the same reason.
pub const JOBS_RELEASED_MAX: u32 = 200;
/// Jobs of each sort that have ended and go with one turn of their shop: more than a turn can add,
/// so that they do not pile up, and a millisecond or two.
pub const JOBS_TRIMMED_MAX: u32 = 2 * CLAIM_MAX;
/// Turns that a queue may be passed over by others before it goes first, whatever its priority:
/// with slots short, one in nine is still its own.
pub const QUEUE_PASSED_MAX: u32 = 8;
/// Tenants of which a queue remembers when they last had a turn: more than are ever at work at
/// once. Of one that is forgotten the next turn comes early.
pub const SERVED_MAX: usize = 16_384;
/// Kinds of job that have figures of their own; those beyond are counted together.
pub const STATS_KINDS_MAX: usize = 64;
/// Tenants that are looked into for one page of a list that goes through them all: few enough that
/// those at rest, which are opened for it, push out none that is at work.
pub const WALK_TENANTS_MAX: u32 = 50;
/// The length of an error that a job keeps, in characters.
pub const JOB_ERROR_CHARS_MAX: usize = 2_000;
/// Rows in one transaction of an import: small enough that sales go on between them.
pub const IMPORT_BATCH: usize = 200;
/// Bytes in one batch of an import, as the command line cuts them; one row is never near it.
pub const IMPORT_BATCH_BYTES: usize = 1 << 20;
/// The largest body that the operator's own commands may send, whatever the limit for clients: a
/// batch and its longest row.
pub const LOCAL_BODY_BYTES_MAX: u64 = 4 << 20;
/// Bytes of each request body that are outside `server.body_memory`: as much as its connection
/// buffers anyway. A sale, a cart and a checkout fit into it, so they are never refused for want of
/// memory. 4,096 connections hold at most 64 MiB so.
pub const BODY_BYTES_FREE: u64 = 16 << 10;
/// How much of a body beyond its limit is read and thrown away, so that whoever sends it hears why:
/// 16 MiB.
pub const REFUSED_BODY_BYTES_MAX: u64 = 16 << 20;
/// How long to wait for more of it, in milliseconds: who sends nothing now is waiting for the
/// answer.
pub const REFUSED_BODY_PAUSE_MS: u64 = 500;
/// The longest time in which a refused body is read and thrown away, in milliseconds: a client that
/// dribbles would keep its connection for ever otherwise.
pub const REFUSED_BODY_MS: u64 = 15_000;
/// How long the operator's own commands may take, whatever the limit for clients, in milliseconds:
/// a large file's migration.
pub const LOCAL_REQUEST_MS: u64 = 10 * 60 * 1000;
/// How long the audit queue rests after a turn of a shop that is alone in its row. Each of its
/// turns is a commit on the file that sales wait for, so one turn serves the sales of 20 ms instead
/// of one each. The length was chosen, not tuned.
pub const AUDIT_REST_MS: u64 = 20;
/// How old the scheduler's last beat may be before `/health` calls the queue stopped: it beats
/// every ten seconds.
pub const SCHEDULER_STALE_MS: i64 = 90_000;
/// How soon the run of retention may come round again: each looks into all files of the house.
pub const RETENTION_REST_MS: i64 = 60 * 60 * 1000;
/// How long a task rests after it failed.
pub const TASK_RETRY_MS: i64 = 5 * 60 * 1000;
/// How far ahead of the clock a task may be done: a day and the hour of a clock that was set back.
/// What lies further was done while the clock was ahead.
pub const TASK_AHEAD_MAX_MS: i64 = 26 * 60 * 60 * 1000;
/// By so much the clock may be set while the process runs and still be trusted: what time servers
/// correct at once.
pub const CLOCK_STEP_MAX_MS: i64 = 60_000;
/// So long a process may have been down for its clock to be trusted at its next start: a week.
pub const CLOCK_GAP_MAX_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// So long a house may be closed, or its clock be set ahead, for the clock to be trusted again
/// without a word once it has gone well for long enough: 60 days, longer than holidays and shorter
/// than anything that is kept by the year. After more of it somebody has to say that it was so.
pub const CLOCK_CLOSED_MAX_MS: i64 = 60 * 24 * 60 * 60 * 1000;
/// For how long a process has to see a clock go well that was doubted: a week, in which somebody
/// reads a wrong date on a receipt.
pub const CLOCK_STEADY_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// How often that is written down while it is doubted: each hour, so that a till that is turned off
/// every night comes to the week as well.
pub const CLOCK_STEADY_NOTED_MS: i64 = 60 * 60 * 1000;
/// How often it is written down that the clock is trusted: once a day, in the landlord's file.
pub const CLOCK_TRUST_NOTED_MS: i64 = 20 * 60 * 60 * 1000;
/// Rows that one transaction of retention deletes: a millisecond or two, between which sales go on.
pub const PRUNE_BATCH: u32 = 200;
/// Transactions of retention in one job: then it makes room for others in its queue, and goes on in
/// a job of its own.
pub const PRUNE_BATCHES_PER_JOB: u32 = 500;
/// Pages of a file that one transaction gives back: a quarter of a megabyte that is moved and cut
/// off.
pub const VACUUM_PAGES: u32 = 64;
/// Such transactions in one job, or in one run by hand: 16 megabytes; what is left goes with the
/// next one.
pub const VACUUM_STEPS: u32 = 64;
/// Free pages that a file keeps: a megabyte that it would soon take again.
pub const FREE_PAGES_KEPT: u32 = 256;
/// Free pages for which the night gives a shop a job although nothing is old: what a run before has
/// left to be given back.
pub const FREE_PAGES_WORTH: u32 = 2 * FREE_PAGES_KEPT;
/// Carts of callers without an API key that one transaction deletes, with their items: 500 rows or
/// so.
pub const ANONYMOUS_CARTS_PER_BATCH: u32 = 10;
/// Transactions with which one sweep of a shop deletes what callers without an API key left behind.
pub const KEYLESS_BATCHES_PER_SWEEP: u32 = 50;
/// How long a cart of a caller without an API key has to be untouched before it may be deleted to
/// make room for a new one: an hour.
pub const CART_IDLE_MS: i64 = 60 * 60 * 1000;
/// How long a cart is kept that nobody has touched and nobody has ordered: 90 days.
pub const CART_KEPT_MS: i64 = 90 * 24 * 60 * 60 * 1000;
/// How long a reservation is kept that is over: 30 days.
pub const RESERVATION_KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// A shop whose file has not changed since it was last checked is checked again after so long all
/// the same, because disks rot: a week.
pub const CHECK_REST_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// Findings of the nightly check that are kept in the landlord's file: the first say where to look.
pub const FINDINGS_KEPT: usize = 20;
