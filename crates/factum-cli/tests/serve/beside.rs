//! The other commands of the program on a store that is being served.

use crate::serving::Serving;

#[test]
fn nobody_else_writes_to_a_store_that_is_served() {
    let server = Serving::start();
    let ran = server.factum(&["append", "Order-1", "--type", "OrderPlaced", "--data", "{}"]);
    assert_eq!(ran.status.code(), Some(1), "{}", String::from_utf8_lossy(&ran.stderr));
}
