//! Mail to an SMTP server, or to a directory while none is configured.
//!
//! Sending is at least once. The caller gives each message a stable id: receivers detect a
//! repetition, and in the outbox it replaces its own file. Deliberately absent: HTML, attachments,
//! several recipients.
//!
//! One deadline covers the whole conversation with a server: with a limit per wait, a server that
//! drips a byte a second could hold the caller for as long as it likes. Only the system's name
//! lookup is outside of it, because it cannot be cancelled: nobody waits for it beyond the
//! deadline, and its thread ends when the system gives up.

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, SinglePart};
use lettre::transport::smtp::response::{Category, Detail};
use lettre::transport::smtp::{AsyncSmtpTransportBuilder, PoolConfig};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use crate::storage::data_dir::open_own;

/// The maximum wait for the server's answer to QUIT, which does not matter.
const GOODBYE: Duration = Duration::from_secs(1);
/// The maximum length of a message id, in characters.
const MAX_MESSAGE_ID_CHARS: usize = 128;
/// 9999-12-31T23:59:59.999Z, the last valid date of a mail.
const MAX_DATE_MS: u64 = 253_402_300_799_999;

/// One message to one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The bare address of the recipient.
    pub to: String,
    pub subject: String,
    /// The plain-text body.
    pub text: String,
    /// Letters, digits and `. _ + = -`, and at most one `@`; without it the sender's domain is
    /// added. The same for every attempt to send this message, and for no other message.
    pub message_id: String,
    /// The date of the message, in milliseconds since 1970 UTC; the same for every attempt.
    pub date_ms: i64,
}

/// The destination of mail.
pub enum Mailer {
    Smtp {
        /// The connection settings; each message has a connection of its own.
        server: Box<AsyncSmtpTransportBuilder>,
        /// The host and port, for errors.
        name: String,
        /// The time limit of one message.
        timeout: Duration,
        from: Mailbox,
    },
    /// Into a directory, one `.eml` file per message.
    Outbox {
        /// The directory; created with the first message.
        dir: PathBuf,
        from: Mailbox,
    },
}

/// The reason why no mailer can be created.
#[derive(Debug, thiserror::Error)]
pub enum MailConfigError {
    #[error("{from:?} is not a sender; write it like Shop <shop@example.org>")]
    From {
        from: String,
        source: lettre::address::AddressError,
    },
    /// An invalid URL. It is not shown, because it may contain a password.
    #[error("the URL of the mail server is not valid; write it like smtps://user:password@host")]
    Url(#[source] lettre::transport::smtp::Error),
}

/// The reason why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    #[error("{0:?} is not an e-mail address")]
    Recipient(String),
    /// A control character in a header line, which could inject another header.
    #[error("the {0} contains a control character")]
    ControlCharacter(&'static str),
    /// Characters other than those allowed, or too many.
    #[error("{0:?} is not a message id")]
    MessageId(String),
    /// The date is before 1970 or after 9999.
    #[error("{0} ms is not a valid date for mail")]
    Date(i64),
    #[error("the message cannot be built")]
    Build(#[source] lettre::error::Error),
    /// The server rejected the message or could not be reached.
    #[error("the mail server {server} did not accept the message")]
    Smtp {
        /// The host and port.
        server: String,
        /// The server's answer or the connection error.
        source: lettre::transport::smtp::Error,
    },
    /// The deadline passed.
    #[error(
        "the mail server {server} did not accept the message within {limit:?}; it may still \
         deliver it"
    )]
    TooSlow {
        /// The host and port.
        server: String,
        limit: Duration,
    },
    /// The runtime of a connection could not be created.
    #[error("the connection cannot be created")]
    Runtime(#[source] io::Error),
    /// The outbox cannot be written.
    #[error("cannot write {}", path.display())]
    Outbox { path: PathBuf, source: io::Error },
}

impl MailError {
    /// Whether a retry is pointless, because the message itself is at fault.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Recipient(_)
            | Self::ControlCharacter(_)
            | Self::MessageId(_)
            | Self::Date(_)
            | Self::Build(_) => true,
            Self::Smtp { source, .. } => {
                source.is_client() || (source.is_permanent() && !is_login_error(source))
            }
            Self::TooSlow { .. } | Self::Runtime(_) | Self::Outbox { .. } => false,
        }
    }
}

/// 530, 534, 535 and 538 are permanent errors of the login. The message is fine: it waits until the
/// operator corrects the password.
fn is_login_error(error: &lettre::transport::smtp::Error) -> bool {
    let details = [Detail::Zero, Detail::Four, Detail::Five, Detail::Eight];
    error.status().is_some_and(|code| {
        code.category == Category::Unspecified3 && details.contains(&code.detail)
    })
}

impl Mailer {
    /// A mailer that sends as `from`: to the server at `smtp_url`, or into `outbox_dir` when that
    /// is empty. `timeout` limits the sending of one message as a whole. Nothing is opened or
    /// connected yet.
    pub fn from_settings(
        smtp_url: &str,
        from: &str,
        timeout: Duration,
        outbox_dir: &Path,
    ) -> Result<Self, MailConfigError> {
        let from = from.parse().map_err(|source| MailConfigError::From {
            from: from.to_owned(),
            source,
        })?;
        if smtp_url.is_empty() {
            let dir = outbox_dir.to_owned();
            return Ok(Self::Outbox { dir, from });
        }
        let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(smtp_url)
            .map_err(MailConfigError::Url)?;
        let server = Box::new(
            server
                .timeout(Some(timeout))
                .pool_config(PoolConfig::new().min_idle(0).max_size(1)),
        );
        let name = name_of(smtp_url);
        Ok(Self::Smtp {
            server,
            name,
            timeout,
            from,
        })
    }

