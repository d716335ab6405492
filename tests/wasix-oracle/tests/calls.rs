//! Each call of WASI preview 1 with good and bad arguments: the kernel answers as `wasmer-wasix` does, but where it says why not.

use ao_wasix_oracle::{Ended, Ours, Script, Wasix};

/// `label | call`, as `Script` has it.
const CALLS: &str = r#"
arguments                | args_sizes_get out out+4
arguments:far            | args_sizes_get -4 out
environment              | environ_sizes_get out out+4
no-arguments             | args_get out out+4
no-environment           | environ_get out out+4
yield                    | sched_yield
random                   | random_get out 0
random:far               | random_get -4 16
clock:unknown            | clock_time_get 77 0l out
resolution:unknown       | clock_res_get 77 out
root:status              | fd_fdstat_get $root out
root:file-status         | fd_filestat_get $root out
root:prestat             | fd_prestat_get $root out
root:name                | fd_prestat_dir_name $root out 1
root:name:no-room        | fd_prestat_dir_name $root out 0
no-root                  | fd_prestat_get 1 out
stream:status            | fd_fdstat_get 1 out
stream:write             | fd_write 1 write("to ","standard output") out
stream:write:far         | fd_write 1 -8 1 out
stream:read              | fd_read 0 read(4) out
stream:seek              | fd_seek 1 0l 0 out
closed:read              | fd_read 99 read(4) out
closed:write             | fd_write 99 write("x") out
closed:seek              | fd_seek 99 0l 0 out
closed:tell              | fd_tell 99 out
closed:close             | fd_close 99
closed:sync              | fd_sync 99
closed:status            | fd_fdstat_get 99 out
closed:file-status       | fd_filestat_get 99 out
closed:list              | fd_readdir 99 out+16 64 0l out
closed:renumber          | fd_renumber 99 98
closed:folder            | path_open 99 0 "a" 0 6l 0l 0 out
absent                   | path_open $root 0 "a" 0 6l 0l 0 out
absent:status            | path_filestat_get $root 0 "a" out
absent:unlink            | path_unlink_file $root "a"
absent:rename            | path_rename $root "a" $root "b"
absent:link              | path_readlink $root "a" out 16 out+16
absent:remove            | path_remove_directory $root "a"
a                        | path_open $root 0 "a" 1 -1l -1l 0 out
a:status                 | fd_fdstat_get #a out
a:empty                  | fd_read #a read(4) out
a:write                  | fd_write #a write("0123","456789") out
a:tell                   | fd_tell #a out
a:seek                   | fd_seek #a 3l 0 out
a:read                   | fd_read #a read(2,3) out
a:seek-on                | fd_seek #a -1l 1 out
a:seek-from-end          | fd_seek #a -4l 2 out
a:read-to-end            | fd_read #a read(9) out
a:read-at-end            | fd_read #a read(9) out
a:seek-below             | fd_seek #a -99l 1 out
a:seek-how               | fd_seek #a 0l 9 out
a:seek-beyond            | fd_seek #a 20l 0 out
a:read-beyond            | fd_read #a read(4) out
a:write-beyond           | fd_write #a write("end") out
a:size                   | fd_filestat_get #a out
a:pread                  | fd_pread #a read(12) 8l out
a:pread:end              | fd_pread #a read(12) 99l out
a:pwrite                 | fd_pwrite #a write("XY") 1l out
a:tell-after             | fd_tell #a out
a:pread-after            | fd_pread #a read(4) 0l out
a:shorter                | fd_filestat_set_size #a 5l
a:shorter:size           | fd_filestat_get #a out
a:longer                 | fd_filestat_set_size #a 7l
a:longer:read            | fd_pread #a read(9) 0l out
a:allocate               | fd_allocate #a 0l 12l
a:allocate:size          | fd_filestat_get #a out
a:advise                 | fd_advise #a 0l 0l 0
a:sync                   | fd_sync #a
a:datasync               | fd_datasync #a
a:is-no-folder           | fd_readdir #a out+16 64 0l out
a:below                  | path_open #a 0 "x" 0 6l 0l 0 out
a:within                 | path_open $root 0 "a/x" 0 6l 0l 0 out
a:as-folder              | path_open $root 0 "a" 2 6l 0l 0 out
a:taken                  | path_open $root 0 "a" 5 6l 0l 0 out
a:folder-taken           | path_create_directory $root "a"
a:remove-as-folder       | path_remove_directory $root "a"
a:reading                | path_open $root 0 "a" 0 2l 0l 0 out
a:reading:read           | fd_read #a:reading read(4) out
a:reading:write          | fd_write #a:reading write("x") out
a:appending              | path_open $root 0 "a" 0 66l 0l 1 out
a:appending:write        | fd_write #a:appending write("++") out
a:appending:size         | fd_filestat_get #a:appending out
a:emptied                | path_open $root 0 "a" 8 66l 0l 0 out
a:emptied:size           | fd_filestat_get #a:emptied out
a:closed                 | fd_close #a
a:closed-twice           | fd_close #a
number:from              | path_open $root 0 "n" 1 66l 0l 0 out
number:to                | path_open $root 0 "a" 0 66l 0l 0 out
number:moved             | fd_renumber #number:from #number:to
number:write             | fd_write #number:to write("moved") out
number:old-one           | fd_write #number:from write("x") out
number:size              | path_filestat_get $root 0 "n" out
folder                   | path_create_directory $root "folder"
folder:taken             | path_create_directory $root "folder"
folder:status            | path_filestat_get $root 0 "folder" out
folder:deep              | path_create_directory $root "folder/deep"
folder:too-deep          | path_create_directory $root "folder/none/deep"
folder:open              | path_open $root 0 "folder" 2 1069547199l -1l 0 out
folder:read              | fd_read #folder:open read(4) out
folder:write             | fd_write #folder:open write("x") out
folder:seek              | fd_seek #folder:open 4l 0 out
folder:in-it             | path_open #folder:open 0 "b" 1 66l 0l 0 out
folder:in-it:write       | fd_write #folder:in-it write("hello") out
folder:up                | path_filestat_get #folder:open 0 "../a" out
folder:up-and-out        | path_filestat_get #folder:open 0 "../../a" out
folder:itself            | path_filestat_get #folder:open 0 "." out
folder:slash             | path_filestat_get $root 0 "folder/" out
file:slash               | path_filestat_get $root 0 "a/" out
absolute                 | path_filestat_get $root 0 "/a" out
empty-name               | path_filestat_get $root 0 "" out
folder:not-empty         | path_remove_directory $root "folder"
folder:unlink            | path_unlink_file $root "folder"
rename                   | path_rename $root "folder/b" $root "folder/c"
rename:gone              | path_filestat_get $root 0 "folder/b" out
rename:there             | path_filestat_get $root 0 "folder/c" out
rename:open-one          | fd_pread #folder:in-it read(9) 0l out
rename:over              | path_rename $root "folder/c" $root "a"
rename:over:size         | path_filestat_get $root 0 "a" out
rename:into-itself       | path_rename $root "folder" $root "folder/deep/er"
folder:list              | fd_readdir #folder:open out+16 200 0l out
deep:remove              | path_remove_directory $root "folder/deep"
folder:list-empty        | fd_readdir #folder:open out+16 200 0l out
link                     | path_symlink "a" $root "link"
link:read                | path_readlink $root "link" out 16 out+16
link:read-short          | path_readlink $root "link" out 0 out+16
link:status              | path_filestat_get $root 0 "link" out
link:followed            | path_filestat_get $root 1 "link" out
link:taken               | path_symlink "a" $root "link"
link:of-a-file           | path_readlink $root "a" out 16 out+16
link:gone                | path_unlink_file $root "link"
removed                  | path_remove_directory $root "folder"
removed:open-one         | fd_filestat_get #folder:open out
over                     | path_create_directory $root "over"
over:file-over-folder    | path_rename $root "a" $root "over"
over:folder-over-file    | path_rename $root "over" $root "a"
"#;

