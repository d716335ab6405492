//! From the name of an import to the host call that serves it.
//!
//! Not here: the calls. Invariant: a name is served if, and only if, the loader's glue for that format serves it with
//! a signature the call can read; everything else is refused at admission.

use super::format::{Glue, ModuleFormat};
use super::invoke::{Invoke, throw_longjmp};
use super::{Outcome, asyncify, fd, heap, process, stat, strftime, syscalls, time, wasi};
use crate::guest::{Guest, Interrupt, Val};
use crate::rewrite::HOST_CALL;

/// The type of a value at the host boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValType {
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
}

type Call = fn(&mut dyn Guest, &[Val]) -> Outcome;

/// A resolved import. The variants beside `Call` may be inlined by an engine; [`HostFn::run`] serves them all.
#[derive(Clone, Debug)]
pub enum HostFn {
    /// Any call.
    Call(Call),
    /// `invoke_*`: a call through the table that catches longjmp.
    Invoke(Invoke),
    /// `metering.usegas`: one i32 or i64, added as a signed number.
    UseGas,
    /// `memcpy` in host code: destination, source, count.
    Memcpy,
}

impl HostFn {
    /// Runs the call.
    ///
    /// # Errors
    /// What ends or unwinds the evaluation.
    pub fn run(&self, guest: &mut dyn Guest, args: &[Val]) -> Result<Option<Val>, Interrupt> {
        match self {
            Self::Call(call) => call(guest, args),
            Self::Invoke(invoke) => invoke.run(guest, args),
            Self::Memcpy => heap::memcpy(guest, args),
            Self::UseGas => {
                // The calls that the reference's metering adds are not of the guest's doing; others are.
                if !guest.host().format.is_metering() {
                    super::charge(guest, 1, HOST_CALL)?;
                }
                match args.first() {
                    Some(Val::I64(amount)) => guest.host().use_wide_gas(*amount),
                    amount => guest.host().use_gas(amount.map_or(0.0, |amount| f64::from(amount.as_u64() as i32))),
                }
                .map(|()| None)
            }
        }
    }
}

/// The call that serves an import, if there is one for this format and signature.
pub fn resolve(
    module: &str,
    name: &str,
    params: &[ValType],
    results: &[ValType],
    format: ModuleFormat,
) -> Option<HostFn> {
    if (module, name) == ("metering", "usegas") {
        let fits = matches!(params, [ValType::I32 | ValType::I64]) && results.is_empty();
        return fits.then_some(HostFn::UseGas);
    }
    let name = match format.glue() {
        Glue::Wasi => return (module == wasi::MODULE).then(|| wasi::resolve(name, params, results))?,
        Glue::E1 => (module == "a").then(|| minified(name)).flatten()?,
        _ => matches!(module, "env" | "wasi_snapshot_preview1").then_some(name)?,
    };
    if name.starts_with("invoke_") {
        let fits = params.first().is_some_and(|index| matches!(index, ValType::I32 | ValType::I64));
        return (fits && results.len() <= 1).then(|| Invoke::new(name, results.first().copied()))?.map(HostFn::Invoke);
    }
    if name == "metering_gasUsed" && format.glue() >= Glue::E4 {
        return (params.is_empty() && !matches!(results, [ValType::I64 | ValType::F32] | [_, _, ..]))
            .then(|| HostFn::Call(if results == [ValType::I32] { process::gas_used_int } else { process::gas_used }));
    }
    let (_, signature, host) = table(format).find(|(served, ..)| *served == name)?;
    fits(signature, params, results, format.is_wide()).then(|| host.clone())
}

/// Every import name a format's glue serves, `invoke_*` and `metering.usegas` apart.
#[cfg(test)]
pub(crate) fn names(format: ModuleFormat) -> Vec<&'static str> {
    table(format).map(|(name, ..)| *name).chain(wasi::names().filter(|_| format == ModuleFormat::Wasip1)).collect()
}

