//! Calls to servers elsewhere: one request, one answer, every bound named by the caller. The only
//! user of ureq.
//!
//! What the port promises, whoever calls: a total deadline that also a server that drips cannot
//! stretch; an answer of bounded size, or none read; no redirect is followed; an address of this
//! house is refused unless the call says otherwise, and what is looked at is the address that is
//! then connected to, so that a name which changes its address in between gains nothing. Errors
//! never hold the URL: its path and query may be secrets.
//!
//! Deliberately absent: proxies from the environment, cookies, compression, kept connections (one
//! that was allowed to go anywhere would serve a call that is not), repetitions (who calls knows
//! whether it may).

use std::fmt;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use http::{Method, Request, Response, Uri};
use ureq::config::Config;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body, Error};

use super::reach::Reach;

/// The longest head of an answer.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// Calls servers elsewhere. Blocks: for blocking threads only, and never within a transaction.
pub trait Outbound: Send + Sync {
    /// Sends one request and reads of its answer what is wanted.
    ///
    /// # Errors
    /// [`CallError`]; an answer outside 200 to 299 is one.
    fn call(&self, call: &Call) -> Result<Answer, CallError>;
}

/// Where a call goes: a URL of http or https.
#[derive(Clone, PartialEq, Eq)]
pub struct Target(Uri);

/// A text that is no URL for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not a URL.
    #[error("is no URL; write https://host/path")]
    Malformed,
    /// A URL of another scheme.
    #[error("is neither http:// nor https://")]
    Scheme,
    /// A name or a password before the host.
    #[error(
        "has a name or a password before its host, which would be shown in logs elsewhere; leave \
         it out"
    )]
    UserInfo,
}

impl Target {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let uri: Uri = text.parse().map_err(|_| TargetError::Malformed)?;
        let authority = uri.authority().ok_or(TargetError::Malformed)?;
        match uri.scheme_str() {
            Some("http" | "https") if authority.as_str().contains('@') => {
                Err(TargetError::UserInfo)
            }
            Some("http" | "https") if authority.host().is_empty() => Err(TargetError::Malformed),
            Some("http" | "https") => Ok(Self(uri)),
            _ => Err(TargetError::Scheme),
        }
    }

    /// The URL whole, secrets included: for connecting, and for nothing else.
    #[must_use]
    pub fn expose(&self) -> String {
        self.0.to_string()
    }
}

/// Scheme, host and port: a path or a query may be the receiver's secret.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self
            .0
            .authority()
            .map_or("", |authority| authority.as_str());
        write!(
            f,
            "{}://{authority}",
            self.0.scheme_str().unwrap_or("https")
        )
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// What is wanted of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerPart {
    /// Its body, whole: up to so many bytes. One that is larger is as good as none.
    Body(u64),
    /// That it came. The head says all there is to know; whatever follows is not read, however long
    /// it is and however slowly it comes.
    Head,
}

/// How far one call may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// From the first look at the name to the last byte of the answer that is wanted.
    pub total: Duration,
    /// To find the address of the name; and again to connect, TLS included.
    pub connect: Duration,
    /// What is read of the answer.
    pub answer: AnswerPart,
    /// The addresses that it may go to.
    pub reach: Reach,
}

/// One request.
#[derive(Clone)]
pub struct Call {
    /// `GET` or `POST`.
    pub method: Method,
    /// Where it goes.
    pub target: Target,
    /// Further headers; their values may be secrets.
    pub headers: Vec<(&'static str, String)>,
    /// What is sent; empty for a `GET`.
    pub body: Vec<u8>,
    /// How far it may go.
    pub bounds: Bounds,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} ({} bytes)",
            self.method,
            self.target,
            self.body.len()
        )
    }
}

/// An answer, as far as it was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200 to 299.
    pub status: u16,
    /// What came; nothing, where only the head was wanted.
    pub body: Vec<u8>,
}

/// Why there is no good answer. No text holds anything of the URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// A deadline passed. What was sent may have arrived.
    #[error("no answer in time")]
    Timeout,
    /// The name stands for no address that may be called.
    #[error(
        "the address {0} is not of the public internet, and calls to others are not allowed here"
    )]
    RefusedAddress(IpAddr),
    /// The server answered that the thing is elsewhere.
    #[error(
        "the server answered {0}, a redirect, which is not followed; configure the address that it \
         leads to"
    )]
    Redirected(u16),
    /// The answer is larger than was allowed.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(u64),
    /// The server answered that it did not do it. The body is its reason, where one is wanted.
    #[error("the server answered {status}")]
    Status {
        /// Neither 2xx nor a redirect.
        status: u16,
        /// What came with it.
        body: Vec<u8>,
    },
    /// The request cannot be put together: a header has characters that it may not.
    #[error("the request cannot be put together")]
    Malformed,
    /// The name was not found, the connection failed or broke, the certificate does not hold, the
    /// answer is no HTTP.
    #[error("the call failed: {0}")]
    Transport(String),
}

/// The real port, over ureq. What it needs is made at the first call, so that who never calls pays
/// nothing.
#[derive(Default)]
pub struct Wire {
    public: OnceLock<Agent>,
    anywhere: OnceLock<Agent>,
}

