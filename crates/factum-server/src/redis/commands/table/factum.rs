//! The commands that Redis has not.

#[rustfmt::skip]
use super::{BLOCKING, Command, Group, READONLY, Verb, WRITE, command};

#[rustfmt::skip]
pub(super) const COMMANDS: &[Command] = &[
    command(Verb::FactumAppend, "factum.append", -6, WRITE, (1, 1, 1), Group::Factum, "0.1.0", "Appends events to streams that are as expected, all or none, once."),
    command(Verb::FactumRead, "factum.read", -1, READONLY, (0, 0, 0), Group::Factum, "0.1.0", "Reads events of a stream, or of the log, by category, type and tag."),
    command(Verb::FactumState, "factum.state", -2, READONLY, (1, 1, 1), Group::Factum, "0.1.0", "Folds a stream's events into the state that they make."),
    command(Verb::FactumGroup, "factum.group", -3, WRITE | BLOCKING, (0, 0, 0), Group::Factum, "0.1.0", "Ordered groups: READ, ACK, NACK, PARK, REPLAY, SKIP, INFO and LEAVE."),
];
