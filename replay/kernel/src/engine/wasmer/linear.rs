//! wasmer's view of a guest's linear memory: our own mapping, shared between compiled code and the step driver; and our
//! view of its tables.
//!
//! Not here: what is dirty or committed (`memory`).
//! Invariant: the mapping never moves, and the length compiled code sees is always the mapping's length.

use std::cell::UnsafeCell;
use std::fmt;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

use wasmer::sys::vm::{
    LinearMemory, MemoryError as VMMemoryError, MemoryStyle, TableStyle, VMConfig, VMGlobal, VMGlobalDefinition,
    VMMemory, VMMemoryDefinition, VMTable, VMTableDefinition,
};
use wasmer::sys::{BaseTunables, Tunables};
use wasmer::{GlobalType, MemoryType, Pages, TableType};

use crate::memory::{Mapping, MemoryError, WASM_PAGE_BYTES};

struct Inner {
    mapping: UnsafeCell<Mapping>,
    /// Where compiled code reads base and length; lives in the instance's context.
    definition: NonNull<VMMemoryDefinition>,
    pages_max: u32,
    ty: MemoryType,
    /// The host's trouble in growing, which the guest was told of as a refusal: its step must not count.
    failed: UnsafeCell<Option<MemoryError>>,
}

// SAFETY: a guest belongs to one `Machine`, whose methods take `&mut self`; compiled code and host calls run on the
// thread inside such a method. So no two threads touch the mapping or the definition at once.
unsafe impl Send for Inner {}
// SAFETY: as above; wasmer asks for `Sync` of every memory, yet reaches it through the exclusively borrowed store.
unsafe impl Sync for Inner {}

/// A handle to one guest's memory. The instance holds one, the step driver another.
#[derive(Clone)]
pub(crate) struct Linear(Arc<Inner>);

impl fmt::Debug for Linear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Linear").field("bytes", &self.mapping().len()).finish_non_exhaustive()
    }
}

impl Linear {
    pub(crate) fn mapping(&self) -> &Mapping {
        // SAFETY: see `Send`: no exclusive reference exists while a shared one is used, since the only function
        // that makes one (`mapping_mut`) needs `&mut` of a handle inside the exclusively borrowed `Machine`.
        unsafe { &*self.0.mapping.get() }
    }

    pub(crate) fn mapping_mut(&mut self) -> &mut Mapping {
        // SAFETY: see `mapping`.
        unsafe { &mut *self.0.mapping.get() }
    }

    pub(crate) fn pages(&self) -> u32 {
        (self.mapping().len() / WASM_PAGE_BYTES) as u32
    }

    /// Grows by `delta` pages; `None`, and no change, past the limit; also if the host cannot, see `take_failure`.
    pub(crate) fn grow_pages(&mut self, delta: u64) -> Option<u32> {
        let before = self.pages();
        let after = u64::from(before).checked_add(delta).filter(|pages| *pages <= u64::from(self.0.pages_max))?;
        if let Err(error) = self.mapping_mut().grow_to(after * WASM_PAGE_BYTES) {
            // SAFETY: as for the mapping: one thread, inside the exclusively borrowed `Machine`.
            unsafe { *self.0.failed.get() = Some(error) };
            return None;
        }
        self.publish();
        Some(before)
    }

    /// Whether the host failed to grow the memory since the last call.
    pub(crate) fn take_failure(&mut self) -> Option<MemoryError> {
        // SAFETY: as for the mapping.
        unsafe { (*self.0.failed.get()).take() }
    }

    /// Makes the memory `bytes` long, whatever it was.
    pub(crate) fn set_bytes(&mut self, bytes: u64) -> Result<(), MemoryError> {
        let mapping = self.mapping_mut();
        if bytes < mapping.len() { mapping.shrink_to(bytes) } else { mapping.grow_to(bytes) }?;
        self.publish();
        Ok(())
    }

    /// Tells compiled code the current length. Call after the mapping was resized from outside.
    pub(crate) fn publish(&mut self) {
        let length = self.mapping().len() as usize;
        let base = self.mapping().base();
        let mut definition = self.0.definition;
        // SAFETY: the definition lives in the instance context, which outlives every handle the `Machine` uses, and
        // no compiled code runs while the `Machine` is exclusively borrowed here.
        let definition = unsafe { definition.as_mut() };
        definition.base = base;
        definition.current_length = length;
    }
}

impl LinearMemory for Linear {
    fn ty(&self) -> MemoryType {
        MemoryType { minimum: Pages(self.pages()), ..self.0.ty }
    }

    fn size(&self) -> Pages {
        Pages(self.pages())
    }

    fn style(&self) -> MemoryStyle {
        MemoryStyle::Static
    }

    fn grow(&mut self, delta: Pages) -> Result<Pages, VMMemoryError> {
        let current = self.size();
        self.grow_pages(u64::from(delta.0))
            .map(Pages)
            .ok_or(VMMemoryError::CouldNotGrow { current, attempted_delta: delta })
    }

    fn vmmemory(&self) -> NonNull<VMMemoryDefinition> {
        self.0.definition
    }

    fn try_clone(&self) -> Result<Box<dyn LinearMemory + Send + Sync + 'static>, VMMemoryError> {
        Err(VMMemoryError::UnsupportedOperation { message: "a guest memory is not shared".into() })
    }

    fn copy(&self) -> Result<Box<dyn LinearMemory + Send + Sync + 'static>, VMMemoryError> {
        Err(VMMemoryError::UnsupportedOperation { message: "a guest memory is not copied".into() })
    }
}

