//! Folders written and read back; every way a folder can be wrong names the file.

use ao_wire::bundle_bytes;

use super::*;
use crate::testlog::{self, TestLog, item, text_tags};
use crate::{ChainRule, EntryError, FolderError, LogVerifier, VerifyOptions};

fn module(item_prefix: Vec<u8>, id: ModuleId, owner: String) -> Module {
    let tags = vec![ModuleTag { name: "Module-Format".to_owned(), value: "wasm32-unknown-emscripten4".to_owned() }];
    Module::new(ModuleJson { id, owner, tags }, b"\0asm".to_vec(), item_prefix)
}

fn write(log: &TestLog, module: &Module) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let writer = LogFolderWriter::create(dir.path(), &log.process).unwrap();
    writer.module(module).unwrap();
    log.entries.iter().for_each(|entry| writer.entry(entry).unwrap());
    dir
}

fn loose_module() -> Module {
    module(Vec::new(), ao_wire::Id([7; 32]).into(), "owner".to_owned())
}

fn sample() -> (TestLog, tempfile::TempDir) {
    let mut log = TestLog::new(ChainRule::Legacy);
    log.push_process(false);
    log.push_message("a");
    log.push_message("b");
    let dir = write(&log, &loose_module());
    (log, dir)
}

#[test]
fn a_written_folder_is_read_back_and_verified() {
    let (log, dir) = sample();
    let folder = LogFolder::open(dir.path()).unwrap();
    assert_eq!(folder.process(), log.process);
    assert_eq!(folder.nonces(), 0..3);
    assert_eq!(folder.module().unwrap(), loose_module());
    let entries: Vec<LogEntry> = folder.entries().map(Result::unwrap).collect();
    assert_eq!(entries, log.entries);
    let options = VerifyOptions::strict(ChainRule::Legacy);
    let mut verifier = LogVerifier::new(folder.process(), options).unwrap();
    verifier.check_page(&entries).unwrap();
}

#[test]
fn a_module_item_is_split_and_put_together_again() {
    let mut log = TestLog::of(1);
    let tags = text_tags(&[("Module-Format", "wasm32-unknown-emscripten4")]);
    let bytes = item(&log.user, None, &tags, b"\0asm");
    let parsed = DataItem::parse(&bytes).unwrap();
    let mut process_tags = testlog::process_tags(&testlog::address(&log.scheduler));
    testlog::set(&mut process_tags, "Module", &parsed.id().to_string());
    log.process = item(&log.user, None, &process_tags, b"");
    let module = module(bytes[..bytes.len() - 4].to_vec(), parsed.id().into(), testlog::address(&log.user));
    let dir = write(&log, &module);
    assert_eq!(fs::read(dir.path().join("module.ans104")).unwrap(), bytes);
    assert_eq!(LogFolder::open(dir.path()).unwrap().module().unwrap(), module);
}

#[test]
fn gaps_and_strange_files_in_the_log_are_named() {
    let (_, dir) = sample();
    let file = |nonce: u64| dir.path().join(format!("log/{nonce:012}.ans104"));
    for name in ["notes.txt", "1.ans104", "00000000000a.ans104", "+00000000001.ans104"] {
        let path = dir.path().join("log").join(name);
        fs::write(&path, b"").unwrap();
        let error = LogFolder::open(dir.path()).unwrap_err();
        assert!(matches!(&error, FolderError::Unexpected { path: found } if *found == path), "{error}");
        fs::remove_file(path).unwrap();
    }
    fs::remove_file(file(1)).unwrap();
    let error = LogFolder::open(dir.path()).unwrap_err();
    assert!(matches!(&error, FolderError::Missing { path, nonce: Nonce(1) } if *path == file(1)), "{error}");
    fs::remove_file(file(0)).unwrap();
    assert_eq!(LogFolder::open(dir.path()).unwrap().nonces(), 2..3, "a folder may begin later");
    fs::remove_file(file(2)).unwrap();
    assert_eq!(LogFolder::open(dir.path()).unwrap().entries().count(), 0);
}

#[test]
fn a_file_that_is_no_bundle_of_an_assignment_is_named() {
    let (log, dir) = sample();
    let path = dir.path().join("log/000000000001.ans104");
    let three = bundle_bytes(&[&log.process, &log.process, &log.process]).unwrap();
    for (bytes, items) in [(log.process.clone(), None), (three, Some(3)), (bundle_bytes(&[]).unwrap(), Some(0))] {
        fs::write(&path, bytes).unwrap();
        let folder = LogFolder::open(dir.path()).unwrap();
        let error = folder.entries().find_map(Result::err).unwrap();
        let FolderError::Entry { path: found, source } = &error else { panic!("{error}") };
        assert_eq!(*found, path);
        match items {
            Some(found) => assert_eq!(*source, EntryError::Items { found }),
            None => assert!(matches!(source, EntryError::Wire(_))),
        }
    }
}

#[test]
fn a_missing_or_wrong_process_is_named() {
    let (log, dir) = sample();
    let path = dir.path().join("process.ans104");
    fs::write(&path, log.entries[1].message.as_ref().unwrap()).unwrap();
    assert!(matches!(LogFolder::open(dir.path()), Err(FolderError::Process { path: found, .. }) if found == path));
    fs::write(&path, b"junk").unwrap();
    assert!(matches!(LogFolder::open(dir.path()), Err(FolderError::Item { path: found, .. }) if found == path));
    fs::remove_file(&path).unwrap();
    assert!(matches!(LogFolder::open(dir.path()), Err(FolderError::Io { path: found, .. }) if found == path));
}

#[test]
fn a_missing_doubled_or_other_module_is_named() {
    let (log, dir) = sample();
    let module = || LogFolder::open(dir.path()).unwrap().module().unwrap_err();
    let json = dir.path().join("module.json");
    fs::write(&json, b"{}").unwrap();
    assert!(matches!(module(), FolderError::ModuleJson { path, .. } if path == json));
    let other = format!(r#"{{"id":"{}","owner":"o","tags":[]}}"#, ao_wire::Id([8; 32]));
    fs::write(&json, other).unwrap();
    assert!(matches!(module(), FolderError::OtherModule { path, .. } if path == json));
    fs::write(dir.path().join("module.ans104"), &log.process).unwrap();
    assert!(matches!(module(), FolderError::TwoModules { .. }));
    fs::remove_file(&json).unwrap();
    fs::remove_file(dir.path().join("module.wasm")).unwrap();
    assert!(matches!(module(), FolderError::OtherModule { .. }));
    fs::remove_file(dir.path().join("module.ans104")).unwrap();
    assert!(matches!(module(), FolderError::NoModule { .. }));
}

#[test]
fn nothing_is_overwritten_and_nonces_fit_their_names() {
    let (log, dir) = sample();
    assert!(matches!(LogFolderWriter::create(dir.path(), &log.process), Err(FolderError::Io { .. })));
    let writer = LogFolderWriter { root: dir.path().to_path_buf() };
    assert!(matches!(writer.entry(&log.entries[0]), Err(FolderError::Io { .. })));
    let entry = LogEntry { nonce: Nonce(1_000_000_000_000), ..log.entries[0].clone() };
    assert!(matches!(writer.entry(&entry), Err(FolderError::NonceTooBig { .. })));
}
