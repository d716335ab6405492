//! Linear memory as the glue's typed arrays see it, and the arguments of a host call.
//!
//! Not here: text (`text`).
//! Invariant: a store through a bad pointer is lost, as in JavaScript; a load through one traps, where JavaScript
//! would compute with `undefined`. Nothing panics.

use crate::guest::{Guest, Interrupt, TrapKind, Val};

use super::format::ModuleFormat;

/// The address that no typed array has: the glue's `NaN` for pointers beyond 2^53.
pub(crate) const NOWHERE: i64 = i64::MIN;
const I53_MAX: i64 = 1 << 53;

/// The trap for a load through a bad pointer.
pub(crate) const OUT_OF_BOUNDS: Interrupt = Interrupt::Trap(TrapKind::MemoryOutOfBounds);

/// Linear memory with the access rules of one pointer width.
pub(crate) struct Heap<'a> {
    pub(crate) bytes: &'a mut [u8],
    wide: bool,
}

impl<'a> Heap<'a> {
    pub(crate) fn of(guest: &'a mut dyn Guest) -> Self {
        let format = guest.host().format;
        Self::new(guest.memory_mut(), format)
    }

    pub(crate) fn new(bytes: &'a mut [u8], format: ModuleFormat) -> Self {
        Self { bytes, wide: format.is_wide() }
    }

    /// Whether pointers take eight bytes.
    pub(crate) fn is_wide(&self) -> bool {
        self.wide
    }

    /// wasm64 glue indexes by `ptr / size`, so a misaligned address is no index; wasm32 glue by `ptr >> n`.
    fn index(&self, address: i64, size: usize) -> Option<usize> {
        let address = usize::try_from(address).ok()?;
        let at = if self.wide && !address.is_multiple_of(size) {
            return None;
        } else {
            address & !(size - 1)
        };
        (at.checked_add(size)? <= self.bytes.len()).then_some(at)
    }

    fn store(&mut self, address: i64, value: &[u8]) {
        if let Some(at) = self.index(address, value.len()) {
            self.bytes[at..at + value.len()].copy_from_slice(value);
        }
    }

    fn load<const N: usize>(&self, address: i64) -> Result<[u8; N], Interrupt> {
        let at = self.index(address, N).ok_or(OUT_OF_BOUNDS)?;
        let mut value = [0; N];
        value.copy_from_slice(&self.bytes[at..at + N]);
        Ok(value)
    }

    pub(crate) fn set_u8(&mut self, address: i64, value: u8) {
        self.store(address, &[value]);
    }

    pub(crate) fn set_i16(&mut self, address: i64, value: i16) {
        self.store(address, &value.to_le_bytes());
    }

    pub(crate) fn set_i32(&mut self, address: i64, value: i32) {
        self.store(address, &value.to_le_bytes());
    }

    /// One store of eight bytes in wasm64 glue, two of four in wasm32 glue.
    pub(crate) fn set_i64(&mut self, address: i64, value: i64) {
        if self.wide {
            self.store(address, &value.to_le_bytes());
        } else {
            self.set_i32(address, value as i32);
            self.set_i32(address.saturating_add(4), (value >> 32) as i32);
        }
    }

    pub(crate) fn set_ptr(&mut self, address: i64, value: u64) {
        if self.wide { self.store(address, &value.to_le_bytes()) } else { self.set_i32(address, value as i32) }
    }

    pub(crate) fn i32(&self, address: i64) -> Result<i32, Interrupt> {
        self.load(address).map(i32::from_le_bytes)
    }

    pub(crate) fn i64(&self, address: i64) -> Result<i64, Interrupt> {
        if self.wide {
            self.load(address).map(i64::from_le_bytes)
        } else {
            let low = self.i32(address)? as u32;
            Ok(i64::from(self.i32(address.saturating_add(4))?) << 32 | i64::from(low))
        }
    }

    /// A pointer or size in memory; sizes beyond 2^63 are out of every range anyway.
    pub(crate) fn ptr(&self, address: i64) -> Result<u64, Interrupt> {
        if self.wide { self.load(address).map(u64::from_le_bytes) } else { Ok(u64::from(self.i32(address)? as u32)) }
    }

