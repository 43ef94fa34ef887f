//! `factum demo`.

use crate::folder::Folder;

#[test]
fn the_demo_shows_what_it_says() {
    let folder = Folder::new();
    let ran = folder.run(&["demo", "--dir", "shop"]);
    ran.succeeded();
    for shown in [
        "$ factum import orders.jsonl\n",
        "  imported 2,",
        "error: conflict in stream Order-",
        "(exit code 3)",
        "duplicate",
        "--at-time 2026-03-",
        "| head -3\n  {\"stream\":\"Order-1001\"",
        "$ factum verify\n",
        "$ factum stats\n",
        "factum log --follow",
    ] {
        assert!(ran.out.contains(shown), "{shown}: {}", ran.out);
    }
    assert_eq!(ran.err, "");
    let store = format!("file:{}", folder.path("shop/factum-data").display());
    assert!(folder.json(&["streams", "--store", &store]).len() > 500, "the store is there to go on with");
    assert!(folder.run(&["demo", "--dir", "shop"]).failed(1).contains("is not empty"));
}
