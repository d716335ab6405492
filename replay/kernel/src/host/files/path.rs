//! The glue's `PATH` and `PATH_FS`: pure text, with its quirks. The working directory is always `/`.
//!
//! Not here: nodes. Invariant: no function looks at the tree.

/// `PATH.normalize`.
pub(super) fn normalize(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut text = parts(path, !absolute).join("/");
    if text.is_empty() && !absolute {
        text.push('.');
    }
    if !text.is_empty() && path.ends_with('/') {
        text.push('/');
    }
    if absolute {
        text.insert(0, '/');
    }
    text
}

/// `PATH.normalizeArray` of the non-empty parts.
fn parts(path: &str, above_root: bool) -> Vec<&str> {
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if kept.last().is_some_and(|&last| last != "..") => {
                kept.pop();
            }
            ".." if !above_root => {}
            _ => kept.push(part),
        }
    }
    kept
}

/// `PATH.dirname`.
pub(super) fn dirname(path: &str) -> String {
    let (root, rest) = path.strip_prefix('/').map_or(("", path), |rest| ("/", rest));
    let dir = rest.trim_end_matches('/').rsplit_once('/').map_or("", |(dir, _)| dir);
    if root.is_empty() && dir.is_empty() { ".".to_owned() } else { format!("{root}{dir}") }
}

/// `PATH.basename`.
pub(super) fn basename(path: &str) -> String {
    if path == "/" {
        return path.to_owned();
    }
    let normal = normalize(path);
    let normal = normal.strip_suffix('/').unwrap_or(&normal);
    normal.rsplit('/').next().unwrap_or(normal).to_owned()
}

/// `PATH.join2`.
pub(super) fn join(left: &str, right: &str) -> String {
    normalize(&format!("{left}/{right}"))
}

/// `PATH_FS.resolve` of one path: empty stays empty.
pub(super) fn resolve(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("/{}", parts(path, false).join("/")) }
}

/// `PATH_FS.resolve(base, path)`.
pub(super) fn resolve_in(base: &str, path: &str) -> String {
    if path.starts_with('/') || path.is_empty() { resolve(path) } else { resolve(&format!("{base}/{path}")) }
}

/// Whether `PATH_FS.relative(from, to)` begins with a dot: `to` lies outside `from`, or is hidden in it.
pub(super) fn is_outside(from: &str, to: &str) -> bool {
    let (from, to) = (parts(from, false), parts(to, false));
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    common < from.len() || to.get(common).is_some_and(|part| part.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_normalise_as_the_glue_does() {
        for (path, normal) in
            [("", "."), ("/", "/"), ("a/./b//c/..", "a/b"), ("/../a/", "/a/"), ("../../a", "../../a"), ("a/..", ".")]
        {
            assert_eq!(normalize(path), normal, "{path}");
        }
    }

    #[test]
    fn directory_and_base_names_split_as_the_glue_does() {
        for (path, dir, base) in [
            ("/a/b", "/a", "b"),
            ("/a", "/", "a"),
            ("a", ".", "a"),
            ("a/b/", "a", "b"),
            ("/", "/", "/"),
            ("", ".", "."),
        ] {
            assert_eq!((dirname(path).as_str(), basename(path).as_str()), (dir, base), "{path}");
        }
    }

    #[test]
    fn resolution_starts_at_the_root() {
        assert_eq!(resolve("a/../b"), "/b");
        assert_eq!(resolve(""), "");
        assert_eq!(resolve_in("/dev", "tty"), "/dev/tty");
        assert!(is_outside("/a/b", "/a"));
        assert!(!is_outside("/a", "/a/b"));
        assert!(is_outside("/a", "/a/.b"));
    }
}