    /// The bytes of `[address, address + len)`.
    pub(crate) fn range(&mut self, address: u64, len: u64) -> Result<&mut [u8], Interrupt> {
        let start = usize::try_from(address).map_err(|_| OUT_OF_BOUNDS)?;
        let end = usize::try_from(len).ok().and_then(|len| start.checked_add(len)).ok_or(OUT_OF_BOUNDS)?;
        self.bytes.get_mut(start..end).ok_or(OUT_OF_BOUNDS)
    }

    /// `Uint8Array.prototype.copyWithin(dest, src, src + count)`, clamping and all.
    pub(crate) fn copy_within(&mut self, dest: i64, src: i64, count: i64) {
        let len = self.bytes.len() as i64;
        let clamp = |x: i64| {
            let x = if x == NOWHERE { 0 } else { x };
            (if x < 0 { x.saturating_add(len).max(0) } else { x.min(len) }) as usize
        };
        let end = if src == NOWHERE || count == NOWHERE { NOWHERE } else { src.saturating_add(count) };
        let (to, from, end) = (clamp(dest), clamp(src), clamp(end));
        let count = end.saturating_sub(from).min(self.bytes.len() - to);
        self.bytes.copy_within(from..from + count, to);
    }
}

/// The arguments of a host call, read left to right. Their number and types were checked when it was resolved.
pub(crate) struct Args<'a> {
    rest: &'a [Val],
    wide: bool,
}

impl<'a> Args<'a> {
    pub(crate) fn new(format: ModuleFormat, args: &'a [Val]) -> Self {
        Self { rest: args, wide: format.is_wide() }
    }

    fn next(&mut self) -> u64 {
        let (first, rest) = self.rest.split_first().unwrap_or((&Val::I32(0), &[]));
        self.rest = rest;
        first.as_u64()
    }

    /// A 32-bit integer.
    pub(crate) fn int(&mut self) -> i32 {
        self.next() as i32
    }

    /// A pointer or size; [`NOWHERE`] if JavaScript's numbers cannot hold it.
    pub(crate) fn ptr(&mut self) -> i64 {
        let raw = self.next() as i64;
        if (-I53_MAX..=I53_MAX).contains(&raw) { raw } else { NOWHERE }
    }

    /// A file offset or time: one i64 in wasm64 modules, two i32 in wasm32 ones. `None` is the glue's `NaN`.
    pub(crate) fn offset(&mut self) -> Option<i64> {
        let raw = if self.wide {
            self.next() as i64
        } else {
            let low = self.next() as u32;
            i64::from(self.int()) << 32 | i64::from(low)
        };
        (-I53_MAX..=I53_MAX).contains(&raw).then_some(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misaligned_stores_are_lost_in_wide_glue_and_rounded_in_narrow() {
        let mut bytes = [0_u8; 16];
        Heap::new(&mut bytes, ModuleFormat::Wasm64).set_i32(5, -1);
        assert_eq!(bytes, [0; 16]);
        Heap::new(&mut bytes, ModuleFormat::Emscripten4).set_i32(5, -1);
        assert_eq!(bytes[4..8], [0xff; 4]);
    }

    #[test]
    fn bad_pointers_lose_stores_and_trap_loads() {
        let mut bytes = [0_u8; 16];
        let mut heap = Heap::new(&mut bytes, ModuleFormat::Wasm64);
        for bad in [16, 14, -4, NOWHERE, i64::MAX - 3] {
            heap.set_i32(bad, 7);
            assert_eq!(heap.i32(bad), Err(OUT_OF_BOUNDS));
        }
        assert_eq!(heap.range(u64::MAX, 2).err(), Some(OUT_OF_BOUNDS));
        assert_eq!(bytes, [0; 16]);
    }

    #[test]
    fn copies_clamp_as_copy_within_does() {
        let mut bytes = *b"abcdefgh";
        let mut heap = Heap::new(&mut bytes, ModuleFormat::Wasm64);
        heap.copy_within(6, 0, 5);
        heap.copy_within(0, -2, 1);
        heap.copy_within(1, 100, 4);
        heap.copy_within(NOWHERE, 2, 1);
        assert_eq!(&bytes, b"cbcdefab");
    }
}
