//! `factum completions`: what a shell needs to complete the command line.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::arguments::Arguments;
use crate::console::Console;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  factum completions bash > ~/.local/share/bash-completion/completions/factum
  factum completions zsh > ~/.zfunc/_factum
  factum completions fish > ~/.config/fish/completions/factum.fish";

/// Print completions for a shell
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Completions {
    /// Which shell
    shell: Shell,
}

pub(crate) fn run(completions: &Completions, console: &mut Console<'_>) -> Result<(), Failure> {
    // The generator panics where it can't write, so it writes into memory.
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut Arguments::command(), "factum", &mut script);
    Ok(console.out.write_all(&script)?)
}