/// Every import that a format's glue serves, with parameters and results; `invoke_*` and `metering.usegas` apart.
pub fn served(format: ModuleFormat) -> Vec<(&'static str, Vec<ValType>, Vec<ValType>)> {
    let types = |(name, signature, _): &Row| {
        let (inputs, outputs) = signature.split_once('>').unwrap_or((signature, ""));
        (*name, types(inputs, format.is_wide(), false), types(outputs, format.is_wide(), true))
    };
    table(format).map(types).collect()
}

/// Signatures are written with one letter a value: `i` integer, `p` pointer or size, `o` 64-bit offset (two integers
/// in wasm32), `d` double; results after `>`.
fn fits(signature: &str, params: &[ValType], results: &[ValType], wide: bool) -> bool {
    let (inputs, outputs) = signature.split_once('>').unwrap_or((signature, ""));
    types(inputs, wide, false) == params && types(outputs, wide, true) == results
}

fn types(letters: &str, wide: bool, out: bool) -> Vec<ValType> {
    let mut types = Vec::new();
    for letter in letters.chars() {
        match letter {
            'p' if wide => types.push(ValType::I64),
            'o' if wide => types.push(ValType::I64),
            'o' if !out => types.extend([ValType::I32; 2]),
            'd' => types.push(ValType::F64),
            _ => types.push(ValType::I32),
        }
    }
    types
}

pub(super) type Row = (&'static str, &'static str, HostFn);

fn table(format: ModuleFormat) -> impl Iterator<Item = &'static Row> {
    let (own, shared): (&[Row], &[Row]) = match format.glue() {
        Glue::E1 => (ONE, &[]),
        Glue::E2 => (TWO, COMMON),
        Glue::E3 => (THREE, COMMON),
        Glue::E4 => (&[], COMMON),
        Glue::W64 if format.is_standalone() => (STANDALONE, COMMON),
        Glue::W64 => (WIDE, COMMON),
        // Served by `wasi`, whose signatures tell 64 bits from two times 32.
        Glue::Wasi => (&[], &[]),
    };
    let asyncify: &[Row] = match format.glue() {
        Glue::E4 | Glue::W64 if !format.is_standalone() => ASYNCIFY,
        _ => &[],
    };
    own.iter().chain(asyncify).chain(shared)
}

pub(super) const fn call(name: &'static str, signature: &'static str, host: Call) -> Row {
    (name, signature, HostFn::Call(host))
}

/// Served alike by glues 2, 3, 4 and wasm64.
static COMMON: &[Row] = &[
    call("__syscall_chmod", "pi>i", syscalls::chmod),
    call("__syscall_dup3", "iii>i", syscalls::dup3),
    call("__syscall_faccessat", "ipii>i", syscalls::faccessat),
    call("__syscall_fchmod", "ii>i", syscalls::fchmod),
    call("__syscall_fchown32", "iii>i", syscalls::fchown),
    call("__syscall_fcntl64", "iip>i", syscalls::fcntl),
    call("__syscall_fstat64", "ip>i", stat::fstat),
    call("__syscall_ftruncate64", "io>i", syscalls::ftruncate),
    call("__syscall_getcwd", "pp>i", syscalls::getcwd),
    call("__syscall_ioctl", "iip>i", syscalls::ioctl),
    call("__syscall_lstat64", "pp>i", stat::lstat),
    call("__syscall_mkdirat", "ipi>i", syscalls::mkdirat),
    call("__syscall_newfstatat", "ippi>i", stat::newfstatat),
    call("__syscall_openat", "ipip>i", syscalls::openat),
    call("__syscall_readlinkat", "ippp>i", syscalls::readlinkat),
    call("__syscall_renameat", "ipip>i", syscalls::renameat),
    call("__syscall_rmdir", "p>i", syscalls::rmdir),
    call("__syscall_stat64", "pp>i", stat::stat),
    call("__syscall_unlinkat", "ipi>i", syscalls::unlinkat),
    call("__syscall_utimensat", "ippi>i", syscalls::utimensat),
    call("_emscripten_get_now_is_monotonic", ">i", time::one),
    call("_emscripten_throw_longjmp", "", throw_longjmp),
    call("emscripten_get_heap_max", ">p", heap::max),
    call("emscripten_resize_heap", "p>i", heap::resize),
    call("environ_get", "pp>i", process::environ_get),
    call("environ_sizes_get", "pp>i", process::environ_sizes_get),
    call("exit", "i", process::exit),
    call("fd_close", "i>i", fd::close),
    call("fd_fdstat_get", "ip>i", fd::fdstat_get),
    call("fd_read", "ippp>i", fd::read),
    call("fd_seek", "ioip>i", fd::seek),
    call("fd_sync", "i>i", fd::sync),
    call("fd_write", "ippp>i", fd::write),
    call("strftime", "pppp>p", strftime::strftime),
];

