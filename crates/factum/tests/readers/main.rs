//! What reads the log for a program: processors and groups, each rule tried on every store that this machine has.

mod processing;
mod scene;
mod sharing;
#[path = "../stores/mod.rs"]
mod stores;

use std::process::ExitCode;
use std::sync::Arc;

use factum::conformance::Subject;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use scene::{Rule, Scene};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let stores = stores::all();
    let rules = [processing::RULES, sharing::RULES].concat();
    let mut trials = Vec::new();
    // A cluster of partitions has the same records and the same log; one column of Redis is enough here.
    for store in stores.here.iter().filter(|store| !store.name().contains("cluster")) {
        trials.extend(rules.iter().map(|(name, rule)| trial(store, name, *rule)));
    }
    for missing in &stores.missing {
        let reason = missing.reason.clone();
        trials.push(Trial::ignorable_test(format!("{}::every_rule", missing.name), move || match std::env::var_os("CI") {
            Some(_) => Err(Failed::from(reason)),
            None => Ok(Completion::ignored_with(reason)),
        }));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(stores);
    conclusion.exit_code()
}

fn trial(store: &Arc<dyn Subject>, name: &str, rule: Rule) -> Trial {
    let store = store.clone();
    Trial::test(format!("{}::{name}", store.name()), move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime
            .block_on(async {
                let place = format!("r{}", factum::Uuid::now_v7().simple());
                let scene = Scene { store: store.open(&place).await? };
                let opened = scene.store.clone();
                let outcome = tokio::time::timeout(scene::PATIENCE, rule(scene)).await;
                opened.close().await?;
                store.discard(&place).await;
                outcome.map_err(|_| format!("it did not come to an end within {:?}", scene::PATIENCE))?
            })
            .map_err(|error: scene::Problem| Failed::from(error.to_string()))
    })
}
