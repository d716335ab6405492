//! Texts about the receipt log that are passed on by themselves: verifier keys, inclusion proofs, proofs of growth.
//!
//! Not here: the proofs themselves and the checkpoint that every text ends with (`log`).
//!
//! Invariant: one content, one text; reading accepts what is written and, where the specification lets others add to it, that.
//!
//! # Source
//! C2SP signed-note (verifier keys as in Go's `note` package), tlog-proof v1, tlog-witness (body of `add-checkpoint`).

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::Hash;
use crate::log::{check_key_name, key_id};

/// Most hashes a proof may have: the height of the largest tree.
const HASHES_MAX: usize = 63;

const PROOF: &str = "c2sp.org/tlog-proof@v1";

/// A text is not what it should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// No verifier key `<name>+<8 hex digits>+<base64>` of Ed25519.
    #[error("not a verifier key of Ed25519: {text:?}")]
    Key {
        /// The text.
        text: String,
    },
    /// Another line was due.
    #[error("line {line}: expected {expected}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What was due.
        expected: &'static str,
    },
}

/// The public half of a key that signs checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    /// Its name: by custom the origin of the log.
    pub name: String,
    /// The Ed25519 key.
    pub key: [u8; 32],
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u32::from_be_bytes(key_id(&self.name, &self.key));
        write!(f, "{}+{id:08x}+{}", self.name, STANDARD.encode([&[1], &self.key[..]].concat()))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let read = || {
            let (name, rest) = text.split_once('+')?;
            let (_, encoded) = rest.split_once('+')?;
            check_key_name(name).ok()?;
            let bytes = STANDARD.decode(encoded).ok()?;
            let key = Self { name: name.to_owned(), key: bytes.strip_prefix(&[1])?.try_into().ok()? };
            // The id too, and its spelling.
            (key.to_string() == text).then_some(key)
        };
        read().ok_or_else(|| NoteError::Key { text: text.to_owned() })
    }
}

/// Shows an entry to be in a log: all that is needed but the entry and the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionNote {
    /// The entry's place.
    pub index: u64,
    /// From the leaf's sibling to the root's child.
    pub proof: Vec<Hash>,
    /// The signed note of the log's head.
    pub checkpoint: String,
}

/// Shows a log to have grown from an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrowthNote {
    /// Entries of the earlier log.
    pub old_size: u64,
    /// RFC 6962's consistency proof.
    pub proof: Vec<Hash>,
    /// The signed note of the later log's head.
    pub checkpoint: String,
}

impl fmt::Display for InclusionNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{PROOF}\nindex {}", self.index)?;
        write_hashes(f, &self.proof, &self.checkpoint)
    }
}

impl FromStr for InclusionNote {
    type Err = NoteError;

    /// Extra data, which no one vouches for, is passed over.
    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut lines = Lines { rest: text, line: 0 };
        if lines.next() != Some(PROOF) {
            return Err(lines.expected(PROOF));
        }
        let mut line = lines.next();
        if line.is_some_and(|line| line.strip_prefix("extra ").is_some_and(|data| STANDARD.decode(data).is_ok())) {
            line = lines.next();
        }
        let index = number(line, "index ").ok_or(lines.expected("index <number>"))?;
        let proof = lines.hashes()?;
        Ok(Self { index, proof, checkpoint: lines.rest.to_owned() })
    }
}

impl fmt::Display for GrowthNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        write_hashes(f, &self.proof, &self.checkpoint)
    }
}

impl FromStr for GrowthNote {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut lines = Lines { rest: text, line: 0 };
        let old_size = number(lines.next(), "old ").ok_or(lines.expected("old <number>"))?;
        let proof = lines.hashes()?;
        Ok(Self { old_size, proof, checkpoint: lines.rest.to_owned() })
    }
}

fn write_hashes(f: &mut fmt::Formatter<'_>, hashes: &[Hash], checkpoint: &str) -> fmt::Result {
    for hash in hashes {
        writeln!(f, "{}", STANDARD.encode(hash))?;
    }
    write!(f, "\n{checkpoint}")
}