/// Beside the common ones, by both asyncify glues.
static ASYNCIFY: &[Row] = &[
    call("__assert_fail", "ppip", process::assert_fail),
    call("__asyncjs__weavedrive_close", "i>i", asyncify::weavedrive_missing),
    call("__asyncjs__weavedrive_open", "pp>i", asyncify::weavedrive_open),
    call("__asyncjs__weavedrive_read", "ipp>i", asyncify::weavedrive_missing),
    call("__cxa_throw", "ppp", process::cxa_throw),
    call("_abort_js", "", process::abort),
    ("_emscripten_memcpy_js", "ppp", HostFn::Memcpy),
    call("_emscripten_system", "p>i", process::system),
    call("_gmtime_js", "op", time::gmtime),
    call("_localtime_js", "op", time::localtime),
    call("_mktime_js", "p>o", time::mktime),
    call("_munmap_js", "ppiiio>i", fd::munmap),
    call("_tzset_js", "pppp", time::tzset),
    call("emscripten_date_now", ">d", time::now),
    call("emscripten_get_now", ">d", time::now),
    call("strftime_l", "ppppp>p", strftime::strftime),
];

static WIDE: &[Row] = &[call("emscripten_err", "p", process::nothing)];

/// What emscripten's standalone library for wasm64 imports beside the common ones.
static STANDALONE: &[Row] = &[
    call("_emscripten_system", "p>i", process::system),
    call("args_get", "pp>i", process::environ_get),
    call("args_sizes_get", "pp>i", process::environ_sizes_get),
    call("clock_res_get", "ip>i", wasi::clock_resolution),
    call("clock_time_get", "iop>i", wasi::clock_time),
    call("proc_exit", "i", process::exit),
    call("random_get", "pp>i", wasi::random),
    call("sched_yield", ">i", process::success),
];

static THREE: &[Row] = &[
    call("_emscripten_system", "p>i", process::system),
    call("_gmtime_js", "op", time::gmtime),
    call("_localtime_js", "op", time::localtime),
    call("_mktime_js", "p>o", time::mktime),
    call("_mmap_js", "piiiopp>i", fd::mmap),
    call("_munmap_js", "ppiiio>i", fd::munmap),
    call("_tzset_js", "pppp", time::tzset),
    call("abort", "", process::abort),
    call("emscripten_date_now", ">d", time::now),
    call("emscripten_get_now", ">d", time::now),
    ("emscripten_memcpy_js", "ppp", HostFn::Memcpy),
];

static TWO: &[Row] = &[
    call("__assert_fail", "ppip", process::assert_fail),
    call("_dlinit", "p", process::nothing),
    call("_dlopen_js", "pi>i", process::dlopen),
    call("_dlsym_js", "pp>i", process::dlopen),
    call("_emscripten_date_now", ">d", time::zero),
    call("_gmtime_js", "pp", time::gmtime),
    call("_localtime_js", "pp", time::localtime),
    call("_mktime_js", "p>i", time::mktime),
    call("_mmap_js", "piiiip>i", fd::mmap),
    call("_munmap_js", "ppiiii>i", fd::munmap),
    call("_tzset_js", "ppp", time::tzset),
    call("abort", "", process::abort),
    call("emscripten_get_now", ">d", time::not_a_number),
    ("emscripten_memcpy_big", "ppp", HostFn::Memcpy),
    call("getTempRet0", ">i", process::get_temp_ret0),
    call("setTempRet0", "i", process::set_temp_ret0),
    call("system", "p>i", process::system),
];

