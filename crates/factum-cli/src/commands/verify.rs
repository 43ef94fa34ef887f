//! `factum verify`: every byte of a store, and what can be saved of a damaged one.
use crate::console::Console;
use crate::failure::Failure;
use clap::Args;
/// Check every byte of a store
#[derive(Args, Debug)]
pub(crate) struct Verify {}
pub(crate) fn run(_: Verify, _: &str, _: &mut Console<'_>) -> Result<(), Failure> {
    Ok(())
}
