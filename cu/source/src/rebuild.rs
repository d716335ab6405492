//! From the fields of an item, as JSON shows them, back to the bytes that were signed.
//!
//! JSON leaves out the signature type, shows data as text with damage where it was none, and forgets how the tags were
//! cut into blocks. So the fields give candidates; a candidate is the item if its signature is.
//!
//! *Not here:* where the fields come from.
//!
//! Invariant: bytes that [`choose`] lets through are the only item of that id and owner (`ao-wire`).

use ao_wire::{DataItem, Id, SignatureType, Tag, b64u, encode_tags, verify_all};
use serde::Deserialize;

/// The signer of an item.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct OwnerJson {
    #[serde(default)]
    pub(crate) address: String,
    #[serde(default)]
    pub(crate) key: String,
}

/// A tag.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TagJson {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// The fields of an item; of a scheduler's answer, and of a gateway's, which says `recipient` for `target`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ItemJson {
    #[serde(alias = "process_id")]
    pub(crate) id: String,
    pub(crate) owner: OwnerJson,
    pub(crate) tags: Vec<TagJson>,
    pub(crate) signature: String,
    #[serde(default)]
    pub(crate) anchor: Option<String>,
    #[serde(default, alias = "recipient")]
    pub(crate) target: Option<String>,
    #[serde(default)]
    pub(crate) data: Option<String>,
}

impl ItemJson {
    /// The value of the first tag of this name.
    pub(crate) fn tag(&self, name: &str) -> Option<&str> {
        self.tags.iter().find(|tag| tag.name == name).map(|tag| &tag.value[..])
    }

    /// The id that the signature gives the item; none if that isn't base64url.
    pub(crate) fn signed_id(&self) -> Option<Id> {
        Some(Id::sha256(&b64u::decode(&self.signature).ok()?))
    }

    /// Every item these fields may be, with its own data or with data had elsewhere.
    pub(crate) fn candidates(&self, data: Option<&[u8]>) -> Vec<Vec<u8>> {
        let (Ok(signature), Ok(owner)) = (b64u::decode(&self.signature), self.owner_key()) else { return Vec::new() };
        let data = data.unwrap_or_else(|| self.data.as_deref().unwrap_or_default().as_bytes());
        let tags = encode_tags(self.tags.iter().map(|tag| Tag::new(&tag.name, &tag.value)));
        let mut rest = Vec::with_capacity(82 + tags.len() + data.len());
        for field in [id_field(self.target.as_deref()), anchor_field(self.anchor.as_deref())] {
            rest.push(u8::from(field.is_some()));
            rest.extend_from_slice(field.as_ref().map_or(&[], |bytes| bytes));
        }
        let tag_bytes = if self.tags.is_empty() { &[] } else { &tags[..] };
        rest.extend_from_slice(&(self.tags.len() as u64).to_le_bytes());
        rest.extend_from_slice(&(tag_bytes.len() as u64).to_le_bytes());
        rest.extend_from_slice(tag_bytes);
        rest.extend_from_slice(data);
        let types = (1..=7).filter_map(SignatureType::from_code);
        let fitting = types.filter(|kind| (kind.signature_len(), kind.owner_len()) == (signature.len(), owner.len()));
        fitting.map(|kind| [&kind.code().to_le_bytes()[..], &signature, &owner, &rest].concat()).collect()
    }

    fn owner_key(&self) -> Result<Vec<u8>, b64u::DecodeError> {
        b64u::decode(&self.owner.key)
    }
}

fn id_field(text: Option<&str>) -> Option<[u8; 32]> {
    text?.parse::<Id>().ok().map(|id| id.0)
}

/// An anchor is shown as its 32 bytes if they are text, and as 43 characters of base64url by those who encode it.
fn anchor_field(text: Option<&str>) -> Option<[u8; 32]> {
    let text = text?;
    text.as_bytes().try_into().ok().or_else(|| id_field(Some(text)))
}

