//! The page of limits says what the code says.

use std::collections::BTreeMap;
use std::path::Path;

use ao_kernel::admission::AdmissionLimits;
use ao_kernel::profile::Profile;
use ao_wire::limits;

/// Names and defaults of the page's tables.
fn page() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../replay/LIMITS.md");
    let text = std::fs::read_to_string(path).expect("the page");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    rows.map(|(name, rest)| (name.to_owned(), rest.split(' ').next().unwrap_or_default().to_owned())).collect()
}

/// Names and values of what `Debug` prints of a structure over many lines; an inner structure's name goes before its fields'.
fn fields(debug: &str) -> BTreeMap<String, String> {
    let mut inner = String::new();
    let mut fields = BTreeMap::new();
    for line in debug.lines().map(|line| line.trim().trim_end_matches(',')) {
        match line.split_once(": ") {
            Some((name, value)) if value.ends_with('{') => inner = format!("{name}."),
            Some((name, value)) => _ = fields.insert(format!("{inner}{name}"), value.to_owned()),
            None => inner.clear(),
        }
    }
    fields
}

#[test]
fn the_page_of_limits_has_every_limit_with_its_default_and_no_other() {
    let profile = Profile::default().text();
    let rules = profile.lines().filter_map(|line| line.split_once(" = "));
    let is_limit = |name: &str| ["limits.", "json.", "stack.", "files.", "cron."].iter().any(|it| name.starts_with(it));
    let numbers =
        rules.filter(|(name, value)| (is_limit(name) || *name == "gas.slack") && value.parse::<u64>().is_ok());
    let mut limits: BTreeMap<String, String> = numbers.map(|(name, value)| (name.into(), value.into())).collect();
    limits.extend(fields(&format!("{:#?}", AdmissionLimits::default())));
    for (name, value) in [
        ("LOG_ITEM_BYTES_MAX", limits::LOG_ITEM_BYTES_MAX),
        ("LOG_TAG_BYTES_MAX", limits::LOG_TAG_BYTES_MAX),
        ("BUNDLE_ITEMS_MAX", limits::BUNDLE_ITEMS_MAX),
        ("NESTING_MAX", u64::from(limits::NESTING_MAX)),
    ] {
        limits.insert(name.into(), value.to_string());
    }
    assert!(limits.len() > 40, "{limits:?}");
    assert_eq!(page(), limits);
}
