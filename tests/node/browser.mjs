// The browser build of the real client in headless Chromium, from a static page of another origin than the units: spawn, message,
// result. Prints one JSON line; exits 1 if a call fails, CORS forbids one, or the page is not done in time.
//   node browser.mjs --cu URL --mu URL --gateway URL --module ID --scheduler ADDRESS
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs, root } from './tools.mjs'

const PATIENCE_MS = 120_000
const values = parseArgs({ cu: null, mu: null, gateway: null, module: null, scheduler: null },
  'node browser.mjs --cu URL --mu URL --gateway URL --module ID --scheduler ADDRESS')
const browser = path.join(root, 'target/node/chromium')
const client = path.join(root, 'target/node/node_modules/@permaweb/aoconnect/dist/browser.js')

const served = {
  '/': ['text/html', `<!doctype html><script type="module" src="/page.js"></script>`],
  '/page.js': ['text/javascript', `(${page})(${JSON.stringify(values)})`],
  '/aoconnect.js': ['text/javascript', readFileSync(client)]
}

let end
const profile = mkdtempSync(path.join(tmpdir(), 'aorta-browser-'))
const server = createServer()
const told = await new Promise((resolve, reject) => {
  setTimeout(() => reject(new Error('the page was not done in time')), PATIENCE_MS).unref()
  server.on('request', async (request, response) => {
    if (request.method === 'POST') {
      const body = []
      for await (const chunk of request) body.push(chunk)
      resolve(JSON.parse(Buffer.concat(body).toString()))
      return response.end()
    }
    const [type, body] = served[request.url] ?? ['text/plain', undefined]
    response.writeHead(body ? 200 : 404, { 'content-type': type }).end(body)
  })
  server.listen(0, '127.0.0.1', () => {
    // Root, as in containers, has no sandbox. Nothing but loopback can be found.
    const flags = ['--headless', '--no-sandbox', '--no-zygote', '--in-process-gpu', '--use-gl=disabled', '--disable-dev-shm-usage',
      '--no-first-run', '--disable-extensions', '--disable-background-networking', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
      `--user-data-dir=${profile}`, `http://127.0.0.1:${server.address().port}/`]
    const env = { ...process.env, LD_LIBRARY_PATH: path.join(browser, 'lib') }
    const chromium = spawn(path.join(browser, 'chromium'), flags, { stdio: 'ignore', env })
    chromium.on('error', reject)
    chromium.on('exit', (code, signal) => reject(new Error(`the browser ended with ${code ?? signal}`)))
    chromium.on('close', () => rmSync(profile, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 }))
    end = () => chromium.kill('SIGKILL')
  })
}).catch(error => ({ error: String(error) }))
console.log(JSON.stringify(told))
process.exitCode = told.error ? 1 : 0
server.close()
end?.()

/** Runs in the browser. */
async function page (values) {
  try {
    const { connect } = await import('/aoconnect.js')
    // With RSA this build checks what it signed and fails on the form of the key; pages leave RSA to a wallet's extension.
    const { publicKey, privateKey } = await crypto.subtle.generateKey('Ed25519', true, ['sign'])
    const owner = new Uint8Array(await crypto.subtle.exportKey('raw', publicKey))
    const sign = async hash => new Uint8Array(await crypto.subtle.sign('Ed25519', privateKey, hash))
    const signer = async create => ({ signature: await sign(await create({ publicKey: owner, type: 2 })) })
    const ao = connect({ MODE: 'legacy', CU_URL: values.cu, MU_URL: values.mu, GATEWAY_URL: values.gateway })
    const process = await ao.spawn({ module: values.module, scheduler: values.scheduler, signer, tags: [{ name: 'Name', value: 'browser' }], data: '' })
    const message = await ao.message({ process, signer, tags: [{ name: 'Action', value: 'Eval' }], data: 'return 6 * 7' })
    const result = await ao.result({ message, process })
    const told = { origin: location.origin, agent: navigator.userAgent, process, message, result }
    await fetch('/', { method: 'POST', body: JSON.stringify(told) })
  } catch (error) {
    await fetch('/', { method: 'POST', body: JSON.stringify({ error: `${error?.stack ?? error}` }) })
  }
}
