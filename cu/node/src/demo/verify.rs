//! Bundles verified side by side, by the library behind `replay verify`: no unit, no network, no cache of the units.

use std::path::{Path, PathBuf};

use ao_kernel::ArtifactCache;
use ao_replay::{Options, Report, Source, Verdict, verify};
use ao_wire::DataItem;
use rayon::prelude::*;

use super::progress::Progress;

/// What came of one bundle.
pub(crate) struct Verified {
    pub(crate) path: PathBuf,
    /// Messages that another process sent.
    pub(crate) hops: u64,
    /// What was found, or what is wrong with the bundle.
    pub(crate) outcome: Result<(Report, Verdict), String>,
}

impl Verified {
    /// Whether every recorded receipt is the computed one.
    pub(crate) fn matched(&self) -> bool {
        matches!(self.outcome, Ok((_, Verdict::Matched { .. })))
    }

    /// In a word or a line.
    pub(crate) fn verdict(&self) -> String {
        match &self.outcome {
            Ok((_, Verdict::Matched { .. })) => "matched".into(),
            Ok((_, Verdict::Diverged(at))) => format!("DIVERGED at nonce {}: {}", at.nonce, at.field),
            Ok((_, Verdict::Incomplete { .. })) => "INCOMPLETE".into(),
            Err(error) => format!("REFUSED: {error}"),
        }
    }
}

/// Verifies all, in their order; compiled modules are kept in `cache`.
pub(crate) fn verify_all(bundles: &[PathBuf], cache: &Path, progress: &Progress) -> Vec<Verified> {
    let options = Options { cache: Some(ArtifactCache::new(cache)), ..Options::default() };
    let one = |path: &PathBuf| verify_one(path, &options, progress);
    // The first compiles the module, which the others then find.
    let Some((first, others)) = bundles.split_first() else { return Vec::new() };
    std::iter::once(one(first)).chain(others.par_iter().map(one).collect::<Vec<_>>()).collect()
}

fn verify_one(path: &Path, options: &Options, progress: &Progress) -> Verified {
    let mut hops = 0;
    let verified = Source::open(path).map_err(ao_replay::ReplayError::from).and_then(|source| {
        verify(source, options, &mut |observed| {
            // A tick is shown with the entry after it.
            if observed.report.tick.is_none() {
                hops += u64::from(observed.logged.entry.message.as_deref().is_some_and(is_hop));
            }
            progress.step();
            Ok(())
        })
    });
    Verified { path: path.into(), hops, outcome: verified.map_err(|error| ao_http::chain(&error)) }
}

/// Whether a process sent it, as the messenger says in a tag.
fn is_hop(message: &[u8]) -> bool {
    DataItem::parse(message).is_ok_and(|item| item.tags().any(|tag| tag.name_str() == "From-Process"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_that_was_touched_does_not_match() {
        let folder = tempfile::tempdir().unwrap();
        let good = ao_tests::root().join("fixtures/bundles/guest-small.bundle");
        let mut bytes = std::fs::read(&good).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let touched = folder.path().join("touched.bundle");
        std::fs::write(&touched, &bytes).unwrap();
        let progress = Progress::new("verifying", "messages", 6).unwrap();
        let verified = verify_all(&[good, touched, folder.path().join("absent")], folder.path(), &progress);
        let matched: Vec<bool> = verified.iter().map(Verified::matched).collect();
        assert_eq!(matched, [true, false, false]);
        assert!(verified[2].verdict().starts_with("REFUSED: "), "{}", verified[2].verdict());
    }
}
