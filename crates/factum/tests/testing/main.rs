//! The testing kit: what it lets pass, and what it says where something is wrong.

mod golden;
mod projection;
mod specification;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a check panics with.
fn failure(check: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(check)).expect_err("it finds what is wrong");
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast::<&str>().expect("a message")).to_owned(),
    }
}
