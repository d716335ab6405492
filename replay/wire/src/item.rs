//! ANS-104 data items.
//!
//! | bytes | field |
//! |---|---|
//! | 2 | signature type, little-endian like all numbers |
//! | by type | signature, then owner: [`SignatureType::signature_len`], [`SignatureType::owner_len`] |
//! | 1 or 33 | presence byte 0 or 1, target if 1 |
//! | 1 or 33 | presence byte 0 or 1, anchor if 1 |
//! | 8, 8 | tag count, tag bytes |
//! | tag bytes | tags, see [`crate::Tag`] |
//! | rest | data |
//!
//! **Invariant:** a [`DataItem`] exists only for bytes whose every header field was checked; its accessors can't fail.

use std::borrow::Cow;

use crate::deep_hash::{DeepHash, deep_hash_list};
use crate::reader::Reader;
use crate::signature::{self, KeyCache};
use crate::{Id, Limits, SignatureType, Tag, Tags, VerifyError, WireError, b64u};

/// A parsed item, borrowing its bytes. Parsing checks the layout; [`DataItem::verify`] checks the signature.
#[derive(Debug, Clone)]
pub struct DataItem<'a> {
    bytes: &'a [u8],
    signature_type: SignatureType,
    signature: &'a [u8],
    owner: &'a [u8],
    target: Option<&'a [u8; 32]>,
    anchor: Option<&'a [u8; 32]>,
    raw_tags: &'a [u8],
    tags: Tags<'a>,
    data: &'a [u8],
}

