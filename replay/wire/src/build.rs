//! Making and signing items.
//!
//! **Invariant:** what is built parses within [`Limits::ARBUNDLES`] and verifies, here and there.

use std::fmt;

use ed25519_dalek::Signer as _;
use serde::Deserialize;

use crate::item::{address, signed_hash};
use crate::signature::{EthereumKey, PrivateKey};
use crate::{DataItem, Jwk, JwkError, Limits, SignatureType, Tag, WireError, b64u, encode_tags};

/// Why an item could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The wallet can't sign items: it is no consistent key.
    #[error("the wallet holds no usable key")]
    Wallet(#[from] JwkError),
    /// The wallet's modulus has the wrong length for an item.
    #[error("a wallet that signs items has a modulus of 512 bytes, this one has {len}")]
    WalletLength {
        /// The modulus' length in bytes.
        len: usize,
    },
    /// The Ethereum secret is zero or not below the order of the group.
    #[error("the Ethereum secret is no number between 1 and the order of secp256k1")]
    EthereumSecret,
    /// The salt is longer than the key has room for.
    #[error("a salt of {len} bytes does not fit, {max} do")]
    SaltLength {
        /// The salt's length in bytes.
        len: usize,
        /// The most that fit.
        max: usize,
    },
    /// The crypto library refused to sign or to give random bytes.
    #[error("the crypto library failed")]
    Crypto,
    /// More or longer tags than other units accept.
    #[error("the item exceeds what arbundles accepts")]
    Limit(#[source] WireError),
}

/// The salt of an RSA-PSS signature. It is random by default, so the same item signed twice has two ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PssSalt {
    /// As many random bytes as fit, 478 for 4096 bits: what Node clients do.
    #[default]
    Max,
    /// 32 random bytes: what browser wallets do.
    Digest,
    /// These bytes. The signature, and so the item's id, follows from the content: for tests and reproducible logs.
    Bytes(Vec<u8>),
}

/// A key that signs items.
///
/// `Debug` shows the type, never the key.
pub struct Signer {
    owner: Vec<u8>,
    key: Key,
}

/// What tells kinds of wallets apart.
#[derive(Deserialize)]
struct SmallKey {
    kty: String,
    crv: Option<String>,
    d: Option<String>,
}

enum Key {
    Arweave { key: PrivateKey, salt: PssSalt },
    Ed25519(ed25519_dalek::SigningKey),
    Ethereum(EthereumKey),
}

impl Signer {
    /// Signs as type 1 with a 4096-bit wallet.
    ///
    /// # Determinism
    ///
    /// The salt is random, drawn by the crypto library from the operating system, unless [`Signer::with_salt`] gives one.
    ///
    /// # Errors
    ///
    /// The wallet's key has another length.
    pub fn arweave(jwk: &Jwk) -> Result<Signer, BuildError> {
        let owner = jwk.modulus().to_vec();
        if owner.len() != SignatureType::Arweave.owner_len() || owner[0] == 0 {
            return Err(BuildError::WalletLength { len: owner.len() });
        }
        Ok(Signer { owner, key: Key::Arweave { key: jwk.private_key()?, salt: PssSalt::Max } })
    }

    /// Signs with the key in a wallet file: an RSA key of 4096 bits, or for private networks, where speed counts more than
    /// what all the world accepts, `{"kty":"OKP","crv":"Ed25519","d":…}` or `{"kty":"EC","crv":"secp256k1","d":…}`.
    ///
    /// # Errors
    ///
    /// None of these.
    pub fn from_wallet(json: &[u8]) -> Result<Signer, BuildError> {
        let key: SmallKey =
            serde_json::from_slice(json).map_err(|source| BuildError::Wallet(JwkError::Json(source)))?;
        let secret = || {
            let secret = b64u::decode_32(key.d.as_deref().unwrap_or_default());
            secret.ok_or(BuildError::Wallet(JwkError::Unsupported { field: "d", expected: "32 bytes of base64url" }))
        };
        match (&key.kty[..], key.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => Ok(Signer::ed25519(&secret()?)),
            ("EC", Some("secp256k1")) => Signer::ethereum(&secret()?),
            _ => Signer::arweave(&Jwk::parse(json)?),
        }
    }

    /// Signs as type 2 with the key that grows from this seed.
    pub fn ed25519(seed: &[u8; 32]) -> Signer {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        Signer { owner: key.verifying_key().to_bytes().to_vec(), key: Key::Ed25519(key) }
    }

