//! A module taken apart into encoder sections, and put together again.
//!
//! Not here: what a pass changes.
//! Invariant: sections leave in canonical order, custom sections after all others in their own order.

use wasm_encoder as enc;
use wasm_encoder::Encode;
use wasm_encoder::reencode::Reencode;
use wasmparser::{FunctionBody, GlobalType, MemoryType, Parser, Payload, SubType, TypeRef};

use super::{MEMORY_PAGES_MAX, RewriteError};

/// The index spaces of a module, as far as passes ask for them.
#[derive(Default)]
pub(super) struct Shape {
    pub(super) types: Vec<SubType>,
    /// Type index of each function, imports first.
    pub(super) functions: Vec<u32>,
    pub(super) imported_functions: u32,
    pub(super) globals: Vec<GlobalType>,
    pub(super) memories: Vec<MemoryType>,
    pub(super) tables: u32,
    /// Type index of each tag.
    pub(super) tags: Vec<u32>,
    /// Function index of the import of the metering function.
    pub(super) metering_import: Option<u32>,
}

impl Shape {
    pub(super) fn function_type(&self, type_index: u32) -> Option<&wasmparser::FuncType> {
        match &self.types.get(type_index as usize)?.composite_type.inner {
            wasmparser::CompositeInnerType::Func(ty) => Some(ty),
            _ => None,
        }
    }

    /// Number of parameters of a function type.
    pub(super) fn params(&self, type_index: u32) -> u32 {
        self.function_type(type_index).map_or(0, |ty| ty.params().len() as u32)
    }

    fn import(&mut self, import: &wasmparser::Import<'_>, offset: u64) -> Result<(), RewriteError> {
        match import.ty {
            TypeRef::Func(ty) => {
                if (import.module, import.name) == (super::METERING_MODULE, super::METERING_FIELD) {
                    self.metering_import = Some(self.imported_functions);
                }
                self.functions.push(ty);
                self.imported_functions += 1;
            }
            TypeRef::Global(ty) => self.globals.push(ty),
            TypeRef::Memory(ty) => self.memories.push(ty),
            TypeRef::Table(_) => self.tables += 1,
            _ => return Err(RewriteError::Unsupported { what: "kind of import", offset }),
        }
        Ok(())
    }
}

/// A module between reading and writing; the code section is left to the pass.
#[derive(Default)]
pub(super) struct Module<'a> {
    pub(super) shape: Shape,
    pub(super) types: enc::TypeSection,
    pub(super) imports: enc::ImportSection,
    pub(super) functions: enc::FunctionSection,
    pub(super) tables: enc::TableSection,
    memories: enc::MemorySection,
    pub(super) globals: enc::GlobalSection,
    /// Globals that a pass has appended.
    pub(super) counters: u32,
    pub(super) exports: enc::ExportSection,
    pub(super) start: Option<u32>,
    pub(super) elements: enc::ElementSection,
    data_count: Option<u32>,
    bodies: Vec<FunctionBody<'a>>,
    pub(super) code: enc::CodeSection,
    data: enc::DataSection,
    customs: Vec<enc::CustomSection<'a>>,
}

impl<'a> Module<'a> {
    /// Takes `wasm` apart, passing every section but the code through `pass`.
    pub(super) fn read<R>(wasm: &'a [u8], pass: &mut R) -> Result<Self, RewriteError>
    where
        R: Reencode<Error = RewriteError>,
    {
        let mut module = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            module.section(payload?, pass)?;
        }
        if module.bodies.len() + module.shape.imported_functions as usize != module.shape.functions.len() {
            return Err(RewriteError::Invalid { what: "number of function bodies", offset: 0 });
        }
        Ok(module)
    }

    fn section<R>(&mut self, payload: Payload<'a>, pass: &mut R) -> Result<(), RewriteError>
    where
        R: Reencode<Error = RewriteError>,
    {
        match payload {
            Payload::Version { encoding: wasmparser::Encoding::Module, .. }
            | Payload::CodeSectionStart { .. }
            | Payload::End(_) => {}
            Payload::TypeSection(section) => {
                for group in section.clone() {
                    self.shape.types.extend(group?.into_types());
                }
                pass.parse_type_section(&mut self.types, section)?;
            }
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports_with_offsets() {
                    let (offset, import) = import?;
                    self.shape.import(&import, offset)?;
                }
                pass.parse_import_section(&mut self.imports, section)?;
            }
            Payload::FunctionSection(section) => {
                for ty in section.clone() {
                    self.shape.functions.push(ty?);
                }
                pass.parse_function_section(&mut self.functions, section)?;
            }
            Payload::TableSection(section) => {
                self.shape.tables += section.count();
                pass.parse_table_section(&mut self.tables, section)?;
            }
            Payload::MemorySection(section) => {
                for memory in section.clone() {
                    self.shape.memories.push(memory?);
                }
                pass.parse_memory_section(&mut self.memories, section)?;
            }
            // Of no pass but the one that takes exceptions out.
            Payload::TagSection(section) => {
                for tag in section {
                    self.shape.tags.push(tag?.func_type_idx);
                }
            }
            Payload::GlobalSection(section) => {
                for global in section.clone() {
                    self.shape.globals.push(global?.ty);
                }
                pass.parse_global_section(&mut self.globals, section)?;
            }
            Payload::ExportSection(section) => pass.parse_export_section(&mut self.exports, section)?,
            Payload::StartSection { func, .. } => self.start = Some(pass.start_section(func)?),
            Payload::ElementSection(section) => pass.parse_element_section(&mut self.elements, section)?,
            Payload::DataCountSection { count, .. } => self.data_count = Some(count),
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            Payload::DataSection(section) => pass.parse_data_section(&mut self.data, section)?,
            Payload::CustomSection(section) if survives_rewriting(section.name()) => {
                self.customs.push(pass.custom_section(section)?);
            }
            Payload::CustomSection(_) => {}
            other => {
                let offset = other.as_section().map_or(0, |(_, range)| range.start);
                return Err(RewriteError::Unsupported { what: "section", offset });
            }
        }
        Ok(())
    }

