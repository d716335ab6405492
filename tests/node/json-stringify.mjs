// Oracle for the kernel's JSON: reads framed documents, answers what V8 makes of each.
//
// In:  repeated { u32 LE length, UTF-8 text }.
// Out: repeated { u8 0 = refused | 1 = accepted, u32 LE length, UTF-8 of JSON.stringify(JSON.parse(text)) }.
import { readFileSync, writeSync } from 'node:fs'

const input = readFileSync(0)
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const chunks = []
for (let at = 0; at < input.length;) {
  const length = input.readUInt32LE(at)
  const text = decoder.decode(input.subarray(at + 4, at + 4 + length))
  at += 4 + length
  let answer = Buffer.alloc(0)
  let accepted = 1
  try {
    answer = Buffer.from(JSON.stringify(JSON.parse(text)))
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    accepted = 0
  }
  const head = Buffer.alloc(5)
  head.writeUInt8(accepted, 0)
  head.writeUInt32LE(answer.length, 1)
  chunks.push(head, answer)
}
const output = Buffer.concat(chunks)
for (let at = 0; at < output.length;) at += writeSync(1, output, at)
