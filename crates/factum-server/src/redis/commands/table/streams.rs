//! The streams' commands.

#[rustfmt::skip]
use super::{Command, Group, Verb, command, BLOCKING, DENYOOM, FAST, LOADING, MOVABLEKEYS, READONLY, STALE, WRITE};

#[rustfmt::skip]
pub(super) const COMMANDS: &[Command] = &[
    command(Verb::XAdd, "xadd", -5, WRITE | DENYOOM | FAST, (1, 1, 1), Group::Stream, "5.0.0", "Appends an event to a stream."),
    command(Verb::XRange, "xrange", -4, READONLY, (1, 1, 1), Group::Stream, "5.0.0", "Reads the entries between two ids, oldest first."),
    command(Verb::XRevRange, "xrevrange", -4, READONLY, (1, 1, 1), Group::Stream, "5.0.0", "Reads the entries between two ids, newest first."),
    command(Verb::XRead, "xread", -4, READONLY | BLOCKING | MOVABLEKEYS, (0, 0, 0), Group::Stream, "5.0.0", "Reads what comes after the ids given, of several streams, and may wait for it."),
    command(Verb::XLen, "xlen", 2, READONLY | FAST, (1, 1, 1), Group::Stream, "5.0.0", "Counts a stream's entries."),
    command(Verb::XDel, "xdel", -3, WRITE | FAST, (1, 1, 1), Group::Stream, "5.0.0", "Hides entries from this door."),
    command(Verb::XTrim, "xtrim", -4, WRITE, (1, 1, 1), Group::Stream, "5.0.0", "Hides a stream's oldest entries."),
    command(Verb::XSetId, "xsetid", -3, WRITE | DENYOOM | FAST, (1, 1, 1), Group::Stream, "5.0.0", "Sets a stream's last id."),
    command(Verb::XInfo, "xinfo", -2, 0, (0, 0, 0), Group::Stream, "5.0.0", "Tells of streams, groups and consumers."),
    command(Verb::XInfoStream, "xinfo|stream", -3, READONLY, (2, 2, 1), Group::Stream, "5.0.0", "Tells of a stream."),
    command(Verb::XInfoGroups, "xinfo|groups", 3, READONLY, (2, 2, 1), Group::Stream, "5.0.0", "Lists a stream's groups."),
    command(Verb::XInfoConsumers, "xinfo|consumers", 4, READONLY, (2, 2, 1), Group::Stream, "5.0.0", "Lists a group's consumers."),
    command(Verb::XInfoHelp, "xinfo|help", 2, LOADING | STALE, (0, 0, 0), Group::Stream, "5.0.0", "Lists the subcommands."),
    command(Verb::XGroup, "xgroup", -2, 0, (0, 0, 0), Group::Stream, "5.0.0", "Makes, changes and removes groups."),
    command(Verb::XGroupCreate, "xgroup|create", -5, WRITE | DENYOOM, (2, 2, 1), Group::Stream, "5.0.0", "Makes a group."),
    command(Verb::XGroupSetId, "xgroup|setid", -5, WRITE, (2, 2, 1), Group::Stream, "5.0.0", "Sets where a group goes on."),
    command(Verb::XGroupDestroy, "xgroup|destroy", 4, WRITE, (2, 2, 1), Group::Stream, "5.0.0", "Removes a group."),
    command(Verb::XGroupCreateConsumer, "xgroup|createconsumer", 5, WRITE | DENYOOM, (2, 2, 1), Group::Stream, "6.2.0", "Makes a consumer."),
    command(Verb::XGroupDelConsumer, "xgroup|delconsumer", 5, WRITE, (2, 2, 1), Group::Stream, "5.0.0", "Removes a consumer and what is pending for it."),
    command(Verb::XGroupHelp, "xgroup|help", 2, LOADING | STALE, (0, 0, 0), Group::Stream, "5.0.0", "Lists the subcommands."),
    command(Verb::XReadGroup, "xreadgroup", -7, WRITE | BLOCKING | MOVABLEKEYS, (0, 0, 0), Group::Stream, "5.0.0", "Reads as a consumer of a group: what is new, or what is still pending."),
    command(Verb::XAck, "xack", -4, WRITE | FAST, (1, 1, 1), Group::Stream, "5.0.0", "Takes entries off a group's pending list."),
    command(Verb::XPending, "xpending", -3, READONLY, (1, 1, 1), Group::Stream, "5.0.0", "Tells what is pending in a group."),
    command(Verb::XClaim, "xclaim", -6, WRITE | FAST, (1, 1, 1), Group::Stream, "5.0.0", "Gives pending entries to another consumer."),
    command(Verb::XAutoClaim, "xautoclaim", -6, WRITE | FAST, (1, 1, 1), Group::Stream, "6.2.0", "Gives entries that have been pending long to another consumer."),
];
