//! A client of one kept-alive connection, as cheap as can be.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// A connection. Every failure is a panic: a bench has nobody to tell.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
    line: String,
}

impl Client {
    /// Connects to `host:port`.
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the unit serves");
        stream.set_nodelay(true).expect("a connection");
        Self { stream: BufReader::new(stream), line: String::new() }
    }

    /// The body of a good answer.
    pub fn get(&mut self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"), &[])
    }

    /// As [`Client::get`], with a body of its own.
    pub fn post(&mut self, path: &str, body: &[u8]) -> String {
        let length = body.len();
        // The end of the log may be as old as the run.
        let head = "HTTP/1.1\r\nhost: x\r\nx-max-age: 600000";
        self.ask(&format!("POST {path} {head}\r\ncontent-length: {length}\r\n\r\n"), body)
    }

    /// The body of the answer, which must be a good one of known length.
    fn ask(&mut self, head: &str, body: &[u8]) -> String {
        self.stream.get_mut().write_all(&[head.as_bytes(), body].concat()).expect("the unit reads");
        let (mut length, mut good) = (0, false);
        loop {
            self.line.clear();
            self.stream.read_line(&mut self.line).expect("the unit answers");
            match self.line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().expect("a length");
                }
                None if self.line.starts_with("HTTP/") => good = self.line.starts_with("HTTP/1.1 20"),
                None if self.line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("the unit answers");
        let body = String::from_utf8(body).expect("JSON is text");
        assert!(good, "{head}{body}");
        body
    }
}
