//! RSA-PSS with SHA-256 and any salt length, over AWS-LC.
//!
//! The safe Rust bindings fix the salt at 32 bytes, but the Node clients sign with the longest that fits: 478 bytes for
//! 4096 bits. So this file calls the C library itself, and is the only one of the crate that may say `unsafe`.
//!
//! Verification takes the salt length out of the signature, as Node does. Signing builds the encoded message (RFC 8017
//! §9.1.1) here and leaves only the private-key operation to the library, because its PSS call draws the salt itself,
//! and a caller may want the same item twice.
//!
//! **Invariant:** every pointer handed to the library comes from a live Rust slice or an owned handle, with its length.
#![allow(unsafe_code)]

use std::ptr::{NonNull, null_mut};

use aws_lc_sys as sys;
use sha2::{Digest as _, Sha256};

use super::Failure;

/// 65537, the only public exponent of the Arweave world.
pub(crate) const EXPONENT: &[u8] = &[1, 0, 1];

/// Take the salt length from the signature.
const SALT_AUTO: std::os::raw::c_int = sys::RSA_PSS_SALTLEN_AUTO;

/// Keys a [`KeyCache`] holds: a log page has one scheduler and a few busy senders.
const CACHED_KEYS_MAX: usize = 8;

/// SHA-256 output in bytes.
const HASH_BYTES: usize = 32;

/// Checks an RSA-PSS signature (SHA-256, exponent 65537, any salt length) over `message`.
///
/// For keys that don't fit a type-1 item, such as the 2048-bit ones of old Arweave transactions. The modulus is
/// big-endian; the signature must be as long as the modulus is without leading zeros.
#[must_use]
pub fn verify_rsa_pss(modulus: &[u8], message: &[u8], signature: &[u8]) -> bool {
    PublicKey::new(modulus).is_some_and(|key| key.verify(message, signature))
}

/// The last few RSA keys in use, so that a run of items by one signer parses its key once.
#[derive(Default)]
pub(crate) struct KeyCache {
    /// Most recently used first.
    keys: Vec<(Box<[u8]>, PublicKey)>,
}

impl KeyCache {
    /// Checks `signature` by the key with this modulus over `message`.
    pub(crate) fn verify(&mut self, modulus: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Failure> {
        if let Some(at) = self.keys.iter().position(|(known, _)| **known == *modulus) {
            self.keys[..=at].rotate_right(1);
        } else {
            let key = PublicKey::new(modulus).ok_or(Failure::Owner)?;
            self.keys.truncate(CACHED_KEYS_MAX - 1);
            self.keys.insert(0, (modulus.into(), key));
        }
        if self.keys[0].1.verify(message, signature) { Ok(()) } else { Err(Failure::Signature) }
    }
}

/// A handle of the library's key object.
struct Handle(NonNull<sys::RSA>);

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the pointer came from an RSA constructor, which gave us its only reference.
        unsafe { sys::RSA_free(self.0.as_ptr()) }
    }
}

/// A number owned by the library.
struct Number(NonNull<sys::BIGNUM>);

impl Number {
    fn new(big_endian: &[u8]) -> Option<Number> {
        // SAFETY: pointer and length are of one live slice; a null result pointer asks for a new number.
        let number = unsafe { sys::BN_bin2bn(big_endian.as_ptr(), big_endian.len(), null_mut()) };
        NonNull::new(number).map(Number)
    }

    fn as_ptr(&self) -> *const sys::BIGNUM {
        self.0.as_ptr()
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `BN_bin2bn`, and the key constructors copy the numbers they are given.
        unsafe { sys::BN_free(self.0.as_ptr()) }
    }
}

/// A key to verify with.
struct PublicKey(Handle);

impl PublicKey {
    /// `None` if no RSA key can have this modulus.
    fn new(modulus: &[u8]) -> Option<PublicKey> {
        let (n, e) = (Number::new(modulus)?, Number::new(EXPONENT)?);
        // SAFETY: both numbers live until after the call, which copies them.
        let key = unsafe { sys::RSA_new_public_key(n.as_ptr(), e.as_ptr()) };
        NonNull::new(key).map(|key| PublicKey(Handle(key))).or_else(forget_errors)
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let digest = Sha256::digest(message);
        // SAFETY: the key is live; digest and signature are live slices passed with their lengths; `EVP_sha256` returns
        // a static table. The call only reads the key but for an internally locked cache of the Montgomery form.
        let valid = unsafe {
            let sha256 = sys::EVP_sha256();
            let (sig, sig_len) = (signature.as_ptr(), signature.len());
            sys::RSA_verify_pss_mgf1(
                self.0.0.as_ptr(),
                digest.as_ptr(),
                digest.len(),
                sha256,
                sha256,
                SALT_AUTO,
                sig,
                sig_len,
            )
        };
        valid == 1 || forget_errors::<()>().is_some()
    }
}

