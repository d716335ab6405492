//! 32-byte ids and the newtypes that keep them apart.
//!
//! **Invariant:** text and bytes map one to one: 43 characters of base64url.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::b64u;

/// A 32-byte name: of an item (SHA-256 of its signature), of an Arweave wallet (SHA-256 of its key), or a link of a hash chain.
///
/// Ordered by its bytes. Written as 43 characters of base64url, in JSON too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub [u8; 32]);

impl Id {
    /// The SHA-256 of `bytes`.
    pub fn sha256(bytes: &[u8]) -> Id {
        Id(Sha256::digest(bytes).into())
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&b64u::encode(self.0))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not 43 characters of canonical base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is 43 characters of base64url, this text of {len} bytes is not")]
pub struct IdError {
    /// Length of the refused text in bytes.
    pub len: usize,
}

impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Id, IdError> {
        b64u::decode_32(text).map(Id).ok_or(IdError { len: text.len() })
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Id;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("43 characters of base64url")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Id, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

macro_rules! id_newtype {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Id);

        impl $name {
            /// The bare id.
            pub const fn id(self) -> Id {
                self.0
            }
        }

        impl From<Id> for $name {
            fn from(id: Id) -> Self {
                Self(id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                text.parse().map(Self)
            }
        }
    )*};
}

id_newtype! {
    /// The id of the item that spawned a process.
    ProcessId;
    /// The id of a message item (or of an Arweave transaction assigned as one).
    MessageId;
    /// The id of the scheduler's assignment item.
    AssignmentId;
    /// The id of the transaction or item that carries a module.
    ModuleId;
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "6oYAxVAnH8yKsZKpMgHSbRv7uVWey68PAqYuSXeZBbg";

    #[test]
    fn text_bytes_and_json_round_trip() {
        let id: Id = TEXT.parse().unwrap();
        assert_eq!(id.to_string(), TEXT);
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{TEXT}\""));
        let process: ProcessId = serde_json::from_str(&format!("\"{TEXT}\"")).unwrap();
        assert_eq!(process, ProcessId::from(id));
        assert_eq!(process.to_string(), TEXT);
    }

    #[test]
    fn wrong_lengths_alphabets_and_trailing_bits_are_refused() {
        for bad in ["", "abc", &TEXT[1..], &format!("{TEXT}="), &TEXT.replace('Y', "+")] {
            assert_eq!(bad.parse::<Id>(), Err(IdError { len: bad.len() }), "{bad}");
        }
        let trailing = format!("{}h", &TEXT[..42]);
        assert!(trailing.parse::<Id>().is_err());
        assert!(serde_json::from_str::<Id>("\"abc\"").is_err());
        assert!(serde_json::from_str::<Id>("7").is_err());
    }
}