    /// Signs as type 3 with this secret number.
    ///
    /// # Errors
    ///
    /// Zero, or not below the order of the group.
    pub fn ethereum(secret: &[u8; 32]) -> Result<Signer, BuildError> {
        let key = EthereumKey::new(secret).ok_or(BuildError::EthereumSecret)?;
        Ok(Signer { owner: key.owner(), key: Key::Ethereum(key) })
    }

    /// With this salt for RSA; the other types have none and don't change.
    #[must_use]
    pub fn with_salt(mut self, new: PssSalt) -> Signer {
        if let Key::Arweave { salt, .. } = &mut self.key {
            *salt = new;
        }
        self
    }

    /// How it signs.
    pub fn signature_type(&self) -> SignatureType {
        match self.key {
            Key::Arweave { .. } => SignatureType::Arweave,
            Key::Ed25519(_) => SignatureType::Ed25519,
            Key::Ethereum(_) => SignatureType::Ethereum,
        }
    }

    /// The public key, as it stands in items.
    pub fn owner(&self) -> &[u8] {
        &self.owner
    }

    /// The address of whoever signs with it, as [`DataItem::owner_address`] writes it.
    pub fn address(&self) -> String {
        address(self.signature_type(), &self.owner)
    }

    /// The signature over the 48-byte hash of an item.
    fn sign(&self, hash: &[u8; 48]) -> Result<Vec<u8>, BuildError> {
        match &self.key {
            Key::Arweave { key, salt } => {
                let max = key.salt_bytes_max();
                let salt = match salt {
                    PssSalt::Max => random(max)?,
                    PssSalt::Digest => random(32)?,
                    PssSalt::Bytes(bytes) if bytes.len() > max => {
                        return Err(BuildError::SaltLength { len: bytes.len(), max });
                    }
                    PssSalt::Bytes(bytes) => bytes.clone(),
                };
                key.sign(hash, &salt).ok_or(BuildError::Crypto)
            }
            Key::Ed25519(key) => Ok(key.sign(hash).to_bytes().to_vec()),
            Key::Ethereum(key) => Ok(key.sign(hash)),
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("signature_type", &self.signature_type()).finish_non_exhaustive()
    }
}

/// The content of an item to be signed.
#[derive(Debug, Clone, Default)]
pub struct ItemBuilder<'a> {
    /// Whom it is for.
    pub target: Option<[u8; 32]>,
    /// 32 bytes of the signer's choice; ao's JSON shows them as a string.
    pub anchor: Option<[u8; 32]>,
    /// The tags, in order.
    pub tags: Vec<Tag<'a>>,
    /// The payload.
    pub data: &'a [u8],
}

impl ItemBuilder<'_> {
    /// The signed item.
    ///
    /// # Errors
    ///
    /// Tags beyond [`Limits::ARBUNDLES`], or a key that can't sign.
    pub fn build(&self, signer: &Signer) -> Result<Vec<u8>, BuildError> {
        let (signature_type, owner) = (signer.signature_type(), signer.owner());
        let raw_tags = encode_tags(self.tags.iter().copied());
        let hash = signed_hash(signature_type, owner, self.target.as_ref(), self.anchor.as_ref(), &raw_tags, self.data);
        let signature = signer.sign(&hash)?;

        let mut out = Vec::with_capacity(2 + signature.len() + owner.len() + 82 + raw_tags.len() + self.data.len());
        out.extend_from_slice(&signature_type.code().to_le_bytes());
        out.extend_from_slice(&signature);
        out.extend_from_slice(owner);
        for field in [&self.target, &self.anchor] {
            out.push(u8::from(field.is_some()));
            out.extend_from_slice(field.as_ref().map_or(&[], |bytes| bytes));
        }
        out.extend_from_slice(&(self.tags.len() as u64).to_le_bytes());
        out.extend_from_slice(&(raw_tags.len() as u64).to_le_bytes());
        out.extend_from_slice(&raw_tags);
        out.extend_from_slice(self.data);
        DataItem::parse_with(&out, &Limits::ARBUNDLES).map_err(BuildError::Limit)?;
        Ok(out)
    }
}

fn random(len: usize) -> Result<Vec<u8>, BuildError> {
    let mut bytes = vec![0; len];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| BuildError::Crypto)?;
    Ok(bytes)
}
