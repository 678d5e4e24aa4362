//! Generates audit logs of a busy cluster, a day a file, as many days as wanted: same seed, same bytes.
//!
//! ```sh
//! cargo bench --bench generate -- --out /tmp/days --days 30 --events-per-day 1000000 --compress zstd
//! ```
//!
//! What it writes is cut from a real recording and multiplied: scripts/make-bench-shapes says how. Nothing
//! here knows kolumn, so that every contender of scripts/bench reads the same files.

use std::{
    fs::File,
    io::{self, BufRead, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, ValueEnum};

mod chance;
mod shapes;
mod world;

#[derive(Parser)]
#[command(about = "Generates audit logs of a busy cluster: same seed, same bytes")]
struct Args {
    /// Folder for one file a day, audit-YYYY-MM-DD.log
    #[arg(long)]
    out: PathBuf,
    #[arg(long, default_value_t = 1)]
    days: u64,
    #[arg(long, default_value_t = 1_000_000)]
    events_per_day: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Nodes of the cluster [default: one for 25,000 events a day, at least 5]
    #[arg(long)]
    nodes: Option<usize>,
    #[arg(long, value_enum, default_value = "zstd")]
    compress: Compress,
    /// zstd or gzip level
    #[arg(long, default_value_t = 3)]
    level: i32,
    /// File for what was planted, JSON lines
    #[arg(long)]
    truth: Option<PathBuf>,
    /// After each day print its file and wait for a line on stdin, so that it can be read and removed
    #[arg(long)]
    step: bool,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Compress {
    Zstd,
    Gzip,
    None,
}

/// Shapes cut from the recording.
const SHAPES: &[u8] = include_bytes!("shapes.txt.zst");

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(io::stderr(), "generate: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> io::Result<()> {
    let text = String::from_utf8(zstd::decode_all(SHAPES)?).map_err(io::Error::other)?;
    let shapes = shapes::parse(&text).map_err(io::Error::other)?;
    let nodes = args.events_per_day / 25_000;
    let settings = world::Settings {
        seed: args.seed,
        events_per_day: args.events_per_day,
        nodes: args.nodes.unwrap_or((nodes as usize).max(5)).max(5),
    };
    let mut world = world::World::new(&shapes, settings);
    std::fs::create_dir_all(&args.out)?;
    let mut truth: Box<dyn Write> = match &args.truth {
        Some(path) => Box::new(BufWriter::new(File::create(path)?)),
        None => Box::new(io::sink()),
    };
    for _ in 0..args.days {
        let ending = match args.compress {
            Compress::Zstd => ".zst",
            Compress::Gzip => ".gz",
            Compress::None => "",
        };
        let path = args.out.join(format!("audit-{}.log{ending}", world.date()));
        let file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
        let written = match args.compress {
            Compress::Zstd => {
                let mut out = zstd::Encoder::new(file, args.level)?;
                let written = world.write_day(&mut out, &mut truth)?;
                out.finish()?.flush()?;
                written
            }
            Compress::Gzip => {
                let level = flate2::Compression::new(args.level.unsigned_abs().min(9));
                let mut out = flate2::write::GzEncoder::new(file, level);
                let written = world.write_day(&mut out, &mut truth)?;
                out.finish()?.flush()?;
                written
            }
            Compress::None => {
                let mut out = file;
                let written = world.write_day(&mut out, &mut truth)?;
                out.flush()?;
                written
            }
        };
        truth.flush()?;
        let mut stdout = io::stdout().lock();
        writeln!(
            stdout,
            "{}\t{}\t{}",
            path.display(),
            written.events,
            written.bytes
        )?;
        stdout.flush()?;
        if args.step && io::stdin().lock().read_line(&mut String::new())? == 0 {
            return Ok(());
        }
    }
    Ok(())
}
