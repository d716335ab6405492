//! secp256k1 over an EIP-191 message, and Ethereum addresses.
//!
//! As `secp256k1-node` 5 over libsecp256k1 decides it: `r` and `s` in `1..n`, `s` not above `n/2`, the last byte of the
//! signature ignored; the key uncompressed (`04`) or hybrid (`06`, `07` by the parity of `y`).
//!
//! **Invariant:** a signature made here is the one ethers makes: RFC 6979 nonce, low `s`, `v` of 27 or 28.

use k256::ecdsa::signature::hazmat::PrehashVerifier as _;
use k256::ecdsa::{Signature, SigningKey, VerifyingKey};
use k256::elliptic_curve::scalar::IsHigh as _;
use sha3::{Digest as _, Keccak256};

use super::{Failure, hex};
use crate::deep_hash::DeepHash;

/// Checks one signature; `owner` and `signature` have 65 bytes.
pub(super) fn verify(owner: &[u8], hash: &DeepHash, signature: &[u8]) -> Result<(), Failure> {
    let key = public_key(owner).ok_or(Failure::Owner)?;
    let signature = Signature::from_slice(&signature[..64]).map_err(|_| Failure::Signature)?;
    if signature.s().is_high().into() {
        return Err(Failure::Signature);
    }
    key.verify_prehash(&eip191(hash), &signature).map_err(|_| Failure::Signature)
}

/// The point of an uncompressed or hybrid encoding.
fn public_key(owner: &[u8]) -> Option<VerifyingKey> {
    let mut sec1: [u8; 65] = owner.try_into().ok()?;
    let odd = sec1[64] & 1;
    if sec1[0] != 4 && sec1[0] != 6 + odd {
        return None;
    }
    sec1[0] = 4;
    VerifyingKey::from_sec1_bytes(&sec1).ok()
}

/// What a wallet signs when asked to sign these 48 bytes as a message.
fn eip191(hash: &DeepHash) -> [u8; 32] {
    Keccak256::new().chain_update("\x19Ethereum Signed Message:\n48").chain_update(hash).finalize().into()
}

/// The address of a key given as `x ‖ y`.
pub(super) fn address(key: &[u8]) -> [u8; 20] {
    let hash: [u8; 32] = Keccak256::digest(key).into();
    hash[12..].try_into().expect("32 - 12 bytes")
}

/// The EIP-55 text of the address of a key given as `x ‖ y`.
pub(crate) fn eip55_address(key: &[u8]) -> String {
    checksummed(&address(key))
}

/// The text of an address with EIP-55's capitals.
pub(super) fn checksummed(address: &[u8; 20]) -> String {
    let lower = hex(address);
    let check = hex(&Keccak256::digest(lower.as_bytes()));
    let digits = lower.chars().zip(check.chars());
    let digits = digits.map(|(digit, check)| if check >= '8' { digit.to_ascii_uppercase() } else { digit });
    "0x".chars().chain(digits).collect()
}

/// A secret key.
#[derive(Clone)]
pub(crate) struct EthereumKey(SigningKey);

impl EthereumKey {
    /// `None` for zero and for numbers not below the order of the group.
    pub(crate) fn new(secret: &[u8; 32]) -> Option<EthereumKey> {
        SigningKey::from_slice(secret).ok().map(EthereumKey)
    }

    /// The uncompressed public key.
    pub(crate) fn owner(&self) -> Vec<u8> {
        self.0.verifying_key().to_sec1_point(false).as_bytes().to_vec()
    }

    /// `r ‖ s ‖ v`.
    pub(crate) fn sign(&self, hash: &DeepHash) -> Vec<u8> {
        let (signature, recovery) = self.0.sign_prehash_recoverable(&eip191(hash));
        let mut out = signature.to_bytes().to_vec();
        out.push(27 + recovery.to_byte());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_the_capitals_of_eip_55() {
        // The examples of the EIP itself.
        for text in [
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
            "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
            "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
        ] {
            let mut address = [0; 20];
            for (byte, digits) in address.iter_mut().zip(text.as_bytes()[2..].chunks(2)) {
                *byte = u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
            }
            assert_eq!(checksummed(&address), text);
        }
    }
}