/// What differs on purpose, by the call's label, and why.
const DIFFERENT: &[(&str, &str)] = &[
    ("arguments:far", "a bad pointer is EFAULT; wasix has a number of its own for it that preview 1 does not know"),
    ("random:far", "the same"),
    ("root:name:no-room", "ENAMETOOLONG: the name is longer than the room"),
    ("no-root", "only the root is open from the beginning; wasix says so of its streams too"),
    ("stream:status", "streams do not append"),
    ("stream:write:far", "a bad pointer, as above"),
    ("stream:seek", "ESPIPE, as POSIX has it"),
    ("a:reading:write", "EBADF, as POSIX has it"),
    ("a:emptied:size", "the flag to empty a file empties it; in wasix it stays as it was"),
    ("number:write", "the number moves; wasix duplicates it, and lets nothing be written there"),
    ("number:old-one", "the same"),
    ("number:size", "the same"),
    ("folder:write", "EBADF, as above"),
    ("absolute", "names are relative to a descriptor, as preview 1 has it"),
    ("rename:over:size", "what was renamed keeps its size; wasix shows none"),
    ("folder:list", "what was renamed away is not listed; wasix remembers it"),
    ("folder:list-empty", "nor is what was removed"),
    ("link:read-short", "a link's target is cut to the room, as POSIX has it"),
    ("link:followed", "the size, as above"),
    ("removed:open-one", "links are not counted here: there is always one"),
    ("over:file-over-folder", "EISDIR, as POSIX has it; wasix loses the folder"),
    ("over:folder-over-file", "ENOTDIR, likewise"),
];

