//! A list of WASI calls as a guest that makes them and answers with what each gave.
//!
//! A line is `label | call argument…`. Arguments: a number, with an `l` behind it if it has 64 bits; a text in quotes, which
//! is its address and its length; `$root`, the directory that is open from the beginning, and `#label`, the descriptor that
//! the call of that label gave; `out` or `out+N`, a place of the call's own; `write("a","b")`, vectors of these texts;
//! `read(3,4)`, vectors of these lengths one behind the other from `out+16` on.
//!
//! Not here: the hosts. Invariant: the guest makes the same calls everywhere; only the number of the root is told to it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Where the number of the root is kept.
const ROOT: u32 = 16;
/// Where error numbers go, 4 bytes a call.
const ERRNOS: u32 = 1024;
/// Where calls put what they give.
const OUTS: u32 = 4096;
/// Bytes of it for each call.
const OUT_BYTES: u32 = 256;
/// Where texts and vectors lie.
const DATA: u32 = 65536;
/// What `malloc` gives.
const HEAP: u32 = 131_072;
/// Where the answer is written.
const ANSWER: u32 = 196_608;
const PREFIX: &str = "{\"ok\":true,\"response\":{\"Output\":\"";
/// Where its end lies until then.
const SUFFIX_AT: u32 = DATA - 16;
const SUFFIX: &str = "\"}}";

