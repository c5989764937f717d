//! `tillbox health`: requests `/health` of a daemon over HTTP, as a monitor would.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::HOST;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::client::runtime;
use super::failure::{Exit, Failure};
use super::output::{Table, green, red, text};
use super::{Global, Json};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// `tillbox health`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tillbox health
  tillbox health --url http://127.0.0.1:8080 --json

Exit code 0: ok. 3: degraded or unreachable.")]
pub struct Health {
    /// The daemon's URL; default: the address in the configuration
    #[arg(long, value_name = "U")]
    url: Option<Uri>,
    #[command(flatten)]
    output: Json,
}

impl Health {
    pub fn run(self, global: &Global) -> Result<Exit, Failure> {
        let authority = match &self.url {
            Some(url) => authority(url)?,
            None => reachable(global.config()?.server.listen).to_string(),
        };
        let answer = runtime()?.block_on(async {
            tokio::time::timeout(ANSWER_TIMEOUT, request_report(&authority)).await
        });
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let report = answer.unwrap_or_else(|error| {
            json!({"status": "unreachable",
            "url": format!("http://{authority}"), "error": error})
        });
        let is_ok = report["status"] == "ok";
        self.output.print(&report, || describe(&report, is_ok))?;
        Ok(if is_ok { Exit::Done } else { Exit::CheckFailed })
    }
}

fn describe(report: &Value, is_ok: bool) -> String {
    let status = text(&report["status"]);
    let head = if is_ok { green(&status) } else { red(&status) };
    if let Some(error) = report["error"].as_str() {
        return format!("{head}: {}: {error}\n", text(&report["url"]));
    }
    let mut table = Table::new(&["service", "state"]);
    for (name, state) in report["services"].as_object().into_iter().flatten() {
        table.row([name.clone(), text(state)]);
    }
    format!("{head}\n{}", table.render("no services were reported"))
}

fn authority(url: &Uri) -> Result<String, Failure> {
    let is_plain = url.scheme_str() == Some("http");
    match url.authority() {
        Some(authority) if is_plain => Ok(authority.to_string()),
        _ => Err(Failure::usage(
            format!("`{url}` is not a URL that starts with http://"),
            "use the daemon's own address, such as http://127.0.0.1:8080; only a proxy in front \
             of it has TLS",
        )),
    }
}

/// Replaces an unspecified listen address (0.0.0.0, ::) with the loopback address.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen {
        SocketAddr::V4(address) if address.ip().is_unspecified() => {
            SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))
        }
        SocketAddr::V6(address) if address.ip().is_unspecified() => {
            SocketAddr::from((Ipv6Addr::LOCALHOST, address.port()))
        }
        other => other,
    }
}

/// Requests the health report; a degraded report is `Ok` too. `Err` says why there is no report.
async fn request_report(authority: &str) -> Result<Value, String> {
    let uri: Uri = format!("http://{authority}")
        .parse()
        .map_err(|_| "invalid address".to_owned())?;
    let host = uri
        .host()
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .to_owned();
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80)))
        .await
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let request = Request::get("/health")
        .header(HOST, authority)
        .body(Empty::<Bytes>::new());
    let response = sender
        .send_request(request.map_err(|error| error.to_string())?)
        .await
        .map_err(|error| error.to_string())?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await;
    let bytes = body.map_err(|error| error.to_string())?.to_bytes();
    let report: Option<Value> = serde_json::from_slice(&bytes).ok();
    let is_report = |report: &Value| report["status"].is_string() && report["services"].is_object();
    report
        .filter(is_report)
        .ok_or_else(|| format!("the answer ({status}) is not a health report"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_loopback_for_unspecified_address() {
        assert_eq!(
            reachable("0.0.0.0:80".parse().unwrap()).to_string(),
            "127.0.0.1:80"
        );
        assert_eq!(
            reachable("[::]:80".parse().unwrap()).to_string(),
            "[::1]:80"
        );
        assert_eq!(
            reachable("10.0.0.1:80".parse().unwrap()).to_string(),
            "10.0.0.1:80"
        );
        assert!(authority(&"https://a.b".parse().unwrap()).is_err());
        assert!(authority(&"a.b".parse().unwrap()).is_err());
        assert_eq!(
            authority(&"http://a.b:1/x".parse().unwrap()).unwrap(),
            "a.b:1"
        );
    }
}
