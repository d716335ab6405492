//! Arweave transactions, formats 1 and 2: what an assignment may name beside data items.
//!
//! *Not here:* transactions signed otherwise than by RSA, fees, blocks; whether a transaction was mined.
//!
//! **Invariant:** what [`Transaction::verify`] lets pass is what the owner signed, its data included if the data is there.
//!
//! # Source
//!
//! npm `arweave` 1.15.7: `transaction.js` (`getSignatureData`), `merkle.js` (`chunkData`, `generateLeaves`, `hashBranch`).

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::deep_hash::{ListHasher, deep_hash_list};
use crate::{Id, Tag, b64u, verify_rsa_pss};

/// Most bytes of a chunk of data.
const CHUNK_BYTES_MAX: usize = 256 << 10;

/// A last chunk below this size takes half of the chunk before it.
const CHUNK_BYTES_MIN: usize = 32 << 10;

/// Why something is no Arweave transaction, or not what its signature covers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// Not the JSON that an Arweave node gives for a transaction.
    #[error("not a transaction as an Arweave node writes it")]
    Json(#[source] serde_json::Error),
    /// A field is not base64url.
    #[error("field {field} is not base64url")]
    Base64 {
        /// Name of the field.
        field: &'static str,
        /// What the decoder says.
        #[source]
        source: b64u::DecodeError,
    },
    /// A format that is neither 1 nor 2.
    #[error("unknown transaction format {found}")]
    Format {
        /// The format.
        found: u8,
    },
    /// `id` is not the SHA-256 of the signature.
    #[error("the transaction says id {named}, its signature gives {computed}")]
    Id {
        /// What it says.
        named: String,
        /// SHA-256 of the signature.
        computed: Id,
    },
    /// No owner stands in it: it is signed by another scheme than RSA, which is not known here.
    #[error("no owner: a signature scheme other than RSA")]
    Scheme,
    /// The signature is not the owner's over these fields.
    #[error("wrong signature")]
    Signature,
    /// The signature of format 1 covers the data, and that is not there.
    #[error("the data is needed to check the signature, and is not there")]
    DataAbsent,
    /// The data has another size than was signed.
    #[error("the data has {found} bytes, {signed} were signed")]
    DataSize {
        /// Bytes there are.
        found: u64,
        /// `data_size`.
        signed: u64,
    },
    /// The data does not lead to the root that was signed.
    #[error("the data does not lead to the data_root that was signed")]
    DataRoot,
}

/// A transaction; `data` apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// 1 or 2.
    pub format: u8,
    /// The sender's anchor: a block, or the sender's transaction before.
    pub last_tx: Vec<u8>,
    /// Modulus of the sender's key.
    pub owner: Vec<u8>,
    /// Address of the recipient, or empty.
    pub target: Vec<u8>,
    /// Winston sent, in decimal.
    pub quantity: String,
    /// Winston paid, in decimal.
    pub reward: String,
    /// Names and values, in order.
    pub tags: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes of data.
    pub data_size: u64,
    /// Root of the data's chunks; empty without data, and in format 1.
    pub data_root: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

/// A transaction as `GET /tx/{id}` of an Arweave node writes it; fields we have no use for are passed over.
#[derive(Deserialize)]
struct Json {
    #[serde(default = "first_format")]
    format: u8,
    id: String,
    last_tx: String,
    owner: String,
    #[serde(default)]
    tags: Vec<JsonTag>,
    #[serde(default)]
    target: String,
    quantity: String,
    reward: String,
    #[serde(default)]
    data: String,
    #[serde(default)]
    data_size: Option<String>,
    #[serde(default)]
    data_root: String,
    signature: String,
}

#[derive(Deserialize)]
struct JsonTag {
    name: String,
    value: String,
}

fn first_format() -> u8 {
    1
}

impl Transaction {
    /// Reads the JSON of an Arweave node: the transaction, and its data unless that is empty there, as it is for format 2.
    ///
    /// # Errors
    /// Other JSON, or an id that is not the signature's.
    pub fn from_json(json: &[u8]) -> Result<(Transaction, Vec<u8>), TransactionError> {
        let json: Json = serde_json::from_slice(json).map_err(TransactionError::Json)?;
        let bytes = |field, text: &str| b64u::decode(text).map_err(|source| TransactionError::Base64 { field, source });
        let tag = |tag: &JsonTag| Ok((bytes("tags", &tag.name)?, bytes("tags", &tag.value)?));
        let data = bytes("data", &json.data)?;
        let transaction = Transaction {
            format: json.format,
            last_tx: bytes("last_tx", &json.last_tx)?,
            owner: bytes("owner", &json.owner)?,
            target: bytes("target", &json.target)?,
            quantity: json.quantity,
            reward: json.reward,
            tags: json.tags.iter().map(tag).collect::<Result<_, _>>()?,
            data_size: match json.data_size {
                Some(size) => size.parse().map_err(|error| TransactionError::Json(serde::de::Error::custom(error)))?,
                None => data.len() as u64,
            },
            data_root: bytes("data_root", &json.data_root)?,
            signature: bytes("signature", &json.signature)?,
        };
        let computed = transaction.id();
        if computed.to_string() != json.id {
            return Err(TransactionError::Id { named: json.id, computed });
        }
        Ok((transaction, data))
    }

