//! A guest on `wasmer-wasix`: no arguments, no environment, an empty file system in memory, streams that are files in memory.

use std::sync::Arc;

use tokio::runtime::Runtime;
use wasmer::{Instance, Memory, Module, RuntimeError, Store, TypedFunction};
use wasmer_wasix::virtual_fs::{self, BufferFile, FileSystem};
use wasmer_wasix::{WasiEnvBuilder, WasiError};

use crate::{Ended, output};

/// An instance.
pub struct Wasix {
    store: Store,
    instance: Instance,
    memory: Memory,
    /// What the crate runs waiting on; its tasks end with it.
    runtime: Runtime,
}

impl Wasix {
    /// Starts a guest.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(wasm: &[u8]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
        let entered = runtime.enter();
        let mut store = Store::default();
        let module = Module::new(&store, wasm).expect("it compiles");
        let files: Arc<dyn FileSystem + Send + Sync> = Arc::new(virtual_fs::mem_fs::FileSystem::default());
        let mut builder = WasiEnvBuilder::new("guest")
            .engine(store.engine().clone())
            .fs(files)
            .stdin(Box::<BufferFile>::default())
            .stdout(Box::<BufferFile>::default())
            .stderr(Box::<BufferFile>::default())
            .preopen_dir("/")
            .expect("the root is there");
        builder.get_args_mut().clear();
        let mut env = builder.finalize(&mut store).expect("an environment");
        let imports = env.import_object(&mut store, &module).expect("a module over WASI");
        let instance = Instance::new(&mut store, &module, &imports).expect("an instance");
        env.initialize(&mut store, instance.clone()).expect("an instance over WASI");
        let memory = instance.exports.get_memory("memory").expect("its memory").clone();
        if let Ok(initialize) = instance.exports.get_typed_function::<(), ()>(&store, "_initialize") {
            initialize.call(&mut store).expect("it starts");
        }
        drop(entered);
        Self { store, instance, memory, runtime }
    }

    /// Gives it a message as the kernel does: two C strings, each in memory of its own.
    ///
    /// # Panics
    /// If the guest is none.
    pub fn ask(&mut self, message: &str) -> Ended {
        let runtime = self.runtime.handle().clone();
        let _entered = runtime.enter();
        let strings = [message, "{}"].map(|text| self.place(text));
        let handle: TypedFunction<(u32, u32), u32> =
            self.instance.exports.get_typed_function(&self.store, "handle").expect("`handle`");
        match handle.call(&mut self.store, strings[0], strings[1]) {
            Ok(at) => Ended::Answer(output(&self.text(at))),
            Err(error) => ended(error),
        }
    }

    fn place(&mut self, text: &str) -> u32 {
        let malloc: TypedFunction<u32, u32> =
            self.instance.exports.get_typed_function(&self.store, "malloc").expect("`malloc`");
        let at = malloc.call(&mut self.store, text.len() as u32 + 1).expect("memory");
        let bytes = [text.as_bytes(), &[0]].concat();
        self.memory.view(&self.store).write(u64::from(at), &bytes).expect("a place in memory");
        at
    }

    fn text(&self, at: u32) -> String {
        let view = self.memory.view(&self.store);
        let bytes: Vec<u8> =
            (u64::from(at)..).map(|at| view.read_u8(at).expect("a C string")).take_while(|byte| *byte != 0).collect();
        String::from_utf8(bytes).expect("text")
    }
}

fn ended(error: RuntimeError) -> Ended {
    match error.downcast::<WasiError>() {
        Ok(WasiError::Exit(status)) => Ended::Exit(status.raw()),
        Ok(other) => panic!("{other}"),
        Err(_) => Ended::Trap,
    }
}
