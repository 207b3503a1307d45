//! Compiles the kernels of `kernels/` into one static library, a unit at a time: a unit takes up to 5 GB of memory.
//!
//! Read from the environment, all set by `benches/gpu/toolkit`: `CUDA_HOME` (13.0), `CUDA_COMPUTE_CAP` (such as 90),
//! `GLM46V_CUTLASS` (CUTLASS's `include`), and, if it is there, `GLM46V_FLASH_OBJECTS`: a folder that keeps compiled
//! units by a hash of all that goes into them, beyond the life of the target folder.

use std::error::Error;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// One file each, as FlashAttention splits them.
const UNITS: [&str; 5] = [
    "attention.cu",
    "flash_fwd_hdim128_bf16_causal_sm80.cu",
    "flash_fwd_hdim128_bf16_sm80.cu",
    "flash_fwd_splitkv_hdim128_bf16_causal_sm80.cu",
    "flash_fwd_splitkv_hdim128_bf16_sm80.cu",
];

/// FlashAttention's own switches: what this model never asks for is not compiled, which is nine tenths of the work.
const LEFT_OUT: [&str; 5] = ["DROPOUT", "ALIBI", "SOFTCAP", "LOCAL", "UNEVEN_K"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=kernels");
    if variable("CARGO_FEATURE_CUDA").is_none() {
        return Ok(());
    }
    let kernels = Path::new("kernels");
    let compiler = Compiler::from_environment()?;
    let archive = PathBuf::from(variable("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let objects = variable("GLM46V_FLASH_OBJECTS").map_or_else(|| archive.clone(), PathBuf::from);
    fs::create_dir_all(&objects)?;

    let shared = compiler.hash(kernels)?;
    let mut library = Command::new("ar");
    let file = archive.join("libglm46v_flash.a");
    // `ar` adds to an archive that is there.
    match fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    library.arg("crs").arg(&file);
    for unit in UNITS {
        let object = objects.join(format!("{}-{shared:016x}.o", unit.trim_end_matches(".cu")));
        if !object.exists() {
            compiler.compile(&kernels.join(unit), &object)?;
        }
        library.arg(object);
    }
    run(&mut library)?;
    println!("cargo::rustc-link-search=native={}", archive.display());
    println!("cargo::rustc-link-lib=static=glm46v_flash");
    println!("cargo::rustc-link-search=native={}", compiler.home.join("lib64").display());
    println!("cargo::rustc-link-lib=dylib=cudart");
    println!("cargo::rustc-link-lib=dylib=stdc++");
    Ok(())
}

struct Compiler {
    home: PathBuf,
    cutlass: PathBuf,
    arguments: Vec<String>,
}

impl Compiler {
    fn from_environment() -> Result<Self, Box<dyn Error>> {
        let needed =
            |name: &str| variable(name).ok_or_else(|| format!("{name} is not set: see benches/gpu/toolkit"));
        let home = PathBuf::from(needed("CUDA_HOME")?);
        let cutlass = PathBuf::from(needed("GLM46V_CUTLASS")?);
        let capability: u32 = needed("CUDA_COMPUTE_CAP")?.parse()?;
        if capability < 80 {
            return Err(
                format!("FlashAttention-2 needs compute capability 80 or more, not {capability}").into()
            );
        }
        if !cutlass.join("cute/tensor.hpp").exists() {
            return Err(format!("{} has no CUTLASS headers: set GLM46V_CUTLASS", cutlass.display()).into());
        }
        let mut arguments: Vec<String> = [
            "-std=c++17",
            "-O3",
            "-U__CUDA_NO_HALF_OPERATORS__",
            "-U__CUDA_NO_HALF_CONVERSIONS__",
            "-U__CUDA_NO_HALF2_OPERATORS__",
            "-U__CUDA_NO_BFLOAT16_CONVERSIONS__",
            "--expt-relaxed-constexpr",
            "--expt-extended-lambda",
            "--use_fast_math",
            "-Xcompiler=-fPIC",
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.extend(LEFT_OUT.map(|name| format!("-DFLASHATTENTION_DISABLE_{name}")));
        arguments.push(format!("-gencode=arch=compute_{capability},code=sm_{capability}"));
        Ok(Self { home, cutlass, arguments })
    }

    /// Of everything an object depends on; versions stand for the compiler and for CUTLASS's headers, wherever they lie.
    fn hash(&self, kernels: &Path) -> Result<u64, Box<dyn Error>> {
        let mut hasher = DefaultHasher::new();
        self.arguments.hash(&mut hasher);
        run(Command::new(self.nvcc()).arg("--version"))?.hash(&mut hasher);
        fs::read(self.cutlass.join("cutlass/version.h"))?.hash(&mut hasher);
        let mut files =
            fs::read_dir(kernels)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        files.sort();
        for file in files {
            file.file_name().hash(&mut hasher);
            fs::read(file)?.hash(&mut hasher);
        }
        Ok(hasher.finish())
    }

    fn compile(&self, unit: &Path, object: &Path) -> Result<(), Box<dyn Error>> {
        // Under another name until it is whole: an interrupted compiler leaves nothing that looks finished.
        let partial = object.with_extension("partial");
        let mut nvcc = Command::new(self.nvcc());
        nvcc.args(&self.arguments).arg("-I").arg(&self.cutlass).arg("-c").arg(unit).arg("-o").arg(&partial);
        run(&mut nvcc)?;
        Ok(fs::rename(partial, object)?)
    }

    fn nvcc(&self) -> PathBuf {
        self.home.join("bin/nvcc")
    }
}

/// Runs to the end and returns what it printed.
fn run(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let output = command
        .output()
        .map_err(|error| format!("cannot run {}: {error}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr)).into())
}

fn variable(name: &str) -> Option<String> {
    println!("cargo::rerun-if-env-changed={name}");
    std::env::var_os(name)?.into_string().ok()
}