impl<'a> DataItem<'a> {
    /// Parses an item that is all of `bytes`, within [`Limits::LOG`].
    ///
    /// # Errors
    ///
    /// Bytes that are no item, with the offset of the first field that is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<DataItem<'a>, WireError> {
        DataItem::parse_with(bytes, &Limits::LOG)
    }

    /// Parses an item that is all of `bytes`, within `limits`.
    ///
    /// # Errors
    ///
    /// Bytes that are no item or exceed a limit, with the offset of the first field that is wrong.
    pub fn parse_with(bytes: &'a [u8], limits: &Limits) -> Result<DataItem<'a>, WireError> {
        DataItem::parse_at(bytes, 0, limits)
    }

    /// Parses an item whose first byte is number `offset` of the caller's input.
    pub(crate) fn parse_at(bytes: &'a [u8], offset: usize, limits: &Limits) -> Result<DataItem<'a>, WireError> {
        let (found, max) = (bytes.len() as u64, limits.item_bytes_max);
        if found > max {
            return Err(WireError::Limit { offset, field: "item bytes", found, max });
        }
        let mut reader = Reader::new(bytes, offset);
        let code = u16::from_le_bytes(*reader.array("signature type")?);
        let signature_type = SignatureType::from_code(code).ok_or(WireError::SignatureType { offset, found: code })?;
        let signature = reader.take(signature_type.signature_len() as u64, "signature")?;
        let owner = reader.take(signature_type.owner_len() as u64, "owner")?;
        let target = optional(&mut reader, "target")?;
        let anchor = optional(&mut reader, "anchor")?;
        let count_at = reader.offset();
        let count = reader.number::<8>("tag count")?;
        let tag_bytes = reader.bounded::<8>("tag bytes", limits.tag_bytes_max)?;
        let tags_at = reader.offset();
        let raw_tags = reader.take(tag_bytes, "tags")?;
        let tags = Tags::parse(raw_tags, tags_at, (count_at, count), limits)?;
        let data = reader.rest();
        Ok(DataItem { bytes, signature_type, signature, owner, target, anchor, raw_tags, tags, data })
    }

    /// The whole item.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How it is signed.
    pub fn signature_type(&self) -> SignatureType {
        self.signature_type
    }

    /// The signature.
    pub fn signature(&self) -> &'a [u8] {
        self.signature
    }

    /// The signer's public key; for [`SignatureType::TypedEthereum`] the text of an address.
    pub fn owner(&self) -> &'a [u8] {
        self.owner
    }

    /// Whom it is for: a process or a wallet.
    pub fn target(&self) -> Option<&'a [u8; 32]> {
        self.target
    }

    /// 32 bytes of the signer's choice.
    pub fn anchor(&self) -> Option<&'a [u8; 32]> {
        self.anchor
    }

    /// The tag section as transmitted and signed.
    pub fn raw_tags(&self) -> &'a [u8] {
        self.raw_tags
    }

    /// The tags in order, duplicates included.
    pub fn tags(&self) -> Tags<'a> {
        self.tags.clone()
    }

    /// The value of the first tag with exactly this name, malformed UTF-8 replaced.
    pub fn tag(&self, name: &str) -> Option<Cow<'a, str>> {
        self.tags().find(|tag| tag.name == name.as_bytes()).map(|tag: Tag<'a>| tag.value_str())
    }

    /// The payload.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// SHA-256 of the signature.
    pub fn id(&self) -> Id {
        Id::sha256(self.signature)
    }

    /// The signer's address as ao units write it.
    ///
    /// For type 3 (the only one with a 65-byte owner) the EIP-55 Ethereum address; for every other type base64url of the owner's SHA-256:
    /// an Arweave address for type 1, and what scheduler and compute unit show for the rest, type 7 included, whose
    /// owner already is the text of an address.
    ///
    /// # Source
    ///
    /// `permaweb/ao` `servers/su/src/domain/core/json.rs` and `addressFrom` in `servers/cu/src/domain/utils.js`.
    pub fn owner_address(&self) -> String {
        address(self.signature_type, self.owner)
    }

    /// What the signature covers: everything but itself, the presence bytes and the two tag numbers.
    ///
    /// # Source
    ///
    /// ANS-104 §1.3; `arbundles` 0.11.2 `src/ar-data-base.js`.
    pub fn deep_hash(&self) -> DeepHash {
        signed_hash(self.signature_type, self.owner, self.target, self.anchor, self.raw_tags, self.data)
    }

    /// Checks the signature against the owner.
    ///
    /// # Determinism
    ///
    /// Accepts what `arbundles` 0.11.2 accepts, but for [`VerifyError::NoSigner`]; see the crate's page.
    ///
    /// # Errors
    ///
    /// The owner is no key, or did not sign these bytes.
    pub fn verify(&self) -> Result<(), VerifyError> {
        self.verify_cached(&mut KeyCache::default())
    }

    pub(crate) fn verify_cached(&self, keys: &mut KeyCache) -> Result<(), VerifyError> {
        signature::verify(self.signature_type, self.owner, &self.deep_hash(), self.signature, keys)
    }
}

/// The address of an owner that signs in this way.
pub(crate) fn address(signature_type: SignatureType, owner: &[u8]) -> String {
    match signature_type {
        SignatureType::Ethereum => signature::eip55_address(&owner[1..]),
        _ => b64u::encode(Id::sha256(owner).0),
    }
}

/// The deep hash that a signature of this type covers.
pub(crate) fn signed_hash(
    signature_type: SignatureType,
    owner: &[u8],
    target: Option<&[u8; 32]>,
    anchor: Option<&[u8; 32]>,
    raw_tags: &[u8],
    data: &[u8],
) -> DeepHash {
    let code = [b'0' + signature_type.code() as u8];
    let target = target.map_or(&[][..], |bytes| bytes);
    let anchor = anchor.map_or(&[][..], |bytes| bytes);
    deep_hash_list(&[b"dataitem", b"1", &code, owner, target, anchor, raw_tags, data])
}

fn optional<'a>(reader: &mut Reader<'a>, field: &'static str) -> Result<Option<&'a [u8; 32]>, WireError> {
    let offset = reader.offset();
    match reader.array::<1>(field)? {
        [0] => Ok(None),
        [1] => reader.array::<32>(field).map(Some),
        &[found] => Err(WireError::PresenceByte { offset, field, found }),
    }
}
