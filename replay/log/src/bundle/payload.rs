//! Payload layouts: a record to bytes and back. One record has one encoding.

use ao_wire::{Id, ModuleId, ProcessId};

use super::error::PayloadFault;
use super::frame::Kind;
use super::record::{Manifest, ModuleMeta, ModuleTag, Record};
use crate::{ChainRule, Nonce};

/// A payload in the parts it is written and hashed in: small fields built here, large bytes borrowed.
pub(super) struct Encoded<'a> {
    fields: Vec<u8>,
    assignment: &'a [u8],
    has_message: &'static [u8],
    rest: &'a [u8],
}

impl Encoded<'_> {
    pub(super) fn parts(&self) -> [&[u8]; 4] {
        [&self.fields, self.assignment, self.has_message, self.rest]
    }
}

/// Encodes a record.
///
/// # Errors
/// A field longer than its length prefix can say.
pub(super) fn encode<'a>(record: &Record<'a>) -> Result<Encoded<'a>, PayloadFault> {
    let mut out = Encoded { fields: Vec::new(), assignment: &[], has_message: &[], rest: &[] };
    match record {
        Record::Manifest(manifest) => put_manifest(&mut out.fields, manifest)?,
        Record::Module(meta) => put_module(&mut out.fields, meta)?,
        Record::Process(bytes) | Record::ModuleChunk(bytes) | Record::CheckpointChunk(bytes) => {
            out.rest = bytes;
        }
        Record::Transcript { nonce, bytes } | Record::Receipt { nonce, bytes } => {
            out.fields.extend_from_slice(&nonce.0.to_le_bytes());
            out.rest = bytes;
        }
        Record::Checkpoint { nonce, body_bytes, meta } => {
            out.fields.extend_from_slice(&nonce.0.to_le_bytes());
            out.fields.extend_from_slice(&body_bytes.to_le_bytes());
            out.rest = meta;
        }
        Record::Entry { nonce, assignment, message } => {
            out.fields.extend_from_slice(&nonce.0.to_le_bytes());
            put_len32(&mut out.fields, assignment.len())?;
            out.assignment = assignment;
            out.has_message = if message.is_some() { &[1] } else { &[0] };
            out.rest = message.unwrap_or_default();
        }
    }
    Ok(out)
}

fn put_manifest(out: &mut Vec<u8>, manifest: &Manifest) -> Result<(), PayloadFault> {
    out.extend_from_slice(manifest.process.id().as_bytes());
    out.extend_from_slice(&manifest.first_nonce.0.to_le_bytes());
    out.push(manifest.chain_rule as u8);
    out.push(u8::try_from(manifest.profile.len()).map_err(|_| PayloadFault::FieldTooLong)?);
    out.extend_from_slice(manifest.profile.as_bytes());
    out.extend_from_slice(&manifest.extra);
    Ok(())
}

fn put_module(out: &mut Vec<u8>, meta: &ModuleMeta) -> Result<(), PayloadFault> {
    out.extend_from_slice(meta.id.id().as_bytes());
    out.extend_from_slice(&meta.wasm_blake3);
    out.extend_from_slice(&meta.wasm_bytes.to_le_bytes());
    out.push(u8::from(meta.embedded));
    put_text(out, &meta.owner)?;
    put_len32(out, meta.tags.len())?;
    for tag in &meta.tags {
        put_text(out, &tag.name)?;
        put_text(out, &tag.value)?;
    }
    out.extend_from_slice(&meta.item_prefix);
    Ok(())
}

fn put_text(out: &mut Vec<u8>, text: &str) -> Result<(), PayloadFault> {
    put_len32(out, text.len())?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn put_len32(out: &mut Vec<u8>, len: usize) -> Result<(), PayloadFault> {
    let len = u32::try_from(len).map_err(|_| PayloadFault::FieldTooLong)?;
    out.extend_from_slice(&len.to_le_bytes());
    Ok(())
}

/// Decodes the payload of any kind but the end record.
///
/// # Errors
/// What does not follow the layout to the last byte.
pub(super) fn decode(kind: Kind, payload: &[u8]) -> Result<Record<'_>, PayloadFault> {
    let mut fields = Fields(payload);
    Ok(match kind {
        Kind::Manifest => Record::Manifest(take_manifest(&mut fields)?),
        Kind::Module => Record::Module(take_module(&mut fields)?),
        Kind::Process => Record::Process(payload),
        Kind::ModuleChunk => Record::ModuleChunk(payload),
        Kind::CheckpointChunk => Record::CheckpointChunk(payload),
        Kind::Transcript => Record::Transcript { nonce: fields.nonce()?, bytes: fields.rest() },
        Kind::Receipt => Record::Receipt { nonce: fields.nonce()?, bytes: fields.rest() },
        Kind::Checkpoint => {
            Record::Checkpoint { nonce: fields.nonce()?, body_bytes: fields.u64()?, meta: fields.rest() }
        }
        Kind::Entry => {
            let nonce = fields.nonce()?;
            let assignment_bytes = fields.u32()?;
            let assignment = fields.take(assignment_bytes as usize)?;
            let message = match (fields.flag()?, fields.rest()) {
                (true, message) => Some(message),
                (false, []) => None,
                (false, _) => return Err(PayloadFault::Surplus),
            };
            Record::Entry { nonce, assignment, message }
        }
        Kind::End => return Err(PayloadFault::Surplus),
    })
}

fn take_manifest(fields: &mut Fields<'_>) -> Result<Manifest, PayloadFault> {
    Ok(Manifest {
        process: ProcessId::from(Id(fields.array()?)),
        first_nonce: fields.nonce()?,
        chain_rule: match fields.u8()? {
            1 => ChainRule::Legacy,
            2 => ChainRule::HyperBeam,
            _ => return Err(PayloadFault::ChainRule),
        },
        profile: {
            let bytes = fields.u8()?;
            text(fields.take(bytes.into())?)?
        },
        extra: fields.rest().to_vec(),
    })
}

fn take_module(fields: &mut Fields<'_>) -> Result<ModuleMeta, PayloadFault> {
    let id = ModuleId::from(Id(fields.array()?));
    let wasm_blake3 = fields.array()?;
    let wasm_bytes = fields.u64()?;
    let embedded = fields.flag()?;
    let owner = fields.text()?;
    let mut tags = Vec::new();
    for _ in 0..fields.u32()? {
        tags.push(ModuleTag { name: fields.text()?, value: fields.text()? });
    }
    let item_prefix = fields.rest().to_vec();
    Ok(ModuleMeta { id, owner, tags, wasm_bytes, wasm_blake3, embedded, item_prefix })
}

fn text(bytes: &[u8]) -> Result<String, PayloadFault> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| PayloadFault::NotUtf8)
}

/// The part of a payload not read yet.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], PayloadFault> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(PayloadFault::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PayloadFault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(PayloadFault::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, PayloadFault> {
        Ok(self.array::<1>()?[0])
    }

    fn u32(&mut self) -> Result<u32, PayloadFault> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, PayloadFault> {
        self.array().map(u64::from_le_bytes)
    }

    fn nonce(&mut self) -> Result<Nonce, PayloadFault> {
        self.u64().map(Nonce)
    }

    fn flag(&mut self) -> Result<bool, PayloadFault> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(PayloadFault::Flag),
        }
    }

    fn text(&mut self) -> Result<String, PayloadFault> {
        let bytes = self.u32()?;
        text(self.take(bytes as usize)?)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}
