//! The one kind of request that the emulators are asked outside of AWS's API.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Asks a server on loopback, and gives the status code of its answer.
///
/// # Errors
/// Where there is no answer within the time, or none that is HTTP.
pub(super) async fn ask(method: &str, port: u16, path: &str, patience: Duration) -> io::Result<u16> {
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        // To its end: a server may only have done what it was asked once its answer is whole.
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        status(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its answer is not HTTP"))
    };
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", patience.as_secs()));
    tokio::time::timeout(patience, exchange).await.map_err(late)?
}

/// The status code of an answer: the second word of its first line.
fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|&byte| byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let code = line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    code.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::status;

    #[test]
    fn a_status_is_read_from_http_alone() {
        assert_eq!(status(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 503\r\n\r\n"), Some(503));
        assert_eq!(status(b"SSH-2.0-server\r\n"), None);
        assert_eq!(status(b""), None);
    }
}
