//! The embedded gateway: what is taken was verified, is kept, and is found in the ways that clients look for it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use ao_tests::item;
use ao_wire::{DataItem, Id, Signer, bundle_bytes};
use serde_json::{Value, json};
use support::{Answer, Unit};

fn id(item: &[u8]) -> String {
    DataItem::parse(item).unwrap().id().to_string()
}

fn post(unit: &Unit, bytes: &[u8]) -> Answer {
    unit.try_ask("POST", "/tx", &[("content-type", "application/octet-stream")], bytes).unwrap()
}

fn ask(unit: &Unit, query: &str, variables: &Value) -> Value {
    unit.post("/graphql", &json!({ "query": query, "variables": variables }).to_string()).ok()
}

#[test]
fn what_was_uploaded_is_found_as_clients_look_for_it_also_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let unit = Unit::run("gateway", folder.path(), &[]);
    let (one, other) = (Signer::ed25519(&[1; 32]), Signer::ed25519(&[2; 32]));
    let module = item(
        &one,
        None,
        &[("Data-Protocol", "ao"), ("Type", "Module"), ("Content-Type", "application/wasm")],
        b"\0asm",
    );
    let place =
        [("Data-Protocol", "ao"), ("Type", "Scheduler-Location"), ("Url", "http://127.0.0.1:1"), ("Time-To-Live", "1")];
    let location = item(&one, None, &place, b"");
    let newer = item(&one, None, &[&place[..], &[("N", "2")]].concat(), b"");
    let nested = [item(&other, Some(Id([3; 32])), &[("Type", "Message")], &[0xff, 0]), item(&other, None, &[], b"b")];
    let bundle = bundle_bytes(&[&nested[0], &nested[1]]).unwrap();
    let outer = item(&one, None, &[("Bundle-Format", "binary"), ("Bundle-Version", "2.0.0")], &bundle);
    for item in [&module, &location, &newer, &outer] {
        assert_eq!(post(&unit, item).ok()["id"], id(item));
        assert_eq!(post(&unit, item).status, 200, "again");
    }
    let mut forged = nested[0].clone();
    *forged.last_mut().unwrap() ^= 1;
    let half_good = bundle_bytes(&[&item(&one, None, &[], b"good"), &forged]).unwrap();
    for (refused, error) in [(&forged, "the signature of"), (&half_good, "the signature of"), (&vec![1; 99], "neither")]
    {
        let answer = post(&unit, refused);
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.json()["error"].as_str().unwrap().contains(error), "{}", answer.text());
    }
    unit.kill();
    let unit = Unit::run("gateway", folder.path(), &[]);
    assert_eq!(unit.get(&format!("/raw/{}", id(&nested[0]))).body, [0xff, 0]);
    let shown = unit.get(&format!("/{}", id(&module)));
    assert_eq!((shown.header("type"), shown.header("content-type")), (Some("Module"), Some("application/wasm")));
    assert_eq!(unit.get(&format!("/raw/{}", Id([9; 32]))).status, 404);
    assert_eq!(unit.get(&format!("/tx/{}/status", id(&module))).ok()["number_of_confirmations"], 1);
    assert!(unit.get("/info").ok()["height"].as_u64().unwrap() > 1_580_000);
    // As scheduler-utils and the compute unit and aoconnect ask.
    let query = "query GetSchedulerLocation ($owner: String!) { transactions (owners: [$owner], sort: HEIGHT_DESC, first: 1, \
                 tags: [{ name: \"Data-Protocol\", values: [\"ao\"] }, { name: \"Type\", values: [\"Scheduler-Location\"] }]) \
                 { edges { node { id tags { name value } } } } }";
    let owner = DataItem::parse(&module).unwrap().owner_address();
    let answer = ask(&unit, query, &json!({ "owner": owner }));
    assert_eq!(answer["data"]["transactions"]["edges"][0]["node"]["id"], id(&newer), "{answer}");
    let query = "query GetProcesses($processIds: [ID!]!, $skipTags: Boolean!, $skipAnchor: Boolean!) { transactions(ids: $processIds) \
                 { edges { node { id signature anchor @skip(if: $skipAnchor) owner { address key } tags @skip(if: $skipTags) \
                 { name value } recipient parent { id } } } } }";
    let variables = json!({ "processIds": [id(&nested[0])], "skipTags": true, "skipAnchor": false });
    let answer = ask(&unit, query, &variables);
    let node = &answer["data"]["transactions"]["edges"][0]["node"];
    assert_eq!((&node["recipient"], &node["parent"]["id"]), (&json!(Id([3; 32])), &json!(id(&outer))), "{answer}");
    assert!(node.get("tags").is_none() && node["anchor"] == "", "{answer}");
    let mut expected: Vec<String> =
        [&module, &location, &newer, &outer, &nested[0], &nested[1]].map(|item| id(item)).into();
    expected.reverse();
    assert_eq!(everything(&unit), expected);
    let query = "query GetBlocks($min: Int) { blocks(height: { min: $min }, first: 2, sort: HEIGHT_ASC) { pageInfo { hasNextPage } edges { node { timestamp height } } } }";
    let blocks = ask(&unit, query, &json!({ "min": 1_580_000 }));
    assert_eq!(
        blocks["data"]["blocks"]["edges"][1]["node"],
        json!({ "timestamp": 1_735_689_720, "height": 1_580_001 })
    );
}

/// The ids of all items, asked for page by page.
fn everything(unit: &Unit) -> Vec<String> {
    let (mut after, mut seen) = (String::new(), Vec::new());
    loop {
        let query = "query($after: String) { transactions(first: 4, after: $after) { pageInfo { hasNextPage } edges { cursor node { id } } } }";
        let page = ask(unit, query, &json!({ "after": after }))["data"]["transactions"].take();
        seen.extend(
            page["edges"].as_array().unwrap().iter().map(|edge| edge["node"]["id"].as_str().unwrap().to_owned()),
        );
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
        page["edges"][3]["cursor"].as_str().unwrap().clone_into(&mut after);
    }
    seen
}
