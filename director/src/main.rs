//! The director's binary: parse, install, run.

fn main() -> anyhow::Result<()> {
    bosun_director::config::cli::main()
}