/// What of a call's answer is no host's own: without devices, inodes, times, rights, sizes of folders, and bytes between fields.
fn comparable(call: &str, out: &[u8]) -> Vec<u8> {
    let ranges = match call {
        "fd_filestat_get" | "path_filestat_get" if out[16] == 3 => vec![16..17, 24..32],
        "fd_filestat_get" | "path_filestat_get" => vec![16..17, 24..40],
        "fd_fdstat_get" => vec![0..1, 2..4],
        "fd_prestat_get" => vec![0..1, 4..8],
        "path_open" => vec![],
        "fd_readdir" => return listed(out),
        _ => vec![0..out.len()],
    };
    ranges.into_iter().flat_map(|range| out[range].to_vec()).collect()
}

/// Kinds and names in a listing, in alphabetical order.
fn listed(out: &[u8]) -> Vec<u8> {
    let word = |at: usize| u32::from_le_bytes(out[at..at + 4].try_into().expect("four bytes")) as usize;
    let (mut at, end, mut entries) = (16, 16 + word(0), Vec::new());
    while at < end {
        let name = &out[at + 24..at + 24 + word(at + 16)];
        entries.push([&out[at + 20..=at + 20], name].concat());
        at += 24 + name.len();
    }
    entries.sort();
    entries.concat()
}

/// The number of the folder that is the root.
fn root_of(ask: &mut dyn FnMut(&str) -> Ended, script: &Script) -> char {
    let Ended::Answer(hex) = ask("3") else { panic!("the guest answers") };
    let named = |answer: &ao_wasix_oracle::Answer| answer.errno == 0 && answer.out[0] == b'/';
    let found = script.answers(&hex).into_iter().rev().find(|(_, answer)| named(answer)).expect("a root");
    found.0.chars().last().expect("a number")
}

#[test]
fn every_call_answers_as_wasix_does_or_differs_on_purpose() {
    let names = Script::new(
        "3 | fd_prestat_dir_name 3 out 1\n4 | fd_prestat_dir_name 4 out 1\n5 | fd_prestat_dir_name 5 out 1",
    );
    let (wasm, mut probe) = (names.wasm(), Wasix::start(&names.wasm()));
    let their_root = root_of(&mut |message| probe.ask(message), &names);
    let mut probe = Ours::start(&wasm);
    assert_eq!(root_of(&mut |message| probe.ask(message), &names), '3');

    let script = Script::new(CALLS);
    let wasm = script.wasm();
    let Ended::Answer(ours) = Ours::start(&wasm).ask("3") else { panic!("ours answers") };
    let Ended::Answer(theirs) = Wasix::start(&wasm).ask(&their_root.to_string()) else { panic!("wasix answers") };
    let calls = CALLS
        .lines()
        .filter_map(|line| line.split_once('|'))
        .map(|(_, call)| call.trim().split(' ').next().expect("a call"));
    let mut differ = Vec::new();
    for ((call, (label, ours)), (_, theirs)) in calls.zip(script.answers(&ours)).zip(script.answers(&theirs)) {
        let seen = [&ours, &theirs].map(|it| (it.errno, comparable(call, &it.out)));
        if seen[0] != seen[1] {
            println!("{label}: {call}");
            for (errno, out) in &seen {
                let end = out.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
                println!("    errno {errno} {:?}", String::from_utf8_lossy(&out[..end]));
            }
            differ.push(label.to_owned());
        }
    }
    let expected: Vec<&str> = DIFFERENT.iter().map(|(label, _)| *label).collect();
    assert_eq!(differ, expected);
}