    /// Takes the function bodies out, each with its type index.
    pub(super) fn function_bodies(&mut self) -> Vec<(FunctionBody<'a>, u32)> {
        let types = self.shape.functions.iter().skip(self.shape.imported_functions as usize);
        std::mem::take(&mut self.bodies).into_iter().zip(types.copied()).collect()
    }

    /// Makes memory 0 an import of this name instead of the module's own.
    pub(super) fn import_memory(&mut self, module: &str, name: &str, ty: enc::MemoryType) {
        self.imports.import(module, name, ty);
        self.memories = enc::MemorySection::new();
    }

    /// The bytes of the module.
    pub(super) fn finish(self) -> Vec<u8> {
        let mut module = enc::Module::new();
        macro_rules! sections {
            ($($section:expr),*) => { $(if !$section.is_empty() { module.section(&$section); })* };
        }
        sections!(self.types, self.imports, self.functions, self.tables, self.memories, self.globals, self.exports);
        if let Some(function_index) = self.start {
            module.section(&enc::StartSection { function_index });
        }
        sections!(self.elements);
        if let Some(count) = self.data_count {
            module.section(&enc::DataCountSection { count });
        }
        sections!(self.code, self.data);
        for custom in &self.customs {
            module.section(custom);
        }
        module.finish()
    }
}

/// Whether a custom section still says the truth after code was rewritten: those that name code offsets do not.
fn survives_rewriting(name: &str) -> bool {
    const STALE: [&str; 7] =
        [".debug_", "reloc.", "linking", "metadata.code.", "sourceMappingURL", "external_debug_info", "dylink"];
    !STALE.iter().any(|stale| name.starts_with(stale))
}

/// The memory type both engines get: never more than [`MEMORY_PAGES_MAX`] pages.
pub(super) fn bounded_memory(ty: MemoryType) -> Result<MemoryType, RewriteError> {
    if ty.initial > MEMORY_PAGES_MAX {
        return Err(RewriteError::MemoryTooLarge { pages: ty.initial });
    }
    let maximum = ty.maximum.unwrap_or(MEMORY_PAGES_MAX).min(MEMORY_PAGES_MAX);
    Ok(MemoryType { maximum: Some(maximum), ..ty })
}

/// A function body being written: its instructions, and the locals that are added behind its own.
pub(super) struct Body {
    groups: Vec<(u32, enc::ValType)>,
    /// Index of the first added local.
    first: u32,
    added: Vec<enc::ValType>,
    code: Vec<u8>,
}

impl Body {
    /// An empty body with the locals of `body`, a function with `params` parameters.
    pub(super) fn new<R>(pass: &mut R, body: &FunctionBody<'_>, params: u32) -> Result<Self, RewriteError>
    where
        R: Reencode<Error = RewriteError>,
    {
        let mut groups = Vec::new();
        let mut first = params;
        for group in body.get_locals_reader()? {
            let (count, ty) = group?;
            let offset = body.range().start;
            first = first.checked_add(count).ok_or(RewriteError::Invalid { what: "number of locals", offset })?;
            groups.push((count, pass.val_type(ty)?));
        }
        Ok(Self { groups, first, added: Vec::new(), code: Vec::new() })
    }

    /// The index of the `nth` added local of type `ty`, counted from 0; whoever uses one writes it first.
    pub(super) fn temp(&mut self, ty: enc::ValType, nth: usize) -> u32 {
        loop {
            let mut of_type = (self.first..).zip(&self.added).filter(|(_, it)| **it == ty);
            if let Some((index, _)) = of_type.nth(nth) {
                return index;
            }
            self.added.push(ty);
        }
    }

    /// Writes one instruction.
    pub(super) fn push(&mut self, instruction: &enc::Instruction<'_>) {
        instruction.encode(&mut self.code);
    }

    /// Where several go.
    pub(super) fn out(&mut self) -> enc::InstructionSink<'_> {
        enc::InstructionSink::new(&mut self.code)
    }

    /// The function, complete.
    pub(super) fn finish(mut self) -> enc::Function {
        self.groups.extend(self.added.iter().map(|ty| (1, *ty)));
        let mut function = enc::Function::new(self.groups);
        function.raw(self.code);
        function
    }
}