/// Parameters of the calls, one letter each: `i` 32 bits, `l` 64 bits. All give an error number.
const SIGNATURES: [(&str, &str); 36] = [
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "ili"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("fd_advise", "illi"),
    ("fd_allocate", "ill"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "il"),
    ("fd_filestat_set_times", "illi"),
    ("fd_pread", "iiili"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_prestat_get", "ii"),
    ("fd_pwrite", "iiili"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiili"),
    ("fd_renumber", "ii"),
    ("fd_seek", "ilii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_open", "iiiiillii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("random_get", "ii"),
    ("sched_yield", ""),
];

/// The calls, and the guest that makes them.
pub struct Script {
    labels: Vec<String>,
    wat: String,
}

/// What one call gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its error number.
    pub errno: u32,
    /// What stands at its place afterwards.
    pub out: Vec<u8>,
}

#[derive(Default)]
struct Writer {
    labels: BTreeMap<String, u32>,
    data: Vec<u8>,
    calls: String,
}

impl Script {
    /// Reads lines of calls; empty ones are passed over.
    ///
    /// # Panics
    /// If one is no call.
    pub fn new(lines: &str) -> Self {
        let (mut writer, mut labels) = (Writer::default(), Vec::new());
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (label, call) = line.split_once('|').unwrap_or_else(|| panic!("{line}: no label"));
            let index = labels.len() as u32;
            writer.call(index, call.trim());
            labels.push(label.trim().to_owned());
            let before = writer.labels.insert(label.trim().to_owned(), index);
            assert!(before.is_none(), "{label}: twice");
        }
        assert!(OUTS + labels.len() as u32 * OUT_BYTES <= SUFFIX_AT && ERRNOS + labels.len() as u32 * 4 <= OUTS);
        let wat = writer.module(labels.len() as u32);
        Self { labels, wat }
    }

    /// The guest.
    ///
    /// # Panics
    /// If it is none.
    pub fn wasm(&self) -> Vec<u8> {
        wat::parse_str(&self.wat).unwrap_or_else(|error| panic!("{error}\n{}", self.wat))
    }

    /// What its answer says of each call, with the call's label.
    ///
    /// # Panics
    /// If it is not an answer of this guest.
    pub fn answers(&self, hex: &str) -> Vec<(&str, Answer)> {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits");
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(digit).collect();
        let (errnos, outs) = bytes.split_at(self.labels.len() * 4);
        let answers = errnos.chunks_exact(4).zip(outs.chunks_exact(OUT_BYTES as usize)).map(|(errno, out)| Answer {
            errno: u32::from_le_bytes(errno.try_into().expect("four bytes")),
            out: out.to_vec(),
        });
        self.labels.iter().map(String::as_str).zip(answers).collect()
    }
}

impl Writer {
    fn call(&mut self, index: u32, call: &str) {
        let (name, rest) = call.split_once(' ').unwrap_or((call, ""));
        let (_, signature) = SIGNATURES.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name}?"));
        let mut pushed = String::new();
        let mut count = 0;
        for token in tokens(rest) {
            count += self.argument(index, &token, &mut pushed);
        }
        assert_eq!(count, signature.len(), "{call}: arguments");
        let at = ERRNOS + 4 * index;
        let _ = writeln!(self.calls, "(i32.store (i32.const {at}) (call ${name} {pushed}))");
    }

    /// Writes an argument; how many values it is.
    fn argument(&mut self, index: u32, token: &str, pushed: &mut String) -> usize {
        let out = OUTS + OUT_BYTES * index;
        let values = if token == "$root" {
            vec![format!("(i32.load (i32.const {ROOT}))")]
        } else if let Some(label) = token.strip_prefix('#') {
            let of = self.labels.get(label).unwrap_or_else(|| panic!("{label}: not called before"));
            vec![format!("(i32.load (i32.const {}))", OUTS + OUT_BYTES * of)]
        } else if let Some(offset) = token.strip_prefix("out") {
            vec![constant(out + offset.strip_prefix('+').map_or(0, |text| text.parse().expect("a number")))]
        } else if let Some(text) = token.strip_prefix('"') {
            let text = text.strip_suffix('"').expect("a text ends with a quote");
            vec![constant(self.put(text.as_bytes())), constant(text.len() as u32)]
        } else if let Some(texts) = inner(token, "write(") {
            let vectors: Vec<(u32, u32)> = texts
                .split(',')
                .map(|text| text.trim_matches('"'))
                .map(|text| (self.put(text.as_bytes()), text.len() as u32))
                .collect();
            self.vectors(&vectors)
        } else if let Some(lengths) = inner(token, "read(") {
            let mut at = out + 16;
            let vectors: Vec<(u32, u32)> = lengths
                .split(',')
                .map(|len| len.parse().expect("a length"))
                .map(|len: u32| {
                    at += len;
                    (at - len, len)
                })
                .collect();
            self.vectors(&vectors)
        } else if let Some(long) = token.strip_suffix('l') {
            vec![format!("(i64.const {long})")]
        } else {
            vec![format!("(i32.const {token})")]
        };
        pushed.push_str(&values.join(" "));
        pushed.push(' ');
        values.len()
    }

    fn vectors(&mut self, vectors: &[(u32, u32)]) -> Vec<String> {
        let bytes: Vec<u8> =
            vectors.iter().flat_map(|(at, len)| [at.to_le_bytes(), len.to_le_bytes()]).flatten().collect();
        vec![constant(self.put(&bytes)), constant(vectors.len() as u32)]
    }

    /// Where these bytes lie.
    fn put(&mut self, bytes: &[u8]) -> u32 {
        self.data.resize(self.data.len().next_multiple_of(8), 0);
        let at = DATA + self.data.len() as u32;
        self.data.extend_from_slice(bytes);
        at
    }

    fn module(&self, calls: u32) -> String {
        let mut imports = String::new();
        for (name, signature) in SIGNATURES {
            let params: Vec<&str> = signature.chars().map(|it| if it == 'l' { "i64" } else { "i32" }).collect();
            let params = if params.is_empty() { String::new() } else { format!("(param {})", params.join(" ")) };
            let _ = writeln!(
                imports,
                "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} {params} (result i32)))"
            );
        }
        let data: String = self.data.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let prefix = PREFIX.replace('"', "\\22");
        let suffix: String = SUFFIX.bytes().chain([0]).map(|byte| format!("\\{byte:02x}")).collect();
        let hex_at = ANSWER + PREFIX.len() as u32;
        let outs = calls * OUT_BYTES;
        let suffix_len = SUFFIX.len() + 1;
        format!(
            r#"(module {imports} (memory (export "memory") 8)
  (data (i32.const {DATA}) "{data}") (data (i32.const {ANSWER}) "{prefix}") (data (i32.const {SUFFIX_AT}) "{suffix}")
  (global $heap (mut i32) (i32.const {HEAP}))
  (global $end (mut i32) (i32.const {hex_at}))
  (func (export "malloc") (param $len i32) (result i32)
    (global.get $heap) (global.set $heap (i32.add (global.get $heap) (i32.and (i32.add (local.get $len) (i32.const 15)) (i32.const -16)))))
  (func $digit (param $value i32)
    (i32.store8 (global.get $end) (i32.add (local.get $value) (select (i32.const 48) (i32.const 87) (i32.lt_u (local.get $value) (i32.const 10)))))
    (global.set $end (i32.add (global.get $end) (i32.const 1))))
  (func $hex (param $at i32) (param $len i32)
    (loop $next
      (call $digit (i32.shr_u (i32.load8_u (local.get $at)) (i32.const 4)))
      (call $digit (i32.and (i32.load8_u (local.get $at)) (i32.const 15)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (local.tee $len (i32.sub (local.get $len) (i32.const 1))))))
  (func (export "handle") (param $message i32) (param i32) (result i32)
    (i32.store (i32.const {ROOT}) (i32.sub (i32.load8_u (local.get $message)) (i32.const 48)))
    (global.set $end (i32.const {hex_at}))
    {calls_made}
    (call $hex (i32.const {ERRNOS}) (i32.const {errnos}))
    (call $hex (i32.const {OUTS}) (i32.const {outs}))
    (memory.copy (global.get $end) (i32.const {SUFFIX_AT}) (i32.const {suffix_len}))
    (i32.const {ANSWER})))"#,
            calls_made = self.calls,
            errnos = 4 * calls,
        )
    }
}

fn constant(value: u32) -> String {
    format!("(i32.const {value})")
}

fn inner<'t>(token: &'t str, head: &str) -> Option<&'t str> {
    token.strip_prefix(head)?.strip_suffix(')')
}

/// Words, where what stands in quotes is part of one.
fn tokens(text: &str) -> Vec<String> {
    let (mut tokens, mut quoted) = (vec![String::new()], false);
    for letter in text.chars() {
        quoted ^= letter == '"';
        if letter == ' ' && !quoted {
            tokens.push(String::new());
        } else if let Some(last) = tokens.last_mut() {
            last.push(letter);
        }
    }
    tokens.retain(|token| !token.is_empty());
    tokens
}
