//! The `kolumn` binary: arguments in, exit code out.

use std::process::ExitCode;

// Without huge pages: the system clears two MiB for the first byte of a block, which doubled peak
// memory and cost a tenth of an ingest's CPU time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Plans of deep queries are walked recursively, in debug builds with large frames.
const STACK_BYTES: usize = 32 << 20;

fn main() -> ExitCode {
    // Rust ignores SIGPIPE, so a closed pipe is an error that `output` turns into a quiet end.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(e) => {
            kolumn::output::terminal::note(&format!("error: cannot start threads: {e}"));
            return ExitCode::from(3);
        }
    };
    let arguments = std::env::args_os().collect();
    let code = runtime.block_on(async {
        let run = tokio::spawn(kolumn::cli::run(arguments));
        match run.await {
            Ok(code) => code,
            Err(_) => ExitCode::from(70),
        }
    });
    // A read from the terminal that nobody answers must not keep the process alive.
    runtime.shutdown_background();
    code
}
