// The peer: npm @permaweb/ao-loader driven as the reference CU drives it, one step at a time.
//
// The rules of merging a result are those of the CU's worker (servers/cu/src/effects/worker/evaluate.js): an answer with a
// truthy `Error`, or one whose output ends in "not enough memory for buffer allocation", leaves the previous memory in force.
import assert from 'node:assert'
import v8 from 'node:v8'
import { createHash } from 'node:crypto'
import { require } from './tools.mjs'

v8.setFlagsFromString('--experimental-wasm-memory64')
const AoLoader = require('@permaweb/ao-loader')

// The loader's metering hands on the whole `.buffer` of a Buffer: for a small module that is a pool, and no module at all.
Buffer.poolSize = 0

// Some glues overwrite this; ours is taken first.
const nanoseconds = process.hrtime.bigint

// The glue assigns Date.now a counter from 10000 that lives in a closure. This trap makes the counter a variable.
const CLOCK_START = 10000
let clock = CLOCK_START
const tick = () => clock++
Object.defineProperty(Date, 'now', { configurable: true, get: () => tick, set: () => { clock = CLOCK_START } })

// The glues of the formats 1 to 3 give the path and arguments of the Node script to the guest, on its stack and in its environment.
// Here they are emscripten's own defaults, as in our profile; whatever reads its arguments must have done so before.
const program = () => { process.argv = [process.argv[0], './this.program'] }

// The glue hands the host's entropy to guests that read /dev/urandom. Here there is none, as in our profile.
Object.defineProperty(globalThis.crypto, 'getRandomValues', { value: (view) => view.fill(0) })

/** A module with the memory in force; `step` applies one message. One at a time per program: the clock is global. */
export class Reference {
  #wasm; #options; #compiled
  #handle; #instance
  /** The memory in force: in place of copies a twin of the instance's, brought up to date after each step. */
  #memory
  /** The instance's memory is not the one in force: the loader has to copy it in. */
  #stale = false
  /** What the next instance must take over: the clock, and to be exactly as long as the memory in force. */
  #resume
  #sha256
  #written = new Set()

  /**
   * @param {Buffer} wasm the module
   * @param {{format: string, computeLimit?: number}} options as the CU passes them to the loader
   * @param {{copies?: boolean, onError?: 'keep-instance'|'new-instance', track?: boolean}} how
   *   copies: hand the whole memory in and out at each step, as the CU does, instead of evaluating in place.
   *   onError: what happens to the instance after a step whose memory is not kept, see README.md.
   *   track: keep what is needed to hash the memory and to take a step back; without it an erroring step throws.
   */
  constructor (wasm, options, { copies = false, onError = 'keep-instance', track = true } = {}) {
    this.#wasm = wasm
    this.#options = options
    this.copies = copies
    this.onError = onError
    this.track = track
  }