/// A decimal without leading zeros behind a word.
fn number(line: Option<&str>, word: &str) -> Option<u64> {
    let digits = line?.strip_prefix(word)?;
    digits.parse().ok().filter(|number: &u64| number.to_string() == digits)
}

/// The part of a text not read yet.
struct Lines<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a str> {
        self.line += 1;
        let (line, rest) = self.rest.split_once('\n')?;
        self.rest = rest;
        Some(line)
    }

    fn expected(&self, expected: &'static str) -> NoteError {
        NoteError::Line { line: self.line, expected }
    }

    /// Hashes up to an empty line.
    fn hashes(&mut self) -> Result<Vec<Hash>, NoteError> {
        let mut hashes = Vec::new();
        loop {
            match self.next() {
                Some("") => return Ok(hashes),
                Some(line) if hashes.len() < HASHES_MAX => {
                    let hash = STANDARD.decode(line).ok().and_then(|bytes| bytes.try_into().ok());
                    hashes.push(hash.ok_or(self.expected("a hash in base64"))?);
                }
                _ => return Err(self.expected("an empty line")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifier_keys_of_the_go_tools_are_read_and_written_alike() {
        for text in [
            "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        ] {
            let key: VerifierKey = text.parse().unwrap();
            assert_eq!(key.to_string(), text);
            for wrong in [
                text.replace('+', " "),
                text.replacen("+0", "+1", 1).replacen("+c7", "+c8", 1),
                text.replacen("+c74f20a3", "+C74F20A3", 1).replacen("+033de0ae", "+33de0ae", 1),
                text.replacen("+A", "+B", 1),
                format!("{text}\n"),
                text[1..].to_owned(),
            ] {
                assert!(wrong.parse::<VerifierKey>().is_err(), "accepted {wrong}");
            }
        }
    }

    const CHECKPOINT: &str = "example.com/log\n2\nAAAA\n\n— example.com/log AAAA\n";

    #[test]
    fn an_inclusion_proof_has_the_text_of_its_specification() {
        let note = InclusionNote { index: 73894, proof: vec![[7; 32], [8; 32]], checkpoint: CHECKPOINT.into() };
        let text = note.to_string();
        let hash = STANDARD.encode([7; 32]);
        assert!(text.starts_with(&format!("c2sp.org/tlog-proof@v1\nindex 73894\n{hash}\n")), "{text}");
        assert!(text.ends_with(&format!("\n\n{CHECKPOINT}")), "{text}");
        assert_eq!(text.parse(), Ok(note.clone()));
        assert_eq!(text.replace("\nindex", "\nextra YWJj\nindex").parse(), Ok(note));
        for (wrong, line) in [
            (text.replace("@v1", "@v2"), 1),
            (text.replace("index 7", "index 07"), 2),
            (text.replace("\nindex", "\nextra ?\nindex"), 2),
            (text.replace(&hash, &hash[1..]), 3),
            (text.replace("\n\nexample", "\nexample"), 5),
            (String::new(), 1),
        ] {
            let found = wrong.parse::<InclusionNote>();
            assert!(matches!(found, Err(NoteError::Line { line: at, .. }) if at == line), "{found:?} for {wrong}");
        }
        let empty = InclusionNote { index: 0, proof: Vec::new(), checkpoint: CHECKPOINT.into() };
        assert_eq!(empty.to_string().parse(), Ok(empty));
        let endless = text.replace(&hash, &vec![&hash[..]; 64].join("\n"));
        assert!(endless.parse::<InclusionNote>().is_err());
    }

    #[test]
    fn a_proof_of_growth_has_the_text_that_witnesses_take() {
        let note = GrowthNote { old_size: 20852014, proof: vec![[9; 32]], checkpoint: CHECKPOINT.into() };
        let text = note.to_string();
        assert_eq!(text, format!("old 20852014\n{}\n\n{CHECKPOINT}", STANDARD.encode([9; 32])));
        assert_eq!(text.parse(), Ok(note));
        assert!(text.replace("old 2", "old +2").parse::<GrowthNote>().is_err());
        assert!("old 2".parse::<GrowthNote>().is_err());
    }
}
