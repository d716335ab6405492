//! A result, for people.

use ao_wire::Id;
use serde_json::Value;

/// Characters of a message's data that are shown.
const DATA_MAX: usize = 60;

/// What a result says, line by line: output, error, what is sent, and what a module counted itself.
pub(super) fn result(result: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let output = &result["Output"];
    let data = output.get("data").unwrap_or(output);
    let data = data.get("output").unwrap_or(data);
    let data = text(data);
    if !data.is_empty() {
        lines.push(data);
    }
    if let Some(error) = result.get("Error").filter(|error| !error.is_null()) {
        lines.push(format!("error     {}", text(error)));
    }
    for message in list(result, "Messages") {
        lines.push(format!("message   to {} {}", text(&message["Target"]), tags_and_data(message)));
    }
    for spawn in list(result, "Spawns") {
        lines.push(format!("spawn     {}", tags_and_data(spawn)));
    }
    for assignment in list(result, "Assignments") {
        lines.push(format!("assign    {} to {}", text(&assignment["Message"]), assignment["Processes"]));
    }
    if let Some(gas) = result["GasUsed"].as_f64().filter(|gas| *gas > 0.0) {
        lines.push(format!("GasUsed   {gas}"));
    }
    lines
}

/// A receipt and the gas it names, as the unit shows them; `None` if it shows none.
pub(super) fn receipt(process: Id, shown: Option<&Value>) -> Option<String> {
    let shown = shown?;
    let (nonce, receipt) = (&shown["nonce"], &shown["receipt"]);
    let (hash, gas, outcome) = (receipt["hash"].as_str()?, &receipt["gas"], text(&receipt["outcome"]));
    Some(format!("gas       {gas}\nreceipt   {hash} ({outcome}, nonce {nonce} of {process})"))
}

fn list<'a>(result: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    result[name].as_array().into_iter().flatten()
}

fn tags_and_data(element: &Value) -> String {
    // What every message has says nothing.
    let dull = ["Data-Protocol", "Variant", "Type", "Reference"];
    let tags = list(element, "Tags").filter(|tag| !dull.iter().any(|name| tag["name"] == *name));
    let tags: Vec<String> = tags.map(|tag| format!("{}={}", text(&tag["name"]), text(&tag["value"]))).collect();
    let data = text(&element["Data"]);
    let shown: String = data.chars().take(DATA_MAX).collect();
    let more = if shown.len() < data.len() { "…" } else { "" };
    format!("[{}] {shown:?}{more}", tags.join(", "))
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
