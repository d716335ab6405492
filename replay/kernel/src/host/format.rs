//! The seven Module-Format tags of the legacy network and what sets their JavaScript glue apart; and two of our own, without.
//!
//! Not here: any call. Invariant: a format decides every difference in host behaviour; nothing else does.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The value of a module's `Module-Format` tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ModuleFormat {
    /// `wasm32-unknown-emscripten`: minified imports, no file system.
    Emscripten1,
    /// `wasm32-unknown-emscripten2`.
    Emscripten2,
    /// `wasm32-unknown-emscripten3`.
    Emscripten3,
    /// `wasm32-unknown-emscripten4`: asyncify.
    Emscripten4,
    /// `wasm32-unknown-emscripten-metering`: the glue of `Emscripten4`, gas counted.
    Emscripten4Metering,
    /// `wasm64-unknown-emscripten-draft_2024_02_15`: asyncify, 64-bit pointers.
    Wasm64,
    /// `wasm64-unknown-emscripten-draft_2024_10_16-metering`: the glue of `Wasm64`, gas counted.
    Wasm64Metering,
    /// `wasm32-unknown-wasip1`, which the legacy network does not know: a standalone module over WASI preview 1.
    Wasip1,
    /// `wasm64-unknown-wasip1`: the same with pointers of 64 bits, as emscripten builds them with `-sSTANDALONE_WASM` for
    /// HyperBEAM, with those of its system calls that WASI has no name for.
    Wasip1Wide,
}

/// The tag names no format that is run here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unsupported Module-Format {tag:?}")]
pub struct UnknownFormat {
    /// The tag as given.
    pub tag: String,
}

/// The JavaScript glue a format is run by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Glue {
    E1,
    E2,
    E3,
    E4,
    W64,
    /// None: the calls of WASI preview 1.
    Wasi,
}

impl ModuleFormat {
    /// Every format, in the order of the reference's list, ours behind.
    pub const ALL: [Self; 9] = [
        Self::Emscripten1,
        Self::Emscripten2,
        Self::Emscripten3,
        Self::Emscripten4,
        Self::Emscripten4Metering,
        Self::Wasm64,
        Self::Wasm64Metering,
        Self::Wasip1,
        Self::Wasip1Wide,
    ];

    /// The exact tag value.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Emscripten1 => "wasm32-unknown-emscripten",
            Self::Emscripten2 => "wasm32-unknown-emscripten2",
            Self::Emscripten3 => "wasm32-unknown-emscripten3",
            Self::Emscripten4 => "wasm32-unknown-emscripten4",
            Self::Emscripten4Metering => "wasm32-unknown-emscripten-metering",
            Self::Wasm64 => "wasm64-unknown-emscripten-draft_2024_02_15",
            Self::Wasm64Metering => "wasm64-unknown-emscripten-draft_2024_10_16-metering",
            Self::Wasip1 => "wasm32-unknown-wasip1",
            Self::Wasip1Wide => "wasm64-unknown-wasip1",
        }
    }

    /// Whether pointers are 64 bits wide at the host boundary.
    pub const fn is_wide(self) -> bool {
        matches!(self, Self::Wasm64 | Self::Wasm64Metering | Self::Wasip1Wide)
    }

    /// Whether there is no glue: the module takes its messages from its own `malloc`.
    pub const fn is_standalone(self) -> bool {
        matches!(self, Self::Wasip1 | Self::Wasip1Wide)
    }

    /// Whether the loader counts gas for this format by rewriting the module.
    pub const fn is_metering(self) -> bool {
        matches!(self, Self::Emscripten4Metering | Self::Wasm64Metering)
    }

    /// The glue's constant ceiling of linear memory.
    ///
    /// # Units
    /// Bytes.
    pub const fn heap_bytes_max(self) -> u64 {
        match self.glue() {
            Glue::E1 | Glue::E2 => 524_288_000,
            Glue::E3 | Glue::E4 | Glue::Wasi => 4_294_901_760,
            Glue::W64 => 17_179_869_184,
        }
    }

    pub(crate) const fn glue(self) -> Glue {
        match self {
            Self::Emscripten1 => Glue::E1,
            Self::Emscripten2 => Glue::E2,
            Self::Emscripten3 => Glue::E3,
            Self::Emscripten4 | Self::Emscripten4Metering => Glue::E4,
            // The calls that emscripten's standalone library makes are those of its glue.
            Self::Wasm64 | Self::Wasm64Metering | Self::Wasip1Wide => Glue::W64,
            Self::Wasip1 => Glue::Wasi,
        }
    }

    /// The name under which the module exports what the glue calls `role`.
    pub(crate) const fn export(self, role: Export) -> &'static str {
        use Export::*;
        match self.glue() {
            Glue::E1 => match role {
                Ctors => "F",
                Handle => "G",
                Main => "H",
                Malloc => "J",
                ErrnoLocation => "K",
                SetThrew => "L",
                StackSave => "M",
                StackRestore => "N",
                StackAlloc => "O",
            },
            glue => match role {
                Ctors => "__wasm_call_ctors",
                Handle => "handle",
                Main => "main",
                Malloc => "malloc",
                ErrnoLocation => "__errno_location",
                SetThrew => "setThrew",
                StackSave if matches!(glue, Glue::E2 | Glue::E3) => "stackSave",
                StackSave => "emscripten_stack_get_current",
                StackRestore if matches!(glue, Glue::E2 | Glue::E3) => "stackRestore",
                StackRestore => "_emscripten_stack_restore",
                StackAlloc if matches!(glue, Glue::E2 | Glue::E3) => "stackAlloc",
                StackAlloc => "_emscripten_stack_alloc",
            },
        }
    }
}

/// What the glue calls in the module.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Export {
    Ctors,
    Handle,
    Main,
    Malloc,
    ErrnoLocation,
    SetThrew,
    StackSave,
    StackRestore,
    StackAlloc,
}

impl fmt::Display for ModuleFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

impl FromStr for ModuleFormat {
    type Err = UnknownFormat;

    fn from_str(tag: &str) -> Result<Self, UnknownFormat> {
        let trimmed = tag.trim();
        Self::ALL
            .into_iter()
            .find(|format| format.tag() == trimmed)
            .ok_or_else(|| UnknownFormat { tag: tag.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tag_parses_to_its_format_and_nothing_else_does() {
        for format in ModuleFormat::ALL {
            assert_eq!(format!(" {format}\n").parse(), Ok(format));
        }
        assert!("wasm32-unknown-emscripten5".parse::<ModuleFormat>().is_err());
    }
}