/// For each item the first candidate that has the id and a valid signature. All first candidates are checked in one parallel
/// call, then the next ones of items still without: usually the first is it.
pub(crate) fn choose(items: &[(Id, Vec<Vec<u8>>)]) -> Vec<Option<Vec<u8>>> {
    let mut chosen: Vec<Option<Vec<u8>>> = vec![None; items.len()];
    let most = items.iter().map(|(_, candidates)| candidates.len()).max().unwrap_or_default();
    for round in 0..most {
        let (mut places, mut to_check) = (Vec::new(), Vec::new());
        for (at, (id, candidates)) in items.iter().enumerate().filter(|(at, _)| chosen[*at].is_none()) {
            let item = candidates.get(round).and_then(|bytes| DataItem::parse(bytes).ok());
            if let Some(item) = item.filter(|item| item.id() == *id) {
                places.push(at);
                to_check.push(item);
            }
        }
        for (at, verdict) in places.into_iter().zip(verify_all(&to_check)) {
            if verdict.is_ok() {
                chosen[at] = Some(items[at].1[round].clone());
            }
        }
    }
    chosen
}

/// As [`choose`], for one item.
pub(crate) fn one(id: Id, candidates: Vec<Vec<u8>>) -> Option<Vec<u8>> {
    choose(&[(id, candidates)]).pop().flatten()
}

#[cfg(test)]
mod tests {
    use ao_wire::{ItemBuilder, Signer};

    use super::*;

    fn json(item: &[u8]) -> ItemJson {
        let item = DataItem::parse(item).unwrap();
        ItemJson {
            id: item.id().to_string(),
            owner: OwnerJson { address: item.owner_address(), key: b64u::encode(item.owner()) },
            tags: item
                .tags()
                .map(|tag| TagJson { name: tag.name_str().into_owned(), value: tag.value_str().into_owned() })
                .collect(),
            signature: b64u::encode(item.signature()),
            anchor: item.anchor().and_then(|anchor| String::from_utf8(anchor.to_vec()).ok()),
            target: item.target().map(|target| Id(*target).to_string()),
            data: Some(String::from_utf8_lossy(item.data()).into_owned()),
        }
    }

    fn item(anchor: Option<[u8; 32]>, tags: &[(&str, &str)], data: &[u8]) -> Vec<u8> {
        let tags = tags.iter().map(|(name, value)| Tag::new(name, value)).collect();
        ItemBuilder { target: Some([3; 32]), anchor, tags, data }.build(&Signer::ed25519(&[5; 32])).unwrap()
    }

    #[test]
    fn fields_give_back_the_signed_bytes() {
        for item in [
            item(None, &[], b""),
            item(Some([b'a'; 32]), &[("Action", "Eval"), ("Action", "")], "l\u{f6}ve".as_bytes()),
            item(None, &[("\u{1f980}", "crab")], b"1"),
        ] {
            let json = json(&item);
            let id = json.signed_id().unwrap();
            assert_eq!(one(id, json.candidates(None)), Some(item));
        }
    }

    #[test]
    fn binary_data_needs_the_raw_bytes_and_a_lost_anchor_is_noticed() {
        let binary = item(None, &[("A", "b")], &[0xff, 0xfe]);
        let fields = json(&binary);
        let id = fields.signed_id().unwrap();
        assert_eq!(one(id, fields.candidates(None)), None);
        assert_eq!(one(id, fields.candidates(Some(&[0xff, 0xfe]))), Some(binary));

        let anchored = item(Some([0xff; 32]), &[], b"x");
        let mut fields = json(&anchored);
        assert_eq!(fields.anchor, None);
        let id = fields.signed_id().unwrap();
        assert_eq!(one(id, fields.candidates(None)), None);
        fields.anchor = Some(b64u::encode([0xff; 32]));
        assert_eq!(one(id, fields.candidates(None)), Some(anchored));
    }

    #[test]
    fn another_id_is_not_chosen() {
        let item = item(None, &[], b"1");
        assert_eq!(one(Id([0; 32]), json(&item).candidates(None)), None);
    }
}
