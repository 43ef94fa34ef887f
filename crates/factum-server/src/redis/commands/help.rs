//! HELP of the commands that have subcommands, from the table.

use super::table::Command;
use crate::redis::resp::Reply;

/// The subcommands of the command that this HELP belongs to, and what each does.
pub(super) fn of(help: &Command) -> Reply {
    let (name, _) = help.name.split_once('|').unwrap_or((help.name, ""));
    let container = super::table::find(name.as_bytes()).expect("a HELP belongs to a command");
    let mut lines = vec![format!("{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", name.to_ascii_uppercase())];
    for one in container.subcommands() {
        let (_, subcommand) = one.name.split_once('|').expect("a subcommand's name has both");
        lines.push(subcommand.to_ascii_uppercase());
        lines.push(format!("    {}", one.summary));
    }
    Reply::Array(lines.into_iter().map(|line| Reply::SimpleText(line.into())).collect())
}