    /// SHA-256 of the signature.
    pub fn id(&self) -> Id {
        Id::sha256(&self.signature)
    }

    /// The sender's address.
    pub fn owner_address(&self) -> String {
        Id::sha256(&self.owner).to_string()
    }

    /// The tags in order.
    pub fn tags(&self) -> impl Iterator<Item = Tag<'_>> {
        self.tags.iter().map(|(name, value)| Tag { name, value })
    }

    /// Checks the signature, and the data if it is given.
    ///
    /// # Errors
    /// The first thing that was not signed so.
    pub fn verify(&self, data: Option<&[u8]>) -> Result<(), TransactionError> {
        if self.owner.is_empty() {
            return Err(TransactionError::Scheme);
        }
        let signed = match self.format {
            1 => self.first_message(data.ok_or(TransactionError::DataAbsent)?),
            2 => self.second_message(),
            found => return Err(TransactionError::Format { found }),
        };
        if !verify_rsa_pss(&self.owner, &signed, &self.signature) {
            return Err(TransactionError::Signature);
        }
        let Some(data) = data.filter(|_| self.format == 2) else { return Ok(()) };
        let (found, signed) = (data.len() as u64, self.data_size);
        if found != signed {
            return Err(TransactionError::DataSize { found, signed });
        }
        let root = if data.is_empty() { Vec::new() } else { data_root(data).to_vec() };
        if root == self.data_root { Ok(()) } else { Err(TransactionError::DataRoot) }
    }

    fn first_message(&self, data: &[u8]) -> Vec<u8> {
        let mut parts: Vec<&[u8]> = vec![&self.owner, &self.target, data];
        parts.extend([self.quantity.as_bytes(), self.reward.as_bytes(), &self.last_tx]);
        parts.extend(self.tags.iter().flat_map(|(name, value)| [&name[..], value]));
        parts.concat()
    }

    fn second_message(&self) -> Vec<u8> {
        let mut tags = ListHasher::new(self.tags.len());
        for (name, value) in &self.tags {
            tags.push(deep_hash_list(&[name, value]));
        }
        let mut all = ListHasher::new(9);
        for part in
            [&b"2"[..], &self.owner, &self.target, self.quantity.as_bytes(), self.reward.as_bytes(), &self.last_tx]
        {
            all.push_blob(part);
        }
        all.push(tags.finish());
        all.push_blob(self.data_size.to_string().as_bytes());
        all.push_blob(&self.data_root);
        all.finish().to_vec()
    }
}

/// The root of the tree over the chunks of `data`, cut as `arweave` cuts them.
fn data_root(data: &[u8]) -> [u8; 32] {
    let mut nodes: Vec<([u8; 32], u64)> = Vec::new();
    let (mut rest, mut end) = (data, 0);
    loop {
        let last = rest.len() < CHUNK_BYTES_MAX;
        let (chunk, after) = rest.split_at(chunk_bytes(rest.len()));
        end += chunk.len() as u64;
        nodes.push((hash_all(&[&Sha256::digest(chunk), &note(end)]), end));
        rest = after;
        if last {
            break;
        }
    }
    while nodes.len() > 1 {
        nodes = nodes
            .chunks(2)
            .map(|pair| match pair {
                [(left, middle), (right, end)] => (hash_all(&[left, right, &note(*middle)]), *end),
                _ => pair[0],
            })
            .collect();
    }
    nodes[0].0
}

/// Size of the next chunk when so many bytes are left. After a full last chunk follows an empty one.
fn chunk_bytes(left: usize) -> usize {
    match left.checked_sub(CHUNK_BYTES_MAX) {
        None => left,
        Some(1..CHUNK_BYTES_MIN) => left.div_ceil(2),
        Some(_) => CHUNK_BYTES_MAX,
    }
}

fn note(offset: u64) -> [u8; 32] {
    let mut note = [0; 32];
    note[24..].copy_from_slice(&offset.to_be_bytes());
    note
}

/// The hash of the hashes of `parts`.
fn hash_all(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(Sha256::digest(part));
    }
    hasher.finalize().into()
}
