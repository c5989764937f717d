//! A caller without a key: one kept connection with arbitrary requests, behind a trusted proxy.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// The longest wait for an answer, far longer than all deadlines of the daemon.
const PATIENCE: Duration = Duration::from_secs(40);

/// A connection that is opened again when the daemon has closed it.
pub struct Stranger {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

/// The status and the body of an answer.
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Reply {
    /// Returns the string at a JSON pointer, or an empty one.
    pub fn text(&self, pointer: &str) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = body.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    }
}

/// Connects with read and write timeouts.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Makes the address of a client in a range for benchmarks (RFC 2544).
pub fn address_of(number: usize) -> String {
    format!("198.18.{}.{}", number / 250 % 250, number % 250 + 1)
}

/// Formats a request from the client `from` of the trusted proxy.
pub fn request(from: &str, line: &str, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{line} HTTP/1.1\r\nx-forwarded-for: {from}\r\ncontent-length: \
        {length}\r\n{fields}\r\n{body}"
    )
    .into_bytes()
}

impl Stranger {
    pub const fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connection: None,
        }
    }

    /// Sends bytes and reads the answer.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<Reply> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => BufReader::new(connect(self.address)?),
        };
        connection.get_mut().write_all(bytes)?;
        let (reply, is_last) = read_reply(&mut connection)?;
        if !is_last {
            self.connection = Some(connection);
        }
        Ok(reply)
    }

    /// Calls the storefront with a JSON body as `from`.
    pub fn call(&mut self, from: &str, line: &str, fields: &str, body: &str) -> io::Result<Reply> {
        let fields = format!("host: x\r\ncontent-type: application/json\r\n{fields}");
        self.send(&request(from, line, &fields, body))
    }
}

fn read_reply(connection: &mut BufReader<TcpStream>) -> io::Result<(Reply, bool)> {
    let (mut status, mut length, mut is_last) = (0, 0, false);
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = line.strip_prefix("http/1.1 ") {
            status = rest
                .get(..3)
                .and_then(|code| code.parse().ok())
                .unwrap_or(0);
        } else if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap_or(0);
        } else if line == "connection: close" {
            is_last = true;
        } else if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    Ok((Reply { status, body }, is_last))
}
