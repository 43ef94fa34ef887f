//! What commands do with their keys, in the words of COMMAND: whether they read (`RO`), change (`RW`), overwrite (`OW`) or remove (`RM`)
//! what stands there, and what they do to the data.

use super::Verb;

/// What a command does with its keys.
pub(crate) fn of(verb: Verb) -> &'static [&'static str] {
    use Verb as V;
    match verb {
        V::Exists | V::Type | V::Touch | V::StrLen | V::HLen | V::HExists | V::HStrLen | V::XLen => &["RO"],
        V::ObjectEncoding | V::ObjectFreq | V::ObjectIdleTime | V::ObjectRefCount | V::MemoryUsage | V::Watch => &["RO"],
        V::Set => &["RW", "access", "update", "variable_flags"],
        V::SetEx | V::PSetEx | V::MSet | V::BitOp => &["OW", "update"],
        V::SetBit => &["RW", "access", "update"],
        V::SetNx | V::MSetNx => &["OW", "insert"],
        V::GetDel => &["RW", "access", "delete"],
        V::GetSet | V::GetEx | V::Incr | V::IncrBy | V::IncrByFloat | V::Decr | V::DecrBy | V::HIncrBy | V::HIncrByFloat | V::Move => {
            &["RW", "access", "update"]
        }
        V::Rename | V::RenameNx => &["RW", "access", "delete"],
        V::Del | V::Unlink => &["RM", "delete"],
        V::Append | V::HSetNx | V::XGroupCreate | V::XGroupCreateConsumer => &["RW", "insert"],
        V::HDel | V::XDel | V::XAutoClaim | V::XTrim | V::XGroupDestroy | V::XGroupDelConsumer => &["RW", "delete"],
        V::SetRange | V::Expire | V::PExpire | V::ExpireAt | V::PExpireAt | V::Persist | V::HSet | V::HMSet => &["RW", "update"],
        V::HExpire | V::HPExpire | V::HExpireAt | V::HPExpireAt | V::HPersist => &["RW", "update"],
        V::XAdd | V::XSetId | V::XGroupSetId | V::XAck | V::XClaim | V::FactumAppend => &["RW", "update"],
        _ => &["RO", "access"],
    }
}

/// What a command does with its second key, and those behind it, where that is another thing.
pub(crate) fn of_second(verb: Verb) -> Option<&'static [&'static str]> {
    match verb {
        Verb::Rename | Verb::Copy => Some(&["OW", "update"]),
        Verb::BitOp => Some(&["RO", "access"]),
        Verb::RenameNx => Some(&["OW", "insert"]),
        _ => None,
    }
}