/// The numbers of a private key, big-endian, in the names of RFC 8017.
pub(crate) struct PrivateParts<'a> {
    /// Modulus.
    pub(crate) n: &'a [u8],
    /// Private exponent.
    pub(crate) d: &'a [u8],
    /// First prime.
    pub(crate) p: &'a [u8],
    /// Second prime.
    pub(crate) q: &'a [u8],
    /// `d mod (p - 1)`.
    pub(crate) dp: &'a [u8],
    /// `d mod (q - 1)`.
    pub(crate) dq: &'a [u8],
    /// `q⁻¹ mod p`.
    pub(crate) qi: &'a [u8],
}

/// A key to sign with.
pub(crate) struct PrivateKey {
    handle: Handle,
    modulus_bits: usize,
}

// SAFETY: the library allows concurrent use of one RSA object by functions that don't mutate it (`openssl/rsa.h`, head of
// file); after construction only `RSA_sign_raw` is called, which that header lists as non-mutating; and no thread owns it.
unsafe impl Send for PrivateKey {}
// SAFETY: as above.
unsafe impl Sync for PrivateKey {}

impl PrivateKey {
    /// `None` if the numbers are no consistent key; the library checks their relations.
    pub(crate) fn new(parts: &PrivateParts<'_>) -> Option<PrivateKey> {
        let number = Number::new;
        let (n, e, d) = (number(parts.n)?, number(EXPONENT)?, number(parts.d)?);
        let (p, q) = (number(parts.p)?, number(parts.q)?);
        let (dp, dq, qi) = (number(parts.dp)?, number(parts.dq)?, number(parts.qi)?);
        let [n_, e_, d_, p_, q_, dp_, dq_, qi_] = [&n, &e, &d, &p, &q, &dp, &dq, &qi].map(Number::as_ptr);
        // SAFETY: all numbers live until after the call, which copies them.
        let key = unsafe { sys::RSA_new_private_key(n_, e_, d_, p_, q_, dp_, dq_, qi_) };
        let handle = NonNull::new(key).map(Handle).or_else(forget_errors)?;
        let zeros = parts.n.iter().take_while(|&&byte| byte == 0).count();
        let first = parts.n.get(zeros)?;
        let modulus_bits = (parts.n.len() - zeros) * 8 - first.leading_zeros() as usize;
        Some(PrivateKey { handle, modulus_bits })
    }

    /// The longest salt that fits, in bytes: 478 for 4096 bits.
    pub(crate) fn salt_bytes_max(&self) -> usize {
        (self.modulus_bits - 1).div_ceil(8).saturating_sub(HASH_BYTES + 2)
    }

    /// Signs `message`. `None` if the salt is too long, or the library fails.
    pub(crate) fn sign(&self, message: &[u8], salt: &[u8]) -> Option<Vec<u8>> {
        if salt.len() > self.salt_bytes_max() {
            return None;
        }
        let encoded = encode_pss(message, salt, self.modulus_bits - 1);
        let mut block = vec![0; self.modulus_bits.div_ceil(8)];
        let pad = block.len() - encoded.len();
        block[pad..].copy_from_slice(&encoded);
        let mut out = vec![0; block.len()];
        let mut out_len = 0;
        // SAFETY: the key is live; input and output are live slices of the modulus' length, passed with it.
        let done = unsafe {
            let key = self.handle.0.as_ptr();
            let no_padding = sys::RSA_NO_PADDING;
            sys::RSA_sign_raw(
                key,
                &raw mut out_len,
                out.as_mut_ptr(),
                out.len(),
                block.as_ptr(),
                block.len(),
                no_padding,
            )
        };
        if done == 1 && out_len == out.len() { Some(out) } else { forget_errors() }
    }
}

/// EMSA-PSS-ENCODE of RFC 8017 §9.1.1 with SHA-256 and MGF1; the salt fits into `bits`.
fn encode_pss(message: &[u8], salt: &[u8], bits: usize) -> Vec<u8> {
    let hash = Sha256::new().chain_update([0; 8]).chain_update(Sha256::digest(message)).chain_update(salt).finalize();
    let len = bits.div_ceil(8);
    let mut out = vec![0; len];
    let masked = len - HASH_BYTES - 1;
    let salt_at = masked - salt.len();
    out[salt_at - 1] = 1;
    out[salt_at..masked].copy_from_slice(salt);
    for (counter, block) in out[..masked].chunks_mut(HASH_BYTES).enumerate() {
        let mask = Sha256::new().chain_update(hash).chain_update((counter as u32).to_be_bytes()).finalize();
        block.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    }
    out[0] &= 0xff >> (8 * len - bits);
    out[masked..len - 1].copy_from_slice(&hash);
    out[len - 1] = 0xbc;
    out
}

/// Empties the library's error queue of this thread: a refusal is an answer, not a state.
fn forget_errors<T>() -> Option<T> {
    // SAFETY: touches nothing but the calling thread's queue.
    unsafe { sys::ERR_clear_error() }
    None
}
