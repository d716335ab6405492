//! Signature types and what each of them takes for signed.
//!
//! | code | type | signs the 48-byte deep hash `h` as |
//! |---|---|---|
//! | 1 | Arweave | RSA-PSS, SHA-256, exponent 65537, any salt length |
//! | 2 | Ed25519 | `h` |
//! | 3 | Ethereum | EIP-191 text of `h`, secp256k1 |
//! | 4 | Solana | Ed25519 over `h` in lower-case hex |
//! | 5 | injected Aptos | Ed25519 over `APTOS\nmessage: <hex of h>\nnonce: bundlr` |
//! | 6 | multi Aptos | Ed25519 over `h` by every key that the bitmap names |
//! | 7 | typed Ethereum | EIP-712, key recovered and compared with the owner's address |
//!
//! **Invariant:** who signed is decided by the owner bytes of the item alone.
//!
//! # Source
//!
//! `arbundles` 0.11.2 `src/signing/`, read together with the libraries it calls; each file names its own.

mod ed25519;
mod ethereum;
mod rsa;
mod typed_data;

use std::fmt::{self, Write as _};

pub use ed25519::verify_ed25519;
pub(crate) use ethereum::{EthereumKey, eip55_address};
pub use rsa::verify_rsa_pss;
pub(crate) use rsa::{KeyCache, PrivateKey, PrivateParts};

use crate::VerifyError;
use crate::deep_hash::DeepHash;

/// Keys and signature slots of a multi-signature.
const MULTI_KEYS: usize = 32;

/// How an item is signed. The code is part of the item and of what is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum SignatureType {
    /// RSA-PSS with a 4096-bit key.
    Arweave = 1,
    /// Ed25519.
    Ed25519 = 2,
    /// secp256k1 over an EIP-191 message, owner is the key.
    Ethereum = 3,
    /// Ed25519 over hex text.
    Solana = 4,
    /// Ed25519 over the text an Aptos wallet signs.
    InjectedAptos = 5,
    /// Up to 32 Ed25519 signatures.
    MultiAptos = 6,
    /// secp256k1 over EIP-712 typed data, owner is the text of an address.
    TypedEthereum = 7,
}

impl SignatureType {
    /// All types, by code.
    pub const ALL: [SignatureType; 7] = {
        use SignatureType::*;
        [Arweave, Ed25519, Ethereum, Solana, InjectedAptos, MultiAptos, TypedEthereum]
    };

    /// The type with this code.
    pub fn from_code(code: u16) -> Option<SignatureType> {
        SignatureType::ALL.into_iter().find(|known| known.code() == code)
    }

    /// Its code in an item.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// Length of its signatures in bytes.
    pub const fn signature_len(self) -> usize {
        match self {
            SignatureType::Arweave => 512,
            SignatureType::Ed25519 | SignatureType::Solana | SignatureType::InjectedAptos => 64,
            SignatureType::Ethereum | SignatureType::TypedEthereum => 65,
            SignatureType::MultiAptos => MULTI_KEYS * 64 + 4,
        }
    }

    /// Length of its owners in bytes.
    pub const fn owner_len(self) -> usize {
        match self {
            SignatureType::Arweave => 512,
            SignatureType::Ed25519 | SignatureType::Solana | SignatureType::InjectedAptos => 32,
            SignatureType::Ethereum => 65,
            SignatureType::MultiAptos => MULTI_KEYS * 32 + 1,
            SignatureType::TypedEthereum => 42,
        }
    }
}

impl fmt::Display for SignatureType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            SignatureType::Arweave => "arweave",
            SignatureType::Ed25519 => "ed25519",
            SignatureType::Ethereum => "ethereum",
            SignatureType::Solana => "solana",
            SignatureType::InjectedAptos => "injectedAptos",
            SignatureType::MultiAptos => "multiAptos",
            SignatureType::TypedEthereum => "typedEthereum",
        })
    }
}

/// Checks `signature` over `hash`; `owner` and `signature` have the lengths of `signature_type`.
pub(crate) fn verify(
    signature_type: SignatureType,
    owner: &[u8],
    hash: &DeepHash,
    signature: &[u8],
    keys: &mut KeyCache,
) -> Result<(), VerifyError> {
    let check = match signature_type {
        SignatureType::Arweave => keys.verify(owner, hash, signature),
        SignatureType::Ed25519 => ed25519::verify(owner, hash, signature),
        SignatureType::Ethereum => ethereum::verify(owner, hash, signature),
        SignatureType::Solana => ed25519::verify(owner, hex(hash).as_bytes(), signature),
        SignatureType::InjectedAptos => {
            let text = format!("APTOS\nmessage: {}\nnonce: bundlr", hex(hash));
            ed25519::verify(owner, text.as_bytes(), signature)
        }
        SignatureType::MultiAptos => return verify_multi(owner, hash, signature),
        SignatureType::TypedEthereum => typed_data::verify(owner, hash, signature),
    };
    check.map_err(|failure| match failure {
        Failure::Owner => VerifyError::Owner(signature_type),
        Failure::Signature => VerifyError::Signature(signature_type),
    })
}

/// Why a scheme refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The owner is no key.
    Owner,
    /// The signature is malformed or somebody else's.
    Signature,
}

/// All signatures whose bit is set must hold. The 33rd owner part, a threshold, is not looked at: nor is it by the reference.
///
/// The reference also takes an empty bitmap for signed. That would let anybody speak for the owner, with one id for
/// any number of messages, so it is refused here.
fn verify_multi(owner: &[u8], hash: &DeepHash, signature: &[u8]) -> Result<(), VerifyError> {
    let (slots, bitmap) = signature.split_at(MULTI_KEYS * 64);
    let named = |index: &usize| bitmap[index / 8] & (128 >> (index % 8)) != 0;
    let mut signers = (0..MULTI_KEYS).filter(named).peekable();
    if signers.peek().is_none() {
        return Err(VerifyError::NoSigner);
    }
    for index in signers {
        let (key, slot) = (&owner[index * 32..][..32], &slots[index * 64..][..64]);
        ed25519::verify(key, hash, slot).map_err(|failure| match failure {
            Failure::Owner => VerifyError::Owner(SignatureType::MultiAptos),
            Failure::Signature => VerifyError::Signature(SignatureType::MultiAptos),
        })?;
    }
    Ok(())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String never fails");
        text
    })
}