/// Where the entries of an instance's tables lie: one pointer to a function each, null for an empty entry.
pub(crate) struct TableView(NonNull<VMTableDefinition>);

// SAFETY: as for `Inner`: reached only through the exclusively borrowed `Machine`.
unsafe impl Send for TableView {}

impl TableView {
    fn entries(&self) -> (*mut usize, usize) {
        // SAFETY: the definition lives in the instance context, which lives as long as the `Machine` that holds this.
        let definition = unsafe { self.0.as_ref() };
        (definition.base.cast(), definition.current_elements as usize)
    }

    pub(crate) fn read(&self) -> Vec<usize> {
        let (base, count) = self.entries();
        if count == 0 {
            return Vec::new();
        }
        // SAFETY: a table of functions is an array of `count` pointers at `base`; no compiled code runs meanwhile.
        unsafe { std::slice::from_raw_parts(base, count) }.to_vec()
    }

    /// Writes back what `read` gave. Tables never grow (admission refuses `table.grow`), so the length is the same.
    pub(crate) fn write(&mut self, entries: &[usize]) {
        let (base, count) = self.entries();
        assert_eq!(entries.len(), count, "tables never grow");
        // SAFETY: as in `read`, and the words written were read from this very table.
        unsafe { std::ptr::copy_nonoverlapping(entries.as_ptr(), base, count) };
    }
}

/// Where a global lies that compiled code reads.
pub(crate) struct GlobalView(NonNull<VMGlobalDefinition>);

// SAFETY: as for `TableView`.
unsafe impl Send for GlobalView {}

impl GlobalView {
    pub(crate) fn as_i64(&self) -> NonNull<i64> {
        self.0.cast()
    }
}

/// What the engine made for an instance, handed out to the driver.
#[derive(Default)]
pub(crate) struct Made {
    pub(crate) linear: Option<Linear>,
    pub(crate) tables: Vec<TableView>,
    pub(crate) last_global: Option<GlobalView>,
}

/// Gives one instance its memory, its limits and its native stack, and hands memory and tables out to the driver.
pub(crate) struct GuestTunables {
    base: BaseTunables,
    pages_max: u32,
    config: VMConfig,
    made: Arc<Mutex<Made>>,
}

impl GuestTunables {
    pub(crate) fn new(pages_max: u32, native_stack_bytes: usize) -> (Self, Arc<Mutex<Made>>) {
        let made = Arc::new(Mutex::new(Made::default()));
        let config = VMConfig { wasm_stack_size: Some(native_stack_bytes) };
        (Self { base: BaseTunables::new(), pages_max, config, made: Arc::clone(&made) }, made)
    }

    fn made(&self) -> std::sync::MutexGuard<'_, Made> {
        self.made.lock().expect("nothing panics while this is locked")
    }
}

impl Tunables for GuestTunables {
    fn memory_style(&self, _: &MemoryType) -> MemoryStyle {
        MemoryStyle::Static
    }

    fn table_style(&self, table: &TableType) -> TableStyle {
        self.base.table_style(table)
    }

    fn create_host_memory(&self, _: &MemoryType, _: &MemoryStyle) -> Result<VMMemory, VMMemoryError> {
        Err(VMMemoryError::UnsupportedOperation { message: "guests bring their own memory".into() })
    }

    unsafe fn create_vm_memory(
        &self,
        ty: &MemoryType,
        _: &MemoryStyle,
        definition: NonNull<VMMemoryDefinition>,
    ) -> Result<VMMemory, VMMemoryError> {
        let declared = ty.maximum.map_or(u32::MAX, |pages| pages.0);
        let pages_max = declared.min(self.pages_max);
        let mapping = Mapping::new(u64::from(ty.minimum.0) * WASM_PAGE_BYTES, u64::from(pages_max) * WASM_PAGE_BYTES)
            .map_err(|error| VMMemoryError::Region(error.to_string()))?;
        let inner =
            Inner { mapping: UnsafeCell::new(mapping), definition, pages_max, ty: *ty, failed: UnsafeCell::new(None) };
        let mut linear = Linear(Arc::new(inner));
        linear.publish();
        self.made().linear = Some(linear.clone());
        Ok(VMMemory(Box::new(linear)))
    }

    fn create_host_table(&self, ty: &TableType, style: &TableStyle) -> Result<VMTable, String> {
        self.base.create_host_table(ty, style)
    }

    unsafe fn create_vm_table(
        &self,
        ty: &TableType,
        style: &TableStyle,
        definition: NonNull<VMTableDefinition>,
    ) -> Result<VMTable, String> {
        self.made().tables.push(TableView(definition));
        // SAFETY: the caller's promise about `definition` is passed on unchanged.
        unsafe { self.base.create_vm_table(ty, style, definition) }
    }

    unsafe fn create_vm_global(
        &self,
        ty: GlobalType,
        definition: NonNull<VMGlobalDefinition>,
    ) -> Result<VMGlobal, String> {
        self.made().last_global = Some(GlobalView(definition));
        // SAFETY: the caller's promise about `definition` is passed on unchanged.
        unsafe { self.base.create_vm_global(ty, definition) }
    }

    fn vmconfig(&self) -> &VMConfig {
        &self.config
    }
}
