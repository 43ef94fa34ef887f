//! Tips, in the words of COMMAND: how those who spread commands over several servers send them and put the answers together, and which answers
//! need not be the same each time.

use super::Verb;

/// What is said of a command.
pub(crate) fn of(verb: Verb) -> &'static [&'static str] {
    use Verb as V;
    match verb {
        V::MGet => &["request_policy:multi_shard"],
        V::MSet => &["request_policy:multi_shard", "response_policy:all_succeeded"],
        V::MSetNx => &["request_policy:multi_shard", "response_policy:agg_min"],
        V::Ttl
        | V::PTtl
        | V::HScan
        | V::HRandField
        | V::ObjectEncoding
        | V::ObjectRefCount
        | V::ObjectIdleTime
        | V::ObjectFreq
        | V::ClientInfo
        | V::ClientList
        | V::Time
        | V::XAdd
        | V::XTrim
        | V::XInfoConsumers
        | V::XPending
        | V::XClaim
        | V::XAutoClaim
        | V::LastSave => &["nondeterministic_output"],
        V::Del | V::Unlink | V::Exists | V::Touch => &["request_policy:multi_shard", "response_policy:agg_sum"],
        V::Keys => &["request_policy:all_shards", "nondeterministic_output_order"],
        V::Scan => &["nondeterministic_output", "request_policy:special"],
        V::RandomKey => &["request_policy:all_shards", "nondeterministic_output"],
        V::HGetAll
        | V::HKeys
        | V::HVals
        | V::Command
        | V::CommandDocs
        | V::CommandInfo
        | V::CommandList
        | V::FunctionList
        | V::ModuleList => &["nondeterministic_output_order"],
        V::Wait => &["request_policy:all_shards", "response_policy:agg_min"],
        V::DbSize => &["request_policy:all_shards", "response_policy:agg_sum"],
        V::FlushDb | V::FlushAll | V::Ping | V::MemoryPurge | V::FunctionDelete | V::FunctionFlush => {
            &["request_policy:all_shards", "response_policy:all_succeeded"]
        }
        V::ConfigSet | V::ScriptFlush | V::SlowLogReset | V::LatencyReset => &["request_policy:all_nodes", "response_policy:all_succeeded"],
        V::Info | V::MemoryDoctor | V::MemoryMallocStats | V::MemoryStats | V::FunctionStats => {
            &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]
        }
        V::FunctionKill | V::ScriptKill => &["request_policy:all_shards", "response_policy:one_succeeded"],
        V::ScriptExists => &["request_policy:all_shards", "response_policy:agg_logical_and"],
        V::SlowLogGet => &["request_policy:all_nodes", "nondeterministic_output"],
        V::SlowLogLen => &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
        V::LatencyDoctor | V::LatencyHistogram | V::LatencyHistory | V::LatencyLatest => {
            &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]
        }
        _ => &[],
    }
}