  /** The virtual clock: what the next Date.now() of the glue gives. */
  get clock () { return clock }
  set clock (value) { clock = value }
  /** Numbers of the chunks of `CHUNK` bytes of the memory in force that were written since the last call, ascending. */
  takeWritten () {
    const written = [...this.#written].sort((a, b) => a - b)
    this.#written.clear()
    return written
  }

  get memory () { return this.#memory }
  get sha256 () { return (this.#sha256 ??= createHash('sha256').update(this.#memory).digest('hex')) }

  /**
   * Applies one message, given as the exact JSON texts that the module shall see.
   * @returns {Promise<{result: object, gas: number|null, keep: boolean, threw: string|null, ms: number, cpuMs: number}>}
   */
  async step (msgText, envText) {
    const msg = JSON.parse(msgText)
    const env = JSON.parse(envText)
    assert.equal(JSON.stringify(msg), msgText, 'msg does not survive JSON.parse and JSON.stringify')
    assert.equal(JSON.stringify(env), envText, 'env does not survive JSON.parse and JSON.stringify')
    if (!this.#handle) await this.#instantiate()
    const input = this.#stale ? this.#memory : null
    const exports = this.#instance.exports
    const memory = memoryOf(exports)
    const saveStack = exports.emscripten_stack_get_current ?? exports.stackSave ?? exports.M
    const before = { clock, stack: saveStack?.(), bytes: Math.max(memory.buffer.byteLength, input?.length ?? 0) }

    const cpu0 = process.cpuUsage()
    const t0 = nanoseconds()
    let answer
    let threw = null
    try {
      answer = await this.#handle(input, msg, env)
    } catch (error) {
      answer = { Error: error }
      if (!isJson(error)) threw = String(error)
    }
    const ms = Number(nanoseconds() - t0) / 1e6
    const cpu = process.cpuUsage(cpu0)

    const keep = !answer.Error && !outOfBuffer(answer.Output) && answer.Memory !== undefined
    if (keep) this.#adopt(answer.Memory)
    else this.#rollBack(before, threw !== null || memory.buffer.byteLength !== before.bytes, Boolean(answer.Error))
    return { result: merge(answer), gas: answer.GasUsed ?? null, keep, threw, ms, cpuMs: (cpu.user + cpu.system) / 1e3 }
  }

  async #instantiate () {
    // The loader replaces WebAssembly.compile by one that adds metering to the two metering formats.
    this.#compiled ??= await WebAssembly.compile(this.#wasm, { format: this.#options.format })
    const instantiate = (imports, receive) => {
      WebAssembly.instantiate(this.#compiled, imports).then((instance) => {
        this.#instance = instance
        receive(instance)
      })
      return {}
    }
    program()
    const quiet = { print: () => {}, printErr: () => {} }
    const unsafe = this.copies ? {} : { UNSAFE_MEMORY: true }
    this.#handle = await AoLoader(instantiate, { computeLimit: 9e12, ...this.#options, ...quiet, ...unsafe })
    const memory = memoryOf(this.#instance.exports)
    if (this.#resume) {
      clock = this.#resume.clock
      this.#resume = undefined
      const length = this.#memory.length
      // The loader grows a fresh instance through the glue, which may take more than it was asked for.
      memory.grow = () => { delete memory.grow; return memory.grow((length - memory.buffer.byteLength) / 65536) }
    }
    this.#memory ??= refresh(Buffer.alloc(0), Buffer.from(memory.buffer), this.#written)
  }

  #adopt (memory) {
    this.#sha256 = undefined
    this.#stale = this.copies
    if (this.copies) this.#memory = Buffer.from(memory.buffer, memory.byteOffset, memory.byteLength)
    else if (this.track) this.#memory = refresh(this.#memory, Buffer.from(memory), this.#written)
  }

  #rollBack (before, unusable, isError) {
    if (!this.track) throw new Error('a step failed, and without tracking the memory before it is gone')
    this.#stale = true
    if (this.onError === 'new-instance') {
      // The CU discards the instance for an `Error` alone, not for a refused buffer allocation.
      if (isError) this.#handle = undefined
      return
    }
    clock = before.clock
    if (unusable) {
      this.#handle = undefined
      this.#resume = { clock }
    } else {
      const exports = this.#instance.exports
      const restoreStack = exports._emscripten_stack_restore ?? exports.stackRestore ?? exports.N
      restoreStack?.(before.stack)
    }
  }
}

/** Format 1 has letters for names. */
const memoryOf = (exports) => exports.memory ?? exports.E

export const CHUNK = 16 * 1024

/** Makes `twin` equal to `now`, writing only chunks that differ, and notes their numbers. */
function refresh (twin, now, written) {
  if (twin.length !== now.length) twin = Buffer.concat([twin], now.length)
  for (let at = 0; at < now.length; at += CHUNK) {
    const end = Math.min(at + CHUNK, now.length)
    if (twin.compare(now, at, end, at, end) === 0) continue
    now.copy(twin, at, at, end)
    written.add(at / CHUNK)
  }
  return twin
}

/** Whether a thrown value is a module's own `response`, which was JSON, and not a trap, an abort or an exit. */
function isJson (value) {
  if (value === null || typeof value !== 'object') return !Object.is(value, Infinity)
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === Array.prototype
}

const orElse = (fallback, value) => (value === null || value === undefined || Number.isNaN(value) ? fallback : value)

/** Old modules answer a failed allocation as ordinary output. */
function outOfBuffer (output) {
  const text = typeof output === 'object' && output !== null ? orElse('', output.data?.output) : output
  return typeof text === 'string' && text.endsWith('not enough memory for buffer allocation')
}

/** What GET /result serves: these keys in this order; `JSON.stringify` leaves out those that are undefined. */
function merge (answer) {
  const output = orElse('', answer.Output)
  return {
    Messages: orElse([], answer.Messages),
    Assignments: orElse([], answer.Assignments),
    Spawns: orElse([], answer.Spawns),
    Output: typeof output === 'number' ? String(output) : output,
    GasUsed: orElse(undefined, answer.GasUsed),
    Error: orElse(undefined, answer.Error)
  }
}
