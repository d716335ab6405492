use super::*;

fn booted() -> (Files, Clock) {
    let (mut files, mut clock) = (Files::at_boot(), Clock::default());
    files.create_standard_streams(&mut clock).unwrap();
    (files, clock)
}

const CREATE_WRITE: u32 = 0o1101;
const READ_WRITE: u32 = 2;

fn put(files: &mut Files, path: &str, data: &[u8], clock: &mut Clock) {
    let fd = files.open(path, CREATE_WRITE, 0o666, clock).unwrap();
    assert_eq!(files.write(fd, &mut data.to_vec(), 0, data.len() as u64, clock), Ok(data.len() as u64));
    files.close(fd).unwrap();
}

fn get(files: &mut Files, path: &str, clock: &mut Clock) -> Result<Vec<u8>, Fail> {
    let fd = files.open(path, 0, 0, clock)?;
    let mut memory = vec![0; 64];
    let count = files.read(fd, &mut memory, 0, 64, clock)?;
    files.close(fd)?;
    memory.truncate(count as usize);
    Ok(memory)
}

#[test]
fn the_tree_at_boot_has_the_loaders_inodes() {
    let (files, _) = booted();
    for (path, inode) in [("/", 1), ("/home/web_user", 4), ("/dev/null", 6), ("/dev/shm/tmp", 12), ("/dev", 5)] {
        assert_eq!(files.stat(path, false).unwrap().inode, inode, "{path}");
    }
    assert_eq!(files.stat("/dev/stderr", false).unwrap().inode, 19);
    assert_eq!(files.stat("/dev/stderr", true).unwrap().inode, 8);
    assert_eq!(files.stat("/proc/self/fd", true), Err(Errno::EPERM));
    assert_eq!(files.read_link("/proc/self/fd/1"), Ok("/dev/tty".to_owned()));
}

#[test]
fn what_is_written_is_read_and_gaps_are_zeros() {
    let (mut files, mut clock) = booted();
    put(&mut files, "/tmp/a", b"abc", &mut clock);
    let fd = files.open("/tmp/../tmp/a", READ_WRITE, 0, &mut clock).unwrap();
    assert_eq!(files.seek(fd, 2, 2), Ok(5));
    files.write(fd, &mut b"z".to_vec(), 0, 1, &mut clock).unwrap();
    assert_eq!(get(&mut files, "tmp/a", &mut clock), Ok(b"abc\0\0z".to_vec()));
    assert_eq!(files.truncate_stream(fd, 1, &mut clock), Ok(()));
    assert_eq!(files.stat_stream(fd).unwrap().size, 1);
    files.delete("/tmp/a", false, &mut clock).unwrap();
    assert_eq!(files.stat_stream(fd), Err(Errno::ENOENT));
    files.close(fd).unwrap();
    assert_eq!(files.bytes, 0);
}

#[test]
fn a_file_renamed_over_reappears_when_its_successor_goes() {
    let (mut files, mut clock) = booted();
    put(&mut files, "/tmp/new", b"new", &mut clock);
    put(&mut files, "/tmp/old", b"old", &mut clock);
    files.rename("/tmp/new", "/tmp/old", &mut clock).unwrap();
    assert_eq!(get(&mut files, "/tmp/old", &mut clock), Ok(b"new".to_vec()));
    files.delete("/tmp/old", false, &mut clock).unwrap();
    assert_eq!(get(&mut files, "/tmp/old", &mut clock), Ok(b"old".to_vec()));
}

#[test]
fn refused_operations_name_their_reason() {
    let (mut files, mut clock) = booted();
    let errno = |errno| Err(Fail::Errno(errno));
    assert_eq!(files.open("/none/x", CREATE_WRITE, 0o666, &mut clock), errno(Errno::ENOENT));
    assert_eq!(files.open("/tmp", CREATE_WRITE, 0o666, &mut clock), errno(Errno::EISDIR));
    assert_eq!(files.open("/dev/random", 1, 0, &mut clock), errno(Errno::EACCES));
    assert_eq!(files.delete("/home", true, &mut clock), Err(Errno::ENOTEMPTY));
    assert_eq!(files.delete("/home", false, &mut clock), Err(Errno::EISDIR));
    assert_eq!(files.rename("/home", "/home/web_user/x", &mut clock), Err(Errno::EINVAL));
    assert_eq!(files.seek(1, 0, 0), Err(Errno::ESPIPE));
    assert_eq!(files.read(9, &mut [], 0, 0, &mut clock), Err(Errno::EBADF.into()));
    assert!(matches!(files.write(1, &mut [0], 0, 2, &mut clock), Err(Fail::Stop(_))));
}

#[test]
fn files_never_hold_more_than_their_bound() {
    let (mut files, mut clock) = booted();
    let fd = files.open("/tmp/big", CREATE_WRITE, 0o666, &mut clock).unwrap();
    assert!(matches!(files.truncate_stream(fd, FILES_BYTES_MAX as i64 + 1, &mut clock), Err(Fail::Stop(_))));
    assert_eq!(files.seek(fd, 1 << 50, 0), Ok(1 << 50));
    assert!(matches!(files.write(fd, &mut [0], 0, 1, &mut clock), Err(Fail::Stop(_))));
    assert_eq!(files.stat_stream(fd).unwrap().size, 0);
}
