//! A minimal HTTP/1.1 client on a kept connection. It must be cheap, because it shares the machine
//! with the measured daemon.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("connects");
        stream.set_nodelay(true).expect("a socket");
        Self {
            stream,
            buffer: Vec::with_capacity(16 * 1024),
        }
    }

    /// Sends a serialized request. Returns the status and the body.
    pub async fn call(&mut self, request: &[u8]) -> (u16, Vec<u8>) {
        self.stream.write_all(request).await.expect("sends");
        self.buffer.clear();
        loop {
            if let Some((head, length)) = self.head()
                && self.buffer.len() >= head + length
            {
                let status = std::str::from_utf8(&self.buffer[9..12])
                    .expect("a status")
                    .parse()
                    .expect("a status");
                return (status, self.buffer[head..head + length].to_vec());
            }
            let read = self
                .stream
                .read_buf(&mut self.buffer)
                .await
                .expect("receives");
            assert!(read > 0, "the connection was closed");
        }
    }

    /// Returns the length of the head and of the body, once the head has arrived.
    fn head(&self) -> Option<(usize, usize)> {
        let head = self
            .buffer
            .windows(4)
            .position(|window| window == b"\r\n\r\n")?
            + 4;
        let text = std::str::from_utf8(&self.buffer[..head])
            .expect("a head is text")
            .to_ascii_lowercase();
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .map_or(0, |value| value.trim().parse().expect("a length"));
        Some((head, length))
    }
}

/// Serializes a request.
pub fn request(
    method: &str,
    path: &str,
    key: &str,
    idempotency_key: Option<&str>,
    body: &str,
) -> Vec<u8> {
    let idempotency = idempotency_key
        .map(|key| format!("Idempotency-Key: {key}\r\n"))
        .unwrap_or_default();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \
         {key}\r\nContent-Type: application/json\r\n{idempotency}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
