// Where things are, and packages from target/node (see setup.sh) rather than from beside these scripts.
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import path from 'node:path'

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..')
export const modulesDir = path.join(root, 'target/modules')
export const require = createRequire(path.join(root, 'target/node/package.json'))

export const WASM64 = 'wasm64-unknown-emscripten-draft_2024_02_15'
export const WASM32 = 'wasm32-unknown-emscripten4'

/** The modules that setup.sh fetches, by short name. */
export const MODULES = {
  aos: { file: 'aos.wasm', format: WASM64 },
  aos2_0_1: { file: 'aos2_0_1.wasm', format: WASM64 },
  aos2_0_3: { file: 'aos2_0_3.wasm', format: WASM64 },
  aos2_0_4_32: { file: 'aos2_0_4_32.wasm', format: WASM32 },
  aos2_0_6: { file: 'aos2_0_6.wasm', format: WASM64 },
  process: { file: 'process.wasm', format: WASM64 },
  sqlite: { file: 'sqlite.wasm', format: WASM64 }
}

/** `--name value` and `--flag` arguments; an unknown one ends the program with `usage`. */
export function parseArgs (spec, usage) {
  const out = Object.fromEntries(Object.entries(spec).map(([k, v]) => [k, v === Boolean ? false : v]))
  const args = process.argv.slice(2)
  while (args.length) {
    const raw = args.shift()
    const key = raw.replace(/^--/, '')
    if (!raw.startsWith('--') || !(key in spec) || (spec[key] !== Boolean && !args.length)) die(`unknown or incomplete argument ${raw}\n${usage}`)
    out[key] = spec[key] === Boolean ? true : args.shift()
  }
  for (const [k, v] of Object.entries(out)) if (v === undefined) die(`--${k} is needed\n${usage}`)
  return out
}

export function die (text) {
  process.stderr.write(text + '\n')
  process.exit(2)
}