impl Wire {
    /// An agent for each reach, because an agent's resolver is what looks at the addresses.
    fn agent(&self, reach: Reach) -> &Agent {
        let cell = match reach {
            Reach::Public => &self.public,
            Reach::Anywhere => &self.anywhere,
        };
        cell.get_or_init(|| {
            Agent::with_parts(
                settings(),
                DefaultConnector::default(),
                Guarded {
                    reach,
                    names: DefaultResolver::default(),
                },
            )
        })
    }
}

impl Outbound for Wire {
    fn call(&self, call: &Call) -> Result<Answer, CallError> {
        let request = request_of(call)?;
        let agent = self.agent(call.bounds.reach);
        let request = agent
            .configure_request(request)
            .timeout_global(Some(call.bounds.total))
            .timeout_resolve(Some(call.bounds.connect))
            .timeout_connect(Some(call.bounds.connect))
            .build();
        let answer = agent.run(request).map_err(error_of)?;
        read(answer, &call.bounds)
    }
}

fn settings() -> Config {
    Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_idle_connections(0)
        .max_response_header_size(HEAD_BYTES_MAX)
        .user_agent(concat!("tillbox/", env!("CARGO_PKG_VERSION")))
        .tls_config(TlsConfig::builder().root_certs(roots()).build())
        .build()
}

/// The system's, so that an operator's own authority counts; those of the web where the system has
/// none.
fn roots() -> RootCerts {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(error = %error, "a certificate of the system could not be read");
    }
    let certs: Vec<Certificate<'static>> = found
        .certs
        .iter()
        .map(|der| Certificate::from_der(der).to_owned())
        .collect();
    if certs.is_empty() {
        return RootCerts::WebPki;
    }
    RootCerts::new_with_certs(&certs)
}

fn request_of(call: &Call) -> Result<Request<Vec<u8>>, CallError> {
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(call.target.0.clone());
    for (name, value) in &call.headers {
        request = request.header(*name, value);
    }
    request
        .body(call.body.clone())
        .map_err(|_| CallError::Malformed)
}

fn read(answer: Response<Body>, bounds: &Bounds) -> Result<Answer, CallError> {
    let status = answer.status().as_u16();
    // 304 leads nowhere: it answers a condition that no call of ours states.
    if matches!(status, 300..=303 | 305..=399) {
        return Err(CallError::Redirected(status));
    }
    let body = match bounds.answer {
        // The connection is closed with it.
        AnswerPart::Head => Vec::new(),
        AnswerPart::Body(bytes) => read_body(answer.into_body(), bytes)?,
    };
    match status {
        200..=299 => Ok(Answer { status, body }),
        _ => Err(CallError::Status { status, body }),
    }
}

fn read_body(body: Body, bytes: u64) -> Result<Vec<u8>, CallError> {
    if body.content_length().is_some_and(|length| length > bytes) {
        return Err(CallError::TooLarge(bytes));
    }
    body.into_with_config()
        .limit(bytes)
        .read_to_vec()
        .map_err(error_of)
}

/// Texts of ureq that may hold a part of the URL or of the answer are left out.
fn error_of(error: Error) -> CallError {
    let said = match error {
        Error::Timeout(_) => return CallError::Timeout,
        Error::BodyExceedsLimit(bytes) => return CallError::TooLarge(bytes),
        Error::LargeResponseHeader(..) => return CallError::TooLarge(HEAD_BYTES_MAX as u64),
        Error::Other(source) => match source.downcast::<OutOfReach>() {
            Ok(refused) => return CallError::RefusedAddress(refused.0),
            Err(_) => "the connection failed".to_owned(),
        },
        Error::Io(source) if source.kind() == std::io::ErrorKind::TimedOut => {
            return CallError::Timeout;
        }
        Error::Io(source) => source.to_string(),
        Error::HostNotFound => "the host was not found".to_owned(),
        Error::Protocol(_) | Error::Http(_) => "the answer is no HTTP".to_owned(),
        Error::Rustls(source) => source.to_string(),
        Error::Tls(source) => source.to_owned(),
        _ => "the connection failed".to_owned(),
    };
    CallError::Transport(said)
}

/// An address that may not be called.
#[derive(Debug, thiserror::Error)]
#[error("{0} is out of reach")]
struct OutOfReach(IpAddr);

/// Finds addresses and leaves out those that may not be called. The connector has no addresses but
/// these, and names are not looked up again.
#[derive(Debug)]
struct Guarded<R> {
    reach: Reach,
    names: R,
}

impl<R: Resolver> Resolver for Guarded<R> {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.names.resolve(uri, config, timeout)?;
        let mut allowed = self.empty();
        for address in found
            .iter()
            .filter(|address| self.reach.allows(address.ip()))
        {
            allowed.push(*address);
        }
        match found.first() {
            Some(refused) if allowed.is_empty() => {
                Err(Error::Other(Box::new(OutOfReach(refused.ip()))))
            }
            _ => Ok(allowed),
        }
    }
}

#[cfg(test)]
mod tests;