static ONE: &[Row] = &[
    call("__syscall_dup3", "iii>i", process::success),
    call("__syscall_fcntl64", "iip>i", process::success),
    call("__syscall_ioctl", "iip>i", process::success),
    call("__syscall_lstat64", "pp>i", process::success),
    call("__syscall_openat", "ipip>i", process::success),
    call("__syscall_renameat", "ipip>i", process::success),
    call("__syscall_rmdir", "p>i", process::success),
    call("__syscall_unlinkat", "ipi>i", process::success),
    call("_emscripten_date_now", ">d", time::zero),
    call("_emscripten_get_now_is_monotonic", ">i", time::one),
    call("_emscripten_throw_longjmp", "", throw_longjmp),
    call("_gmtime_js", "pp", time::gmtime),
    call("_localtime_js", "pp", time::localtime),
    call("_mktime_js", "p>i", time::mktime),
    call("_tzset_js", "ppp", time::tzset),
    call("abort", "", process::abort),
    ("emscripten_memcpy_big", "ppp", HostFn::Memcpy),
    call("emscripten_resize_heap", "p>i", heap::resize),
    call("environ_get", "pp>i", process::environ_get),
    call("environ_sizes_get", "pp>i", process::environ_sizes_get),
    call("exit", "i", process::exit),
    call("fd_close", "i>i", process::unsupported),
    call("fd_read", "ippp>i", process::unsupported),
    call("fd_seek", "ioip>i", process::not_seekable),
    call("fd_write", "ippp>i", process::discard),
    call("getTempRet0", ">i", process::get_temp_ret0),
    call("setTempRet0", "i", process::set_temp_ret0),
    call("strftime", "pppp>p", strftime::strftime),
    call("system", "p>i", process::system),
];

/// The one-letter names of format 1.
fn minified(name: &str) -> Option<&'static str> {
    Some(match name {
        "a" => "_emscripten_date_now",
        "b" => "setTempRet0",
        "c" => "fd_close",
        "d" => "__syscall_fcntl64",
        "e" => "__syscall_unlinkat",
        "f" => "fd_write",
        "g" => "__syscall_openat",
        "h" => "getTempRet0",
        "i" => "_mktime_js",
        "j" => "_tzset_js",
        "k" => "emscripten_memcpy_big",
        "l" => "exit",
        "m" => "system",
        "n" => "strftime",
        "o" => "fd_seek",
        "p" => "_emscripten_throw_longjmp",
        "q" => "emscripten_resize_heap",
        "r" => "__syscall_lstat64",
        "s" => "__syscall_renameat",
        "t" => "__syscall_rmdir",
        "u" => "environ_get",
        "v" => "environ_sizes_get",
        "w" => "__syscall_dup3",
        "x" => "invoke_vii",
        "y" => "fd_read",
        "z" => "__syscall_ioctl",
        "A" => "_emscripten_get_now_is_monotonic",
        "B" => "_gmtime_js",
        "C" => "_localtime_js",
        "D" => "abort",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_serves_its_own_names_and_signatures() {
        use ValType::*;
        let wide = ModuleFormat::Wasm64;
        assert!(resolve("env", "__syscall_rmdir", &[I64], &[I32], wide).is_some());
        assert!(resolve("env", "__syscall_rmdir", &[I32], &[I32], wide).is_none());
        assert!(resolve("env", "socket", &[I32], &[I32], wide).is_none());
        assert!(resolve("evil", "exit", &[I32], &[], wide).is_none());
        assert!(resolve("env", "_mktime_js", &[I32], &[I32], ModuleFormat::Emscripten4).is_some());
        assert!(resolve("a", "f", &[I32; 4], &[I32], ModuleFormat::Emscripten1).is_some());
        assert!(resolve("env", "fd_write", &[I32; 4], &[I32], ModuleFormat::Emscripten1).is_none());
        assert!(matches!(resolve("env", "invoke_vjj", &[I64; 3], &[], wide), Some(HostFn::Invoke(_))));
    }

    #[test]
    fn no_format_serves_a_name_twice() {
        for format in ModuleFormat::ALL {
            let mut names = names(format);
            names.sort_unstable();
            let all = names.len();
            names.dedup();
            assert_eq!(names.len(), all, "{format}");
        }
    }
}