    /// Sends one message. Blocks until the server has accepted it or the file is on disk; with a
    /// server, at most for `left`. For blocking threads only. [`MailError::is_permanent`] tells
    /// whether to retry.
    pub fn send(&self, mail: &Mail, left: Duration) -> Result<(), MailError> {
        match self {
            Self::Smtp {
                server,
                name,
                timeout,
                from,
            } => send_smtp(server, name, build(from, mail)?, left.min(*timeout)),
            Self::Outbox { dir, from } => {
                let message = build(from, mail)?;
                let path = dir.join(format!("{}.eml", mail.message_id));
                write_whole(dir, &path, &message.formatted())
                    .map_err(|source| MailError::Outbox { path, source })
            }
        }
    }
}

/// The host and port of a URL that lettre has accepted, without the credentials before them. A
/// missing port is lettre's default.
fn name_of(smtp_url: &str) -> String {
    let (scheme, rest) = smtp_url.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if host.rsplit_once(':').is_some_and(|(_, text)| is_port(text)) {
        return host.to_owned();
    }
    let port = match scheme {
        "smtps" => 465,
        _ if rest[authority.len()..].contains("tls=") => 587,
        _ => 25,
    };
    format!("{}:{port}", host.trim_end_matches(':'))
}

/// Sends one message over its own connection; cancels at the deadline.
fn send_smtp(
    server: &AsyncSmtpTransportBuilder,
    name: &str,
    message: Message,
    limit: Duration,
) -> Result<(), MailError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(MailError::Runtime)?;
    let sent = runtime.block_on(async {
        let transport: AsyncSmtpTransport<Tokio1Executor> = server.clone().build();
        let sent = match tokio::time::timeout(limit, transport.send(message)).await {
            Ok(sent) => sent.map(drop).map_err(|source| {
                let server = name.to_owned();
                MailError::Smtp { server, source }
            }),
            Err(_) => Err(MailError::TooSlow {
                server: name.to_owned(),
                limit,
            }),
        };
        if sent.is_ok() {
            // The connection returns to the pool, which sends QUIT. The message is accepted
            // whatever the server answers to that.
            tokio::task::yield_now().await;
            let _ = tokio::time::timeout(GOODBYE, transport.shutdown()).await;
        }
        sent
    });
    // Does not wait for a name lookup that hangs.
    runtime.shutdown_background();
    sent
}

fn build(from: &Mailbox, mail: &Mail) -> Result<Message, MailError> {
    for (name, text) in [("recipient", &mail.to), ("subject", &mail.subject)] {
        if text.contains(char::is_control) {
            return Err(MailError::ControlCharacter(name));
        }
    }
    let to: Address = mail
        .to
        .parse()
        .map_err(|_| MailError::Recipient(mail.to.clone()))?;
    let date = u64::try_from(mail.date_ms)
        .ok()
        .filter(|date_ms| *date_ms <= MAX_DATE_MS)
        .map(|date_ms| UNIX_EPOCH + Duration::from_millis(date_ms))
        .ok_or(MailError::Date(mail.date_ms))?;
    // RFC 3834: prevents automatic replies.
    let automatic = HeaderValue::new(
        HeaderName::new_from_ascii_str("Auto-Submitted"),
        "auto-generated".to_owned(),
    );
    Message::builder()
        .from(from.clone())
        .to(to.into())
        .subject(mail.subject.as_str())
        .date(date)
        .message_id(Some(full_message_id(&mail.message_id, from)?))
        .raw_header(automatic)
        .singlepart(SinglePart::plain(mail.text.clone()))
        .map_err(MailError::Build)
}

/// The id as in the header. A valid id is also safe as a file name, and different ids are different
/// files.
fn full_message_id(id: &str, from: &Mailbox) -> Result<String, MailError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._+=-@".contains(c);
    let valid = id.len() <= MAX_MESSAGE_ID_CHARS
        && id.chars().all(allowed)
        && id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.ends_with(|c: char| c.is_ascii_alphanumeric());
    match id.bytes().filter(|byte| *byte == b'@').count() {
        0 if valid => Ok(format!("<{id}@{}>", from.email.domain())),
        1 if valid => Ok(format!("<{id}>")),
        _ => Err(MailError::MessageId(id.to_owned())),
    }
}

/// Writes a file atomically; it is on disk when this returns. Only the owner may read it: mail
/// contains names, addresses and login links.
fn write_whole(dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Two senders of one message must not share the temporary file.
    static UNFINISHED: AtomicU64 = AtomicU64::new(0);
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let unfinished = dir.join(format!(
        ".{}.tmp",
        UNFINISHED.fetch_add(1, Ordering::Relaxed)
    ));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = open_own(&mut options, &unfinished)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&unfinished, path));
    if let Err(error) = written {
        // The name is reused after the next start, so a failed removal does no harm.
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests;
