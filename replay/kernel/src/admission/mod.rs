//! Which modules are let in: validated against one explicit feature set, within named limits, importing only what the
//! host has.
//!
//! Not here: what is done to an admitted module (`rewrite`), and which imports there are, which the caller says.
//! Invariant: an admitted module meets no construct later on that a pass, the host or an engine has to refuse, but for
//! what its metering format adds.

mod error;
mod facts;
mod limits;
mod work;

pub use error::{AdmissionError, Item};
pub use facts::{ExportFact, Facts, GlobalFact, ImportFact, MemoryFact, TableFact};
pub use limits::{AdmissionLimits, Work};
use limits::{check, check_work};

use wasmparser::{FuncType, Parser, Payload, ValidPayload, Validator, WasmFeatures};

/// The feature set. Everything else is refused: threads, relaxed SIMD, tail calls, multi-memory, garbage collection, function
/// references, custom page sizes, wide arithmetic, components; of exceptions the later form with references, by checks of its
/// own, since the validator's switch for tags is one with that for it.
///
/// # Determinism
/// Of what is in, only the bits of NaN results and the outcome of growing are an engine's choice; `rewrite` takes it.
pub const FEATURES: WasmFeatures =
    WasmFeatures::WASM2.union(WasmFeatures::MEMORY64).union(WasmFeatures::EXTENDED_CONST).union(EXCEPTIONS);

/// Tags and `throw`, and the instructions of the legacy proposal.
const EXCEPTIONS: WasmFeatures = WasmFeatures::EXCEPTIONS.union(WasmFeatures::LEGACY_EXCEPTIONS);

/// Validates a module as published and collects what the host needs to know of it.
///
/// # Errors
/// The first reason to refuse the module, in the order of its sections.
pub fn admit(
    wasm: &[u8],
    limits: &AdmissionLimits,
    known_import: &dyn Fn(&str, &str, &FuncType) -> bool,
) -> Result<Facts, AdmissionError> {
    check("module", "bytes", wasm.len() as u64, limits.module_bytes_max)?;
    let mut gate = Gate { limits, known_import, facts: Facts::default(), section: "header", data_bytes: 0 };
    let mut validator = Validator::new_with_features(FEATURES);
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(|source| gate.invalid(wasm, None, source))?;
        gate.section = section_name(&payload).unwrap_or(gate.section);
        match validator.payload(&payload) {
            Ok(ValidPayload::Func(function, body)) => {
                let index = function.index;
                let mut function = function.into_validator(wasmparser::FuncValidatorAllocations::default());
                function.validate(&body).map_err(|source| gate.invalid(wasm, Some(index), source))?;
            }
            Ok(_) => {}
            Err(source) => return Err(gate.invalid(wasm, None, source)),
        }
        gate.payload(wasm, payload)?;
    }
    Ok(gate.facts)
}

struct Gate<'g> {
    limits: &'g AdmissionLimits,
    known_import: &'g dyn Fn(&str, &str, &FuncType) -> bool,
    facts: Facts,
    section: &'static str,
    data_bytes: u64,
}

