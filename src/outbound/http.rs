//! Outbound HTTP calls: one request, one answer, with bounds that the caller states. The only user
//! of ureq.
//!
//! Guarantees of the port for every caller:
//! - A total deadline that a slowly dripping server cannot extend.
//! - A bounded answer, or none is read.
//! - No redirect is followed.
//! - Private addresses are refused unless the call allows them. The check applies to the address
//!   that is then connected to, so DNS rebinding gains nothing.
//! - Errors never contain the URL: its path and query may be secrets.
//!
//! Deliberately absent: proxies from the environment, cookies, compression, kept-alive connections
//! (one that was allowed to go anywhere would serve a restricted call), retries (the caller knows
//! whether they are safe).

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

/// The maximum size of an answer's head.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// Sends requests to other servers. Blocking: for blocking threads only, never within a
/// transaction.
pub trait Outbound: Send + Sync {
    /// Sends one request and reads the requested part of its answer.
    ///
    /// # Errors
    /// [`CallError`] also for an answer outside 200 to 299.
    fn call(&self, call: &Call) -> Result<Answer, CallError>;
}

/// The http or https URL of a call.
#[derive(Clone, PartialEq, Eq)]
pub struct Target(Uri);

/// The reason why a text is not a URL for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("is not a URL; write https://host/path")]
    Malformed,
    /// Another scheme than http and https.
    #[error("is neither http:// nor https://; use one of them")]
    Scheme,
    /// User information before the host.
    #[error(
        "has a user name or a password before its host, which other servers would log; remove it"
    )]
    UserInfo,
}

impl Target {
    /// Parses a URL.
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

    /// The whole URL including secrets: for connecting only.
    #[must_use]
    pub fn expose(&self) -> String {
        self.0.to_string()
    }
}

/// Scheme, host and port: the path or the query may be the receiver's secret.
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

/// The part of an answer that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerPart {
    /// The whole body, up to this number of bytes; a larger one is an error.
    Body(u64),
    /// The head only. It contains the result; the body is not read, however long it is and however
    /// slowly it arrives.
    Head,
}

/// Limits of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// From the first name lookup to the last byte that is read of the answer.
    pub total: Duration,
    /// To resolve the name; and again to connect, TLS included.
    pub connect: Duration,
    pub answer: AnswerPart,
    /// The addresses that the call may connect to.
    pub reach: Reach,
}

/// One request.
#[derive(Clone)]
pub struct Call {
    pub method: Method,
    pub target: Target,
    /// Additional headers; their values may be secrets.
    pub headers: Vec<(&'static str, String)>,
    /// The request body; empty for a `GET`.
    pub body: Vec<u8>,
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

/// The requested part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200 to 299.
    pub status: u16,
    /// Empty for [`AnswerPart::Head`].
    pub body: Vec<u8>,
}

/// The reason for a failed call. No text contains anything of the URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The deadline passed. The request may have arrived.
    #[error("no answer in time")]
    Timeout,
    /// The name resolves to no address that may be called.
    #[error(
        "the address {0} is not on the public internet, and calls to private addresses are not \
         allowed; use a public address or allow private ones"
    )]
    RefusedAddress(IpAddr),
    #[error(
        "the server answered {0}, a redirect, which is not followed; configure the target address \
         of the redirect"
    )]
    Redirected(u16),
    #[error("the answer is larger than {0} bytes")]
    TooLarge(u64),
    /// The server answered with an error. The body is its reason, when a body was requested.
    #[error("the server answered {status}")]
    Status {
        /// Neither 2xx nor a redirect.
        status: u16,
        body: Vec<u8>,
    },
    /// The request cannot be built: a header contains invalid characters.
    #[error("the request cannot be built; check its headers for invalid characters")]
    Malformed,
    /// The name was not found, the connection failed or broke, the certificate is invalid, or the
    /// answer is not HTTP.
    #[error("the call failed: {0}")]
    Transport(String),
}

/// The real port, over ureq. Agents are created at the first call, so that an unused port costs
/// nothing.
#[derive(Default)]
pub struct Wire {
    public: OnceLock<Agent>,
    anywhere: OnceLock<Agent>,
}

impl Wire {
    /// One agent per reach, because the agent's resolver checks the addresses.
    fn agent(&self, reach: Reach) -> &Agent {
        let cell = match reach {
            Reach::Public => &self.public,
            Reach::Anywhere => &self.anywhere,
        };
        cell.get_or_init(|| {
            Agent::with_parts(
                settings(),
                DefaultConnector::default(),
                GuardedResolver {
                    reach,
                    resolver: DefaultResolver::default(),
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

/// The system's root certificates, so that an operator's own authority is trusted; those of the web
/// if the system has none.
fn roots() -> RootCerts {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(error = %error, "system certificate not readable");
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
    // 304 is not a redirect: it answers a condition that our calls never state.
    if matches!(status, 300..=303 | 305..=399) {
        return Err(CallError::Redirected(status));
    }
    let body = match bounds.answer {
        // Dropping the body closes the connection.
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

/// Translates an error of ureq; drops texts that may contain parts of the URL or the answer.
fn error_of(error: Error) -> CallError {
    let reason = match error {
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
        Error::Protocol(_) | Error::Http(_) => "the answer is not HTTP".to_owned(),
        Error::Rustls(source) => source.to_string(),
        Error::Tls(source) => source.to_owned(),
        _ => "the connection failed".to_owned(),
    };
    CallError::Transport(reason)
}

/// An address that the call's reach does not allow.
#[derive(Debug, thiserror::Error)]
#[error("{0} is out of reach")]
struct OutOfReach(IpAddr);

/// Resolves names and drops addresses outside the reach. The connector uses only these addresses
/// and does not resolve again.
#[derive(Debug)]
struct GuardedResolver<R> {
    reach: Reach,
    resolver: R,
}

impl<R: Resolver> Resolver for GuardedResolver<R> {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.resolver.resolve(uri, config, timeout)?;
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
