//! The real daemon as a child process, and a small blocking HTTP/1.1 client that can be cut off at
//! any byte.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::Answer;

/// A listening daemon. Killed when dropped.
pub struct Daemon {
    child: Child,
    address: SocketAddr,
    data_dir: PathBuf,
    args: Vec<String>,
    output: Arc<Mutex<Vec<String>>>,
}

/// The rate limits that no test reaches, unless it tests them.
const LIFTED: [&str; 9] = [
    "CHECKOUT",
    "PAYMENT",
    "WEBHOOK",
    "LOGIN",
    "SALES",
    "STOREFRONT",
    "STOREFRONT_READ",
    "STOREFRONT_TENANT",
    "BAD_KEYS",
];

/// The program with its data directory, for any of its commands.
pub fn tillbox(data_dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tillbox"));
    command.arg("--data-dir").arg(data_dir).args(args);
    command
        .env("TILLBOX_LOGGING__FORMAT", "json")
        .env("NO_COLOR", "1")
        .env_remove("RUST_LOG");
    if args.first() == Some(&"serve") {
        // Tests send many requests from one address.
        for policy in LIFTED {
            command.env(format!("TILLBOX_RATE_LIMITS__{policy}"), "1000000/s");
        }
    }
    command
}

/// Restores the default rate limits of a `serve` command, except that of sales.
pub fn limit_rates(serve: &mut Command) {
    for policy in LIFTED.iter().filter(|policy| **policy != "SALES") {
        serve.env_remove(format!("TILLBOX_RATE_LIMITS__{policy}"));
    }
}

impl Daemon {
    /// Runs `tillbox serve` with further arguments, and returns when it listens.
    pub fn start(data_dir: &Path, args: &[&str]) -> Self {
        Self::start_with(data_dir, args, &[])
    }

    /// As [`start`](Self::start), with environment variables.
    pub fn start_with(data_dir: &Path, args: &[&str], variables: &[(&str, &Path)]) -> Self {
        let mut command = tillbox(data_dir, &["serve", "--listen", "127.0.0.1:0"]);
        command.args(args).envs(variables.iter().copied());
        let mut daemon =
            Self::launch(&mut command, data_dir).unwrap_or_else(|ended| panic!("{ended}"));
        daemon.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        daemon
    }

    /// Runs a command that becomes a daemon over `data_dir`, and returns when it listens. Returns
    /// its output if it ends before that.
    pub fn launch(command: &mut Command, data_dir: &Path) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the daemon starts");
        let (listening, listens) = channel();
        let output = Arc::new(Mutex::new(Vec::new()));
        let stdout = child.stdout.take().expect("a pipe");
        let stderr = child.stderr.take().expect("a pipe");
        follow(stdout, output.clone(), listening.clone());
        follow(stderr, output.clone(), listening);
        // Both senders end with the process, so this waits for the line or for the end.
        let Ok(address) = listens.recv() else {
            let status = child.wait().expect("the daemon has ended");
            return Err(format!(
                "the daemon ended with {status} before it listened:\n{}",
                joined(&output)
            ));
        };
        Ok(Self {
            child,
            address,
            data_dir: data_dir.to_owned(),
            args: Vec::new(),
            output,
        })
    }

    /// The exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("its own child")
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The admin socket.
    pub fn socket(&self) -> PathBuf {
        self.data_dir.join("admin.sock")
    }

    /// The output so far, of both streams.
    pub fn output(&self) -> String {
        joined(&self.output)
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it has ended");
    }

    /// Sends SIGTERM, and returns the exit status.
    pub fn terminate(&mut self) -> ExitStatus {
        self.ask_to_end();
        self.child.wait().expect("it has ended")
    }

    /// Sends SIGTERM.
    pub fn ask_to_end(&self) {
        let sent = Command::new("kill")
            .arg("-TERM")
            .arg(self.pid().to_string())
            .status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "SIGTERM could not be sent"
        );
    }

    /// Kills it and starts it again over the same directory.
    pub fn kill_and_restart(mut self) -> Self {
        self.kill();
        let args: Vec<String> = std::mem::take(&mut self.args);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Self::start(&self.data_dir, &args)
    }

    /// A new connection.
    pub fn client(&self) -> Client {
        Client::connect(self.address).expect("it listens")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // It may have ended by now.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn joined(output: &Mutex<Vec<String>>) -> String {
    output
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .join("\n")
}

/// Reads a stream to its end, so that the daemon never blocks on it, and reports the address that
/// it listens at.
fn follow(
    stream: impl Read + Send + 'static,
    output: Arc<Mutex<Vec<String>>>,
    listening: Sender<SocketAddr>,
) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if let Some(address) = address_in(&line) {
                // The address is logged once. Nobody receives a second one.
                let _ = listening.send(address);
            }
            output
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
        }
    });
}

/// The address in the log line with the message `listening`, in either log format.
fn address_in(line: &str) -> Option<SocketAddr> {
    if let Ok(json) = serde_json::from_str::<Value>(line) {
        return (json["message"] == "listening").then(|| json["address"].as_str()?.parse().ok())?;
    }
    let (_, fields) = line.split_once(" listening ")?;
    fields
        .split(' ')
        .find_map(|field| field.strip_prefix("address=")?.parse().ok())
}

/// A keep-alive connection.
pub struct Client {
    stream: BufReader<TcpStream>,
    key: Option<String>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self {
            stream: BufReader::new(stream),
            key: None,
        })
    }

    /// Sends this API key with every request.
    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Sends a `GET`.
    ///
    /// # Errors
    ///
    /// When the connection breaks before the answer is complete.
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.request("GET", path, &[], b"")
    }

    /// Sends a `POST` of JSON with an idempotency key.
    ///
    /// # Errors
    ///
    /// When the connection breaks before the answer is complete.
    pub fn post(&mut self, path: &str, key: &str, body: &Value) -> io::Result<Answer> {
        let headers = [
            ("idempotency-key", key),
            ("content-type", "application/json"),
        ];
        self.request("POST", path, &headers, body.to_string().as_bytes())
    }

    /// Sends any request.
    ///
    /// # Errors
    ///
    /// When the connection breaks before the answer is complete.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {}\r\n",
            body.len()
        );
        if let Some(key) = &self.key {
            head.push_str(&format!("authorization: Bearer {key}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.stream.get_mut().write_all(&bytes)?;
        self.answer()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|text| text.parse().ok());
        let status = status.ok_or_else(|| invalid("no status line"))?;
        let mut headers = HeaderMap::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid("no header"))?;
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid("no header name"))?;
            let value =
                HeaderValue::from_str(value.trim()).map_err(|_| invalid("no header value"))?;
            headers.append(name, value);
        }
        let length = headers
            .get("content-length")
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let length: usize = length.ok_or_else(|| invalid("no content-length"))?;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Answer {
            status,
            headers,
            body,
        })
    }
}