impl Gate<'_> {
    fn invalid(&self, wasm: &[u8], function: Option<u32>, source: wasmparser::BinaryReaderError) -> AdmissionError {
        let item = function.map_or(Item::Section, |index| Item::function(index, wasm));
        AdmissionError::Invalid { section: self.section, item, offset: source.offset(), source }
    }

    fn payload(&mut self, wasm: &[u8], payload: Payload<'_>) -> Result<(), AdmissionError> {
        // What cannot be read was refused by the validator before it comes here.
        let section = self.section;
        let read = move |source: wasmparser::BinaryReaderError| {
            let offset = source.offset();
            AdmissionError::Invalid { section, item: Item::Section, offset, source }
        };
        let limits = self.limits;
        let count = |what, count: u32, max: u64| check(section, what, u64::from(count), max);
        match payload {
            Payload::TypeSection(section) => {
                count("types", section.count(), limits.types_max)?;
                for group in section {
                    let types = group.map_err(read)?.into_types();
                    types.map(|ty| ty.unwrap_func().clone()).try_for_each(|ty| self.function_type(ty))?;
                }
            }
            Payload::ImportSection(section) => {
                count("imports", section.count(), limits.imports_max)?;
                for import in section.into_imports() {
                    self.import(&import.map_err(read)?)?;
                }
            }
            Payload::FunctionSection(section) => {
                count("functions", section.count(), limits.functions_max)?;
                self.facts.functions = section.count();
                for ty in section {
                    self.facts.function_types.push(ty.map_err(read)?);
                }
            }
            Payload::TableSection(section) => {
                count("tables", section.count(), limits.tables_max)?;
                for table in section {
                    self.table(&table.map_err(read)?)?;
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    self.memory(&memory.map_err(read)?)?;
                }
            }
            Payload::TagSection(section) => {
                count("tags", section.count(), limits.tags_max)?;
                self.tags(section).map_err(read)??;
            }
            Payload::GlobalSection(section) => {
                count("globals", section.count(), limits.globals_max)?;
                section.into_iter().try_for_each(|global| self.global(&global.map_err(read)?))?;
            }
            Payload::ExportSection(section) => {
                count("exports", section.count(), limits.exports_max)?;
                for export in section {
                    self.export(&export.map_err(read)?)?;
                }
            }
            Payload::StartSection { .. } => self.facts.has_start = true,
            Payload::ElementSection(section) => {
                count("segments", section.count(), limits.element_segments_max)?;
                section.into_iter().try_for_each(|element| self.element(&element.map_err(read)?, &read))?;
            }
            Payload::DataSection(section) => {
                count("segments", section.count(), limits.data_segments_max)?;
                for (index, data) in (0_u32..).zip(section) {
                    self.data(index, &data.map_err(read)?)?;
                }
            }
            Payload::CodeSectionEntry(body) => self.body(wasm, &body, &read)?,
            Payload::CustomSection(section) => self.facts.custom_sections.push(section.name().to_owned()),
            _ => {}
        }
        Ok(())
    }

    fn function_type(&mut self, ty: FuncType) -> Result<(), AdmissionError> {
        let references = ty.params().iter().chain(ty.results()).any(|ty| facts::is_exception(*ty));
        let values = ty.params().len() + ty.results().len();
        check("type", "parameters and results", values as u64, self.limits.type_values_max)?;
        self.facts.types.push(ty);
        refuse_exception_references(references, self.section, Item::Section)
    }

    fn body(
        &mut self,
        wasm: &[u8],
        body: &wasmparser::FunctionBody<'_>,
        read: &dyn Fn(wasmparser::BinaryReaderError) -> AdmissionError,
    ) -> Result<(), AdmissionError> {
        let index = self.facts.imported_functions + self.facts.bodies;
        self.facts.bodies += 1;
        facts::look_into(&mut self.facts, self.limits, wasm, index, body)?;
        let work = work::weigh(&self.facts, index, body).map_err(read)?;
        check_work(self.limits, &mut self.facts.work, work, || Item::function(index, wasm))
    }

    fn import(&mut self, import: &wasmparser::Import<'_>) -> Result<(), AdmissionError> {
        let (module, name) = (import.module.to_owned(), import.name.to_owned());
        let wasmparser::TypeRef::Func(ty) = import.ty else {
            return Err(AdmissionError::ImportKind { module, name });
        };
        self.facts.function_types.push(ty);
        let ty = self.facts.types[ty as usize].clone();
        if !(self.known_import)(&module, &name, &ty) {
            return Err(AdmissionError::UnknownImport { module, name, ty });
        }
        if self.facts.imports.iter().any(|other| (&other.module, &other.name) == (&module, &name) && other.ty != ty) {
            return Err(AdmissionError::ImportTwice { module, name });
        }
        self.facts.imported_functions += 1;
        self.facts.imports.push(ImportFact { module, name, ty });
        Ok(())
    }

    fn memory(&mut self, memory: &wasmparser::MemoryType) -> Result<(), AdmissionError> {
        check("memory", "initial pages", memory.initial, self.limits.memory_pages_max)?;
        let (is64, initial_pages, max_pages) = (memory.memory64, memory.initial, memory.maximum);
        self.facts.memory = Some(MemoryFact { is64, initial_pages, max_pages });
        Ok(())
    }

    /// What is thrown is kept in globals, which are part of the state.
    fn tags(&mut self, tags: wasmparser::TagSectionReader<'_>) -> wasmparser::Result<Result<(), AdmissionError>> {
        self.facts.throws = true;
        for (tag, ty) in (0_u32..).zip(tags) {
            let mut payload = self.facts.types[ty?.func_type_idx as usize].params().iter();
            if let Some(ty) = payload.find(|ty| matches!(ty, wasmparser::ValType::Ref(_) | wasmparser::ValType::V128)) {
                return Ok(Err(AdmissionError::TagPayload { tag, ty: *ty }));
            }
        }
        Ok(Ok(()))
    }

    fn table(&mut self, table: &wasmparser::Table<'_>) -> Result<(), AdmissionError> {
        if let wasmparser::TableInit::Expr(init) = &table.init {
            self.constant(init)?;
        }
        let ty = table.ty;
        let table = self.facts.tables.len() as u32;
        let element = wasmparser::ValType::Ref(ty.element_type);
        refuse_exception_references(facts::is_exception(element), "table", Item::Section)?;
        if ty.table64 {
            return Err(AdmissionError::Table64 { table });
        }
        self.facts.table_entries = self.facts.table_entries.saturating_add(ty.initial);
        check("table", "initial entries", self.facts.table_entries, self.limits.table_entries_max)?;
        self.facts.tables.push(TableFact { element: ty.element_type, initial: ty.initial, max: ty.maximum });
        Ok(())
    }

    fn export(&mut self, export: &wasmparser::Export<'_>) -> Result<(), AdmissionError> {
        let name = export.name.to_owned();
        if name.starts_with(crate::rewrite::RESERVED_PREFIX) {
            return Err(AdmissionError::ReservedExport { name });
        }
        self.facts.exports.push(ExportFact { name, kind: export.kind, index: export.index });
        Ok(())
    }

    fn global(&mut self, global: &wasmparser::Global<'_>) -> Result<(), AdmissionError> {
        self.constant(&global.init_expr)?;
        let ty = global.ty;
        let (global, mutable, ty) = (self.facts.globals.len() as u32, ty.mutable, ty.content_type);
        refuse_exception_references(facts::is_exception(ty), "global", Item::Section)?;
        if mutable && matches!(ty, wasmparser::ValType::Ref(_) | wasmparser::ValType::V128) {
            return Err(AdmissionError::GlobalType { global, ty });
        }
        self.facts.globals.push(GlobalFact { ty, mutable });
        Ok(())
    }

    fn element(
        &mut self,
        element: &wasmparser::Element<'_>,
        read: &dyn Fn(wasmparser::BinaryReaderError) -> AdmissionError,
    ) -> Result<(), AdmissionError> {
        if let wasmparser::ElementKind::Active { offset_expr, .. } = &element.kind {
            self.constant(offset_expr)?;
        }
        self.facts.elements += u64::from(match &element.items {
            wasmparser::ElementItems::Functions(functions) => functions.count(),
            wasmparser::ElementItems::Expressions(_, items) => items.count(),
        });
        check(self.section, "entries", self.facts.elements, self.limits.elements_max)?;
        if let wasmparser::ElementItems::Expressions(_, items) = &element.items {
            for item in items.clone() {
                self.constant(&item.map_err(read)?)?;
            }
        }
        Ok(())
    }

    fn constant(&self, constant: &wasmparser::ConstExpr<'_>) -> Result<(), AdmissionError> {
        // Its `end` is no part of it.
        let operators = constant.get_operators_reader().into_iter().count().saturating_sub(1) as u64;
        check(self.section, "operators in a constant expression", operators, self.limits.constant_operators_max)
    }

    fn data(&mut self, segment: u32, data: &wasmparser::Data<'_>) -> Result<(), AdmissionError> {
        self.data_bytes += data.data.len() as u64;
        check("data", "bytes", self.data_bytes, self.limits.data_bytes_max)?;
        let wasmparser::DataKind::Active { offset_expr, .. } = &data.kind else { return Ok(()) };
        self.constant(offset_expr)?;
        for op in offset_expr.get_operators_reader().into_iter().flatten() {
            if matches!(op, wasmparser::Operator::GlobalGet { .. }) {
                return Err(AdmissionError::DataOffset { segment });
            }
        }
        Ok(())
    }
}

fn refuse_exception_references(found: bool, section: &'static str, item: Item) -> Result<(), AdmissionError> {
    if found { Err(AdmissionError::ExceptionReference { section, item }) } else { Ok(()) }
}

fn section_name(payload: &Payload<'_>) -> Option<&'static str> {
    Some(match payload {
        Payload::Version { .. } => "header",
        Payload::TypeSection(_) => "type",
        Payload::ImportSection(_) => "import",
        Payload::FunctionSection(_) => "function",
        Payload::TableSection(_) => "table",
        Payload::MemorySection(_) => "memory",
        Payload::TagSection(_) => "tag",
        Payload::GlobalSection(_) => "global",
        Payload::ExportSection(_) => "export",
        Payload::StartSection { .. } => "start",
        Payload::ElementSection(_) => "element",
        Payload::DataCountSection { .. } => "data count",
        Payload::CodeSectionStart { .. } | Payload::CodeSectionEntry(_) => "code",
        Payload::DataSection(_) => "data",
        Payload::CustomSection(_) => "custom",
        Payload::End(_) => "end",
        _ => return None,
    })
}
