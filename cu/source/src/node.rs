//! A HyperBEAM node's `scheduler@1.0`, which shows a log as `application/aos-2`: the same fields as a legacy unit's under
//! other names, and by slot alone.
//!
//! What a legacy unit ordered is there with its signatures, and an item whose fields do not give its bytes is asked for at
//! the gateway. What the node itself ordered is signed as HTTP messages are, over fields that this JSON does not show: such
//! an assignment is refused like every other that cannot be verified.
//!
//! *Not here:* following a log and believing it (`fetcher`).
//!
//! # Source
//! `permaweb/HyperBEAM` `src/dev_scheduler.erl` `get_schedule/3`, `src/dev_scheduler_formats.erl`, `src/dev_json_iface.erl`
//! `message_to_json_struct/3` on `edge`.

use ao_log::Nonce;
use ao_wire::ProcessId;
use serde::Deserialize;

use crate::rebuild::{ItemJson, OwnerJson, TagJson};
use crate::scheduler::{NodeJson, PageInfoJson, PageJson, number};
use crate::{Http, SourceError};

#[derive(Deserialize)]
struct Aos2Page {
    page_info: PageInfoJson,
    edges: Vec<Aos2Edge>,
}

#[derive(Deserialize)]
struct Aos2Edge {
    node: Aos2Node,
}

#[derive(Deserialize)]
struct Aos2Node {
    message: Option<Aos2Item>,
    assignment: Aos2Item,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Aos2Item {
    id: String,
    tags: Vec<TagJson>,
    signature: String,
    /// The address.
    #[serde(default)]
    owner: String,
    /// Older nodes do not show it.
    #[serde(default)]
    public_key: String,
    #[serde(default)]
    anchor: Option<String>,
    #[serde(default)]
    target: Option<String>,
    /// None if it is no text.
    #[serde(default)]
    data: Option<String>,
}

impl From<Aos2Item> for ItemJson {
    fn from(item: Aos2Item) -> Self {
        let Aos2Item { id, tags, signature, owner, public_key, anchor, target, data } = item;
        Self { id, owner: OwnerJson { address: owner, key: public_key }, tags, signature, anchor, target, data }
    }
}

impl From<Aos2Edge> for NodeJson {
    fn from(Aos2Edge { node }: Aos2Edge) -> Self {
        Self { message: node.message.map(ItemJson::from), assignment: node.assignment.into() }
    }
}

/// The log from a nonce on, as far as the node shows it at once.
pub(crate) async fn page(
    http: &Http,
    url: &str,
    process: ProcessId,
    from: Nonce,
    limit: usize,
) -> Result<PageJson, SourceError> {
    let url =
        format!("{url}/~scheduler@1.0/schedule?target={process}&from={from}&limit={limit}&accept=application/aos-2");
    let Aos2Page { page_info, edges } = http.json(&url).await?;
    Ok(PageJson { page_info, nodes: edges.into_iter().map(NodeJson::from).collect() })
}

/// The newest slot.
pub(crate) async fn latest(http: &Http, url: &str, process: ProcessId) -> Result<Nonce, SourceError> {
    let slot = http.raw(&format!("{url}/{process}~process@1.0/slot/current")).await?;
    number("the current slot", String::from_utf8_lossy(&slot).trim()).map(Nonce)
}
