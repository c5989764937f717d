//! Mail: to an SMTP server, or into a directory while there is none.
//!
//! Sending is at least once, so the caller gives each message a stable id: receivers can tell a
//! repetition, and in the outbox it replaces its own file. Deliberately absent: HTML, attachments,
//! several recipients.
//!
//! One deadline stands over the whole conversation with a server: a limit for each wait would let
//! one that drips a byte a second keep the caller for as long as it likes. Outside of it is only
//! the system's own look-up of the server's name, which cannot be broken off: nobody waits for it
//! beyond the deadline, and its thread ends when the system gives up.

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

/// The longest wait for a server's answer to the goodbye, which is of no consequence.
const GOODBYE: Duration = Duration::from_secs(1);
/// The longest message id, in characters.
const MAX_MESSAGE_ID_CHARS: usize = 128;
/// 9999-12-31T23:59:59.999Z, the last date that mail can be given.
const MAX_DATE_MS: u64 = 253_402_300_799_999;

/// One message to one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The bare address of the recipient.
    pub to: String,
    /// One line.
    pub subject: String,
    /// The body, plain text.
    pub text: String,
    /// Letters, digits and `. _ + = -`, and one `@` or none, in which case the sender's domain is
    /// added. The same for every attempt to send this message, and for no other message.
    pub message_id: String,
    /// The date of the message, in milliseconds since 1970 UTC; the same for every attempt.
    pub date_ms: i64,
}

/// Where mail goes.
pub enum Mailer {
    /// To a mail server.
    Smtp {
        /// What a connection is made with; each message has one of its own.
        server: Box<AsyncSmtpTransportBuilder>,
        /// Its host and port, for errors.
        name: String,
        /// The longest that sending one message may take.
        timeout: Duration,
        /// The sender.
        from: Mailbox,
    },
    /// Into a directory, one `.eml` file per message.
    Outbox {
        /// The directory; made when the first message is written.
        dir: PathBuf,
        /// The sender.
        from: Mailbox,
    },
}

/// Why there can be no mailer.
#[derive(Debug, thiserror::Error)]
pub enum MailConfigError {
    /// The sender is no address.
    #[error("{from:?} is no sender")]
    From {
        /// What was given.
        from: String,
        /// What the parser says.
        source: lettre::address::AddressError,
    },
    /// The URL of the server is none. It is not shown: it may hold a password.
    #[error("the URL of the mail server is not valid")]
    Url(#[source] lettre::transport::smtp::Error),
}

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The recipient is no address.
    #[error("{0:?} is no address")]
    Recipient(String),
    /// A control character in a line of the head, which could smuggle in another.
    #[error("the {0} contains a control character")]
    ControlCharacter(&'static str),
    /// The message id has characters other than those allowed, or too many of them.
    #[error("{0:?} is no message id")]
    MessageId(String),
    /// The date is before 1970 or after 9999.
    #[error("{0} ms is no date for mail")]
    Date(i64),
    /// The parts do not make a message.
    #[error("the message cannot be put together")]
    Build(#[source] lettre::error::Error),
    /// The server refused, or could not be reached.
    #[error("the mail server {server} did not take the message")]
    Smtp {
        /// Its host and port.
        server: String,
        /// What it said, or what the connection came to.
        source: lettre::transport::smtp::Error,
    },
    /// The deadline passed.
    #[error(
        "the mail server {server} did not take the message within {limit:?}; whether it will after \
         all is not known"
    )]
    TooSlow {
        /// Its host and port.
        server: String,
        /// What it had.
        limit: Duration,
    },
    /// What a connection is driven by could not be had of the system.
    #[error("no connection can be made")]
    Runtime(#[source] io::Error),
    /// The outbox cannot be written.
    #[error("cannot write {}", path.display())]
    Outbox {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl MailError {
    /// Whether trying again is in vain, because the message itself is at fault.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Recipient(_)
            | Self::ControlCharacter(_)
            | Self::MessageId(_)
            | Self::Date(_)
            | Self::Build(_) => true,
            Self::Smtp { source, .. } => {
                source.is_client() || (source.is_permanent() && !is_about_the_login(source))
            }
            Self::TooSlow { .. } | Self::Runtime(_) | Self::Outbox { .. } => false,
        }
    }
}

/// 530, 534, 535 and 538 are final answers to the login. The message is fine: it waits for the
/// operator to mend the password.
fn is_about_the_login(error: &lettre::transport::smtp::Error) -> bool {
    let details = [Detail::Zero, Detail::Four, Detail::Five, Detail::Eight];
    error.status().is_some_and(|code| {
        code.category == Category::Unspecified3 && details.contains(&code.detail)
    })
}

impl Mailer {
    /// A mailer that sends as `from`: to the server at `smtp_url`, or into `outbox_dir` when that
    /// is empty. `timeout` bounds the sending of one message as a whole. Nothing is opened or
    /// connected yet.
    ///
    /// # Errors
    /// See [`MailConfigError`].
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

    /// Sends one message; blocks until the server has taken it or the file is on disk, and for no
    /// longer than the caller has left, if it is a server. For threads that may block only.
    ///
    /// # Errors
    /// See [`MailError`]; [`MailError::is_permanent`] says whether to try again.
    pub fn send(&self, mail: &Mail, left: Duration) -> Result<(), MailError> {
        match self {
            Self::Smtp {
                server,
                name,
                timeout,
                from,
            } => converse(server, name, build(from, mail)?, left.min(*timeout)),
            Self::Outbox { dir, from } => {
                let message = build(from, mail)?;
                let path = dir.join(format!("{}.eml", mail.message_id));
                write_whole(dir, &path, &message.formatted())
                    .map_err(|source| MailError::Outbox { path, source })
            }
        }
    }
}

/// Host and port of a URL that lettre has taken, and nothing else of it: before them may stand a
/// password. A port that is left out is the one that lettre takes.
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

/// A connection of its own for one message, given up at the deadline wherever it stands.
fn converse(
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
            // The connection goes back to the pool, which says goodbye. The message is taken
            // whatever the server has to say to that.
            tokio::task::yield_now().await;
            let _ = tokio::time::timeout(GOODBYE, transport.shutdown()).await;
        }
        sent
    });
    // Not waited for: a look-up of a name that hangs.
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
    // RFC 3834: keeps holiday notices from answering.
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

/// The id as it is in the head. Whatever passes is also safe as a file name, and different ids are
/// different files.
fn full_message_id(id: &str, from: &Mailbox) -> Result<String, MailError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._+=-@".contains(c);
    let sound = id.len() <= MAX_MESSAGE_ID_CHARS
        && id.chars().all(allowed)
        && id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.ends_with(|c: char| c.is_ascii_alphanumeric());
    match id.bytes().filter(|byte| *byte == b'@').count() {
        0 if sound => Ok(format!("<{id}@{}>", from.email.domain())),
        1 if sound => Ok(format!("<{id}>")),
        _ => Err(MailError::MessageId(id.to_owned())),
    }
}

/// Writes a file so that it is there whole or not at all, and is on disk when this returns. Only
/// the owner may read it: mail holds names, addresses and links that log people in.
fn write_whole(dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Two senders of one message must not share the unfinished file.
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
        // What is left is overwritten after the next start, so failing to remove it does no harm.
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests;
